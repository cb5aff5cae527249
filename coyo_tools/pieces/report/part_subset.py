"""The page's parts about a subset: the funnel, and each column before and after."""

from __future__ import annotations

from collections.abc import Sequence

from coyo_tools.pieces.report.charts import Segment, Series, bar, step_histogram
from coyo_tools.pieces.report.figures import count, share, value
from coyo_tools.pieces.report.markup import Html, from_the_web, join, table, tag
from coyo_tools.pieces.report.views import ColumnView, Side, Step, SubsetView

QUANTILE_HEADS = ("1\u202f%", "25\u202f%", "50\u202f%", "75\u202f%", "99\u202f%")


def funnel(view: SubsetView) -> Html:
    """The funnel as one table: a bar under each rule, the numbers beside it."""
    has_null = any(step.null for step in view.steps)
    everything = Step("all rows", None, None, 0, view.rows_in, "")
    head = ["rule", "dropped", "dropped alone", *(["null"] if has_null else []), "left", "left, %"]
    pairs = [(everything, view.rows_in), *_pairs(view)]
    rows = [_funnel_row(step, before, view.rows_in, has_null) for step, before in pairs]
    return tag("div", table("Rows left after each rule", head, rows), class_="funnel")


def _pairs(view: SubsetView) -> list[tuple[Step, int]]:
    """Each step with the rows that reached it."""
    reached = [view.rows_in, *(step.left for step in view.steps)]
    return list(zip(view.steps, reached, strict=False))


def _funnel_row(step: Step, reached: int, rows_in: int, has_null: bool) -> list[Html | str]:
    said = f"{count(step.left)} of {count(rows_in)} rows left"
    segments = [Segment("kept", step.left), Segment("dropped", reached - step.left)]
    words = [tag("span", from_the_web(step.rule), class_="rule-name")]
    if step.note:
        words.append(tag("span", step.note, class_="note"))
    numbers: list[Html | str] = [_counted(step.dropped), _counted(step.dropped_alone)]
    if has_null:
        numbers.append(count(step.null) if step.null else "")
    first = join([tag("span", *_spaced(words), class_="head"), bar(segments, rows_in, said)])
    return [first, *numbers, count(step.left), share(step.left, rows_in)]


def _spaced(words: Sequence[Html]) -> list[Html | str]:
    return [part for word in words for part in (word, " ")][:-1]


def _counted(number: int | None) -> str:
    return "" if number is None else count(number)


def key(sides: Sequence[Side], *, cut: bool = False) -> Html:
    """What the outlines of the charts below are."""
    entries = [tag("li", tag("i", class_=f"swatch {s.kind}"), s.label) for s in sides]
    if cut:
        entries.append(tag("li", tag("i", class_="swatch cut"), "where a rule drops"))
    return tag("ul", *entries, class_="key")


def columns(views: Sequence[ColumnView]) -> Html:
    """A card for each column."""
    return tag("div", *(card(view) for view in views), class_="cards")


def card(view: ColumnView) -> Html:
    """One column: its meaning, the chart, the quantiles."""
    head = tag("h3", from_the_web(view.name))
    meaning = tag("p", view.meaning, class_="meaning") if view.meaning else None
    return tag("article", head, meaning, chart(view), _quantiles(view), class_="card")


def chart(view: ColumnView) -> Html:
    """The outlines over common bins, or a sentence where there is nothing to draw."""
    found = view.histogram
    if found is None:
        return tag("p", "No value to draw.", class_="empty")
    series = [Series(s.kind, h) for s, h in zip(view.sides, found.heights, strict=True)]
    drawn = step_histogram(found.edges, series, _said(view), view.marks, whole=found.whole)
    kept = [f"{mark.label} {mark.note}" for mark in view.marks if mark.note]
    notes = tag("p", "; ".join(kept), class_="beyond") if kept else None
    return join([drawn, notes, _beyond(view)])


def _said(view: ColumnView) -> str:
    sides = "; ".join(f"{s.label}: median {value(s.summary.quantiles[2])}" for s in view.sides)
    bounds = "".join(f"; rule {mark.label}" for mark in view.marks)
    return f"Histogram of {view.name}; {sides}{bounds}"


def _beyond(view: ColumnView) -> Html | None:
    """How much lies outside the chart, where anything does."""
    found = view.histogram
    assert found is not None
    low, high = found.edges[0], found.edges[-1]
    if found.whole:
        low, high = low + 0.5, high - 0.5
    words = []
    for name, shares, edge in (("below", found.below, low), ("above", found.above, high)):
        if any(shares):
            sides = zip(view.sides, shares, strict=True)
            amounts = ", ".join(f"{side.label} {share(part, 1)}" for side, part in sides)
            words.append(f"{name} {value(edge, whole=found.whole)}: {amounts}")
    return tag("p", "Not drawn: ", "; ".join(words), class_="beyond") if words else None


def _quantiles(view: ColumnView) -> Html:
    """Quantiles and mean of each side."""
    whole = view.histogram is not None and view.histogram.whole
    rows = [
        [
            tag("span", tag("i", class_=f"swatch {side.kind}"), side.label, class_="side"),
            *(value(q, whole=whole, digits=3) for q in side.summary.quantiles),
            value(side.summary.mean, digits=3),
        ]
        for side in view.sides
    ]
    caption = f"Quantiles and mean of {view.name}"
    nulls = _nulls(view)
    return join([table(caption, ["", *QUANTILE_HEADS, "mean"], rows), nulls])


def _nulls(view: ColumnView) -> Html | None:
    words = [
        f"{s.label} {count(s.summary.nulls)} ({share(s.summary.nulls, s.summary.rows)})"
        for s in view.sides
        if s.summary.nulls
    ]
    return tag("p", "Null or NaN: ", ", ".join(words), class_="beyond") if words else None
