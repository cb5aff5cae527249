"""The page's part about stored against recomputed values: what `compare` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coyo_tools.pieces.report.charts import Series, scatter, step_histogram
from coyo_tools.pieces.report.figures import count, share, value
from coyo_tools.pieces.report.markup import Html, from_the_web, join, table, tag
from coyo_tools.pieces.report.scatter_sheet import PICTURES, kinds, points
from coyo_tools.pieces.report.views import ComparisonView

_HEADS = [
    *("column", "rows", "equal", "mean diff.", "mean |diff.|"),
    *("p50 |diff.|", "p99 |diff.|", "largest", "r"),
]
_FIGURES = (
    "mean_difference",
    "mean_absolute_difference",
    "p50_absolute_difference",
    "p99_absolute_difference",
    "largest_difference",
    "correlation",
)


def comparison(view: ComparisonView) -> Html:
    """A table of all columns, then the charts of each."""
    lines = [line for name, column in view.columns.items() for line in _lines(name, column)]
    whole = tag("div", table("Agreement of every column", _HEADS, lines), class_="agreement")
    charts = [chart for name, column in view.columns.items() for chart in _charts(name, column)]
    return join([whole, tag("div", *charts, class_="pairs") if charts else None])


def notes(view: ComparisonView) -> list[Html]:
    """Why values may differ, as the comparison itself says."""
    said: list[Html] = [join([note[:1].upper() + note[1:], "."]) for note in view.notes]
    for name, column in view.columns.items():
        said += [join([tag("code", from_the_web(name)), ": ", n]) for n in column.get("notes", ())]
    return said


def _lines(name: str, column: Mapping[str, Any]) -> list[list[Html | str]]:
    """The column, and where its pictures had different fates one line a fate."""
    split = {k: v for k, v in (column.get("by_drift") or {}).items() if v.get("rows")}
    lines = [_line(tag("span", from_the_web(name), class_="rule-name"), column)]
    if len(split) > 1:
        lines += [
            _line(tag("span", PICTURES.get(kind, kind), class_="note"), v)
            for kind, v in split.items()
        ]
    return lines


def _line(name: Html, figures: Mapping[str, Any]) -> list[Html | str]:
    equal = figures.get("equal")
    rows = int(figures.get("rows") or 0)
    return [
        name,
        count(rows),
        "" if equal is None else share(int(figures.get("equal_rows") or 0), rows),
        *(_figure(figures.get(key)) for key in _FIGURES),
    ]


def _figure(number: Any) -> str:
    if number is None:
        return ""
    return value(number, whole=isinstance(number, int), digits=3)


def _charts(name: str, column: Mapping[str, Any]) -> list[Html]:
    drawn = _hash_charts(column) if column.get("kind") == "hash" else _number_charts(name, column)
    if not drawn:
        return []
    head = tag("h3", from_the_web(name))
    return [tag("article", head, tag("div", *drawn, class_="two"), class_="pair")]


def _number_charts(name: str, column: Mapping[str, Any]) -> list[Html]:
    """Recomputed over stored, and how the differences lie; nothing where all are equal."""
    pairs = points(column)
    if not pairs or not column.get("largest_difference"):
        return []
    said = f"{count(len(pairs))} rows of {name}: recomputed over stored"
    fates = kinds(column)
    drawn = scatter(pairs, said, "stored", "recomputed", fates)
    key = _key(fates) if len(set(fates)) > 1 else None
    return [tag("div", drawn, key), _differences(name, column["histogram"])]


def _key(fates: Sequence[str]) -> Html:
    """What the colours of the points mean."""
    there = [
        tag("li", tag("span", "\u2022", class_=f"dot {kind}", aria_hidden="true"), words)
        for kind, words in PICTURES.items()
        if kind in fates
    ]
    return tag("ul", *there, class_="key beyond")


def _differences(name: str, histogram: Mapping[str, Any]) -> Html:
    counts: Sequence[int] = histogram["counts"]
    outside = int(histogram.get("below", 0)) + int(histogram.get("above", 0))
    rows = (sum(counts) + outside) or 1
    series = Series("after", [n / rows for n in counts])
    drawn = step_histogram(
        histogram["edges"], [series], f"Differences of {name}, recomputed minus stored"
    )
    words = f"recomputed \u2212 stored; {share(outside, rows)} lie outside"
    return tag("div", drawn, tag("p", words, class_="beyond"))


def _hash_charts(column: Mapping[str, Any]) -> list[Html]:
    """How many bits the hashes are apart."""
    distances: Sequence[int] = column.get("distances") or ()
    rows = sum(distances)
    if not rows:
        return []
    last = max(24, max(i for i, n in enumerate(distances) if n))
    heights = [n / rows for n in distances[: last + 1]]
    edges = [i - 0.5 for i in range(last + 2)]
    near = round((column.get("same_picture") or 0) * rows)
    said = f"Hamming distance of hashes: {share(near, rows)} are at most 8 bits apart"
    drawn = step_histogram(edges, [Series("after", heights)], said, whole=True)
    words = f"bits of 64 that differ; {share(near, rows)} are at most 8 apart: the same picture"
    return [tag("div", drawn, tag("p", words, class_="beyond"))]
