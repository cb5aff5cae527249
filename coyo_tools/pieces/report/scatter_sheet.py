"""Every compared column as a scatter plot, on one sheet: a file of its own beside compare.json.

It brings its style along (the page's colours, light and dark), no script and no font, so that any
browser and any Markdown page show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from coyo_tools.pieces.agreement import INTEGER
from coyo_tools.pieces.phash import DRIFTED, REPLACED, SAME, UNKNOWN
from coyo_tools.pieces.report.charts import label, number, rect, scatter
from coyo_tools.pieces.report.figures import count, share, value
from coyo_tools.pieces.report.markup import Html, tag, without_bidi

PICTURES = {
    SAME: "same picture",
    DRIFTED: "picture drifted",
    REPLACED: "picture replaced",
    UNKNOWN: "picture unknown",
}
_LETTERS = {kind[0]: kind for kind in PICTURES}
_WORDS = "Recomputed over stored, up to 1,000 rows a column; on the dashed line both are equal"
_ACROSS = 3  # panels
_LONGEST = 44  # characters of a column's name that a panel has room for
_SPREAD = 0.36  # of whole numbers, which would lie upon each other
_SIDE, _TITLE, _GAP, _HEAD = 260.0, 40.0, 28.0, 56.0
_RULES = (".plot", ".equal", ".dots", ".axis", "svg ")


def kinds(column: Mapping[str, Any]) -> Sequence[str]:
    """What became of the picture of each pair drawn; empty where it is not known of any."""
    found = [_LETTERS[letter] for letter in column.get("sample_drift") or ""]
    return found if any(kind != UNKNOWN for kind in found) else ()


def points(column: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The pairs to draw, stored and recomputed; whole numbers are spread a little, evenly."""
    pairs = [(float(a), float(b)) for a, b in column.get("sample") or ()]
    if column.get("precision") != INTEGER:
        return pairs
    # The additive recurrence of the plastic number: neighbours in the list lie far apart.
    return [
        (a + _SPREAD * (i * 0.7548776662 % 1 - 0.5), b + _SPREAD * (i * 0.5698402910 % 1 - 0.5))
        for i, (a, b) in enumerate(pairs)
    ]


def scatter_sheet(columns: Mapping[str, Mapping[str, Any]]) -> str | None:
    """An SVG file of all columns of numbers, entries of compare.json; None where there are none."""
    drawn = {name: column for name, column in columns.items() if column.get("sample")}
    if not drawn:
        return None
    across = min(_ACROSS, len(drawn))
    down = -(-len(drawn) // across)
    width = max(across * (_SIDE + _GAP) + _GAP, 2 * (_SIDE + _GAP))
    height = _HEAD + down * (_TITLE + _SIDE + _GAP)
    said = f"Recomputed over stored values of {', '.join(drawn)}"
    panels = [
        _panel(name, column, *_corner(at, across))
        for at, (name, column) in enumerate(drawn.items())
    ]
    sheet = tag(
        "svg",
        tag("style", Html(_style())),
        rect(0, 0, width, height, "paper"),
        label(_GAP, 22, _WORDS, "name", "start"),
        *_key(drawn.values()),
        *panels,
        xmlns="http://www.w3.org/2000/svg",
        width=number(width),
        height=number(height),
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=said,
    )
    return f"{sheet}\n"


def _corner(at: int, across: int) -> tuple[float, float]:
    row, column = divmod(at, across)
    return _GAP + column * (_SIDE + _GAP), _HEAD + row * (_TITLE + _SIDE + _GAP)


def _panel(name: str, column: Mapping[str, Any], x: float, y: float) -> Html:
    drawn = points(column)
    said = f"{count(len(drawn))} rows of {name}: recomputed over stored"
    chart = scatter(drawn, said, "stored", "recomputed", kinds(column))
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"
    return tag(
        "g",
        label(0, 12, without_bidi(short), "name", "start"),
        label(0, 29, _figures(column), "tick", "start"),
        tag("svg", chart, y=number(_TITLE), width=number(_SIDE), height=number(_SIDE)),
        transform=f"translate({number(x)} {number(y)})",
    )


def _figures(column: Mapping[str, Any]) -> str:
    rows = int(column["rows"])
    found = [f"equal {share(int(column['equal_rows']), rows)}"]
    if column["mean_absolute_difference"] is not None:
        found.append(f"mean |diff.| {value(column['mean_absolute_difference'], digits=3)}")
    if column["correlation"] is not None:
        found.append(f"r {column['correlation']:.4f}")
    return " · ".join(found)


def _key(columns: Any) -> list[Html]:
    """What the colours mean, of those that occur."""
    there = {kind for column in columns for kind in kinds(column)}
    parts, x = [], _GAP
    for kind in (kind for kind in PICTURES if kind in there):
        dot = f"M{number(x + 3)} 39h0"
        parts += [
            tag("path", d=dot, class_=f"dots {kind}", style="stroke-width:8;stroke-opacity:1"),
            label(x + 12, 43, PICTURES[kind], "tick", "start"),
        ]
        x += 26 + 6.2 * len(PICTURES[kind])
    return parts


def _style() -> str:
    """The page's colours, and its rules for these charts."""
    text = (files("coyo_tools") / "data" / "report" / "page.css").read_text("utf-8")
    colours, _, rules = text.partition("* {")
    chosen = [
        line for line in rules.split("@media print")[0].splitlines() if line.startswith(_RULES)
    ]
    return "\n".join([colours.strip(), ".paper { fill: var(--paper); }", *chosen])
