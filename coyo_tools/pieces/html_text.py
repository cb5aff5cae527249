"""HTML entities in texts made characters: `Salt &amp; Pepper` is `Salt & Pepper`.

Python's `html.unescape`, exactly; only texts with a `&` are handed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def unescaped(text: pl.Expr) -> pl.Expr:
    """Each text once unescaped, null of a null."""
    import polars as pl

    return text.map_batches(_unescaped, return_dtype=pl.String(), is_elementwise=True)


def _unescaped(texts: pl.Series) -> pl.Series:
    import html

    at = texts.str.contains("&", literal=True).fill_null(value=False).arg_true()
    if not len(at):
        return texts
    made = [html.unescape(text) for text in texts.gather(at).to_list()]
    return texts.clone().scatter(at, made)
