"""HTML and SVG that cannot be broken out of: whatever is not `Html` is escaped.

Captions, urls and column names come from the web. They reach the page only through `tag` and
`text`, which escape them, so no other module writes a `<`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

_VOID = frozenset(("br", "hr", "img", "meta"))
# Marks, embeddings, overrides and isolates that reorder the text around them.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Html(str):
    """Markup already. Made by `tag`, `text` and `join`; `Html(...)` is for constants."""

    __slots__ = ()


Child = object


def plain(value: object) -> str:
    """Text that any HTML parser and UTF-8 take as it is: other control characters become U+FFFD."""
    return "".join(_visible(character) for character in str(value))


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cs", "Cn") else character


def without_bidi(value: object) -> str:
    """`plain`, without characters that reorder text: for attributes, which nothing isolates."""
    return _BIDI.sub("", plain(value))


def text(value: object) -> Html:
    """The value escaped, unless it is markup."""
    return value if isinstance(value, Html) else Html(html.escape(plain(value)))


def join(children: Iterable[Child]) -> Html:
    """Children one after the other; None is nothing."""
    return Html("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """One element. In attribute names a closing `_` is dropped and `_` is `-`: class_, aria_label.

    None and False leave an attribute out, True writes it bare.
    """
    head = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(without_bidi(value))}"'


def from_the_web(value: object) -> Html:
    """Text that strangers wrote, escaped and kept from reordering what stands beside it."""
    return tag("bdi", value)


def table(caption: Child, head: Iterable[Child], rows: Iterable[Iterable[Child]]) -> Html:
    """A table with a caption and a row header in each row; it scrolls on its own where too wide."""
    body = [
        tag("tr", tag("th", cells[0], scope="row"), *(tag("td", cell) for cell in cells[1:]))
        for cells in (list(row) for row in rows)
    ]
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
        tag("tbody", *body),
    )
    return tag("div", inner, class_="scroll", tabindex="0", role="group", aria_label="table")
