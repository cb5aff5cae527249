"""Charts as inline SVG: no script, no font, no colour of their own.

Every mark has a class and takes its colour from the page's style sheet, so that one drawing
serves light, dark and paper. Each chart is one image to a screen reader, with a sentence of what
it shows. Lengths are user units of the chart's own `viewBox`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coyo_tools.pieces.report.figures import share as percent
from coyo_tools.pieces.report.figures import tick
from coyo_tools.pieces.report.markup import Html, tag

_SMALLEST = 1e-200  # a span below it is none: floats have no room for steps within


@dataclass(frozen=True)
class Segment:
    """A part of a bar. kind: its class in the style sheet. amount: any unit, not negative."""

    kind: str
    amount: float


@dataclass(frozen=True)
class Series:
    """One outline of a step histogram. heights: one a bin, shares of the series' own rows."""

    kind: str
    heights: Sequence[float]


@dataclass(frozen=True)
class Mark:
    """A rule's bound on the x axis. keeps: "above" or "below". note: how much it keeps."""

    at: float
    keeps: str
    label: str
    note: str = ""


def number(value: float) -> str:
    """A coordinate: two decimals at most, so that equal inputs give equal bytes."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")  # + 0.0: no "-0"


def _svg(width: float, height: float, said: str, parts: Iterable[Html], **rest: object) -> Html:
    attributes = {"viewBox": f"0 0 {number(width)} {number(height)}", "role": "img", **rest}
    return tag("svg", *parts, aria_label=said, **attributes)


def rect(x: float, y: float, width: float, height: float, kind: str) -> Html:
    """A rectangle of a class."""
    return tag(
        "rect",
        x=number(x),
        y=number(y),
        width=number(max(width, 0)),
        height=number(max(height, 0)),
        class_=kind,
    )


def label(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> Html:
    """A word at a point."""
    return tag("text", words, x=number(x), y=number(y), class_=kind, text_anchor=anchor)


def bar(segments: Sequence[Segment], whole: float, said: str) -> Html:
    """One flat bar, as wide as its place; what the segments leave of `whole` stays empty.

    A segment that is not nothing is at least a hairline wide.
    """
    width, at = 240.0, 0.0
    parts = [rect(0, 0, width, 10, "track")]
    for segment in segments:
        length = width * segment.amount / whole if whole else 0.0
        drawn = max(length, 1.0) if segment.amount else 0.0
        parts.append(rect(min(at, width - drawn), 0, drawn, 10, segment.kind))
        at += length
    return _svg(width, 10, said, parts, class_="bar", preserveAspectRatio="none")


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers within [low, high]; empty where the range is."""
    if not _SMALLEST < high - low < math.inf:
        return []
    step = nice_step((high - low) / wanted)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [_rounded(i * step, step) for i in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * (1 - 1e-9))


def _rounded(value: float, step: float) -> float:
    return round(value, max(0, 2 - math.floor(math.log10(step)))) + 0.0


@dataclass(frozen=True)
class _Frame:
    """The plot's place within a chart, and the values at its edges."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at_x(self, value: float) -> float:
        low, high = self.x
        return self.left + self.width * (value - low) / (high - low)

    def at_y(self, value: float) -> float:
        low, high = self.y
        return self.top + self.height * (1 - (value - low) / (high - low))

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width


def step_histogram(
    edges: Sequence[float],
    series: Sequence[Series],
    said: str,
    marks: Sequence[Mark] = (),
    *,
    whole: bool = False,
) -> Html:
    """Outlines over common bins; what a mark's rule drops is shaded. edges: one more than bins.

    A mark outside the bins has no line. whole: the values are whole numbers, and so are the ticks.
    """
    width, height = 300.0, 152.0
    peak = max((h for one in series for h in one.heights), default=0.0) or 1.0
    inside = [mark for mark in marks if edges[0] <= mark.at <= edges[-1]]
    # Headroom for the marks' labels, one line each.
    top = 15.0 + 12.0 * len(inside)
    frame = _Frame(1, top, width - 2, height - top - 20, (edges[0], edges[-1]), (0, peak))
    parts = [_shade(frame, mark) for mark in marks]
    parts += [_outline(frame, edges, one) for one in series]
    parts += _x_axis(frame, whole=whole)
    parts += [part for i, mark in enumerate(inside) for part in _mark(frame, mark, 22 + 12.0 * i)]
    parts.append(label(frame.left, 10, f"peak {percent(peak, 1)}", "tick", "start"))
    return _svg(width, height, said, parts, class_="histogram")


def _shade(frame: _Frame, mark: Mark) -> Html:
    x = min(max(frame.at_x(mark.at), frame.left), frame.right)
    if mark.keeps == "above":
        return rect(frame.left, frame.top, x - frame.left, frame.height, "cut")
    return rect(x, frame.top, frame.right - x, frame.height, "cut")


def _mark(frame: _Frame, mark: Mark, y: float) -> list[Html]:
    x = frame.at_x(mark.at)
    on_the_right = x < (frame.left + frame.right) / 2
    line = tag("path", d=f"M{number(x)} {number(y - 8)}V{number(frame.bottom)}", class_="rule")
    offset = 5 if on_the_right else -5
    return [line, label(x + offset, y, mark.label, "mark", "start" if on_the_right else "end")]


def _outline(frame: _Frame, edges: Sequence[float], series: Series) -> Html:
    path = [f"M{number(frame.at_x(edges[0]))} {number(frame.bottom)}"]
    for right, height in zip(edges[1:], series.heights, strict=True):
        path.append(f"V{number(frame.at_y(height))}H{number(frame.at_x(right))}")
    path.append(f"V{number(frame.bottom)}")
    return tag("path", d="".join(path), class_=f"step {series.kind}")


def _x_axis(frame: _Frame, *, whole: bool = False) -> list[Html]:
    base = tag("path", d=f"M{number(frame.left)} {number(frame.bottom)}h{number(frame.width)}")
    parts = [tag("g", base, class_="axis")]
    for value in nice_ticks(*frame.x):
        if whole and value != int(value):
            continue
        x = frame.at_x(value)
        anchor = "middle"
        if x < frame.left + 14:
            x, anchor = max(x, frame.left), "start"
        elif x > frame.right - 14:
            x, anchor = min(x, frame.right), "end"
        parts.append(label(x, frame.bottom + 14, tick(value), "tick", anchor))
    return parts


def scatter(
    pairs: Sequence[tuple[float, float]],
    said: str,
    x_name: str,
    y_name: str,
    kinds: Sequence[str] = (),
) -> Html:
    """Points over a diagonal on which both are equal; the axes share one scale.

    kinds: a class for each pair, which gives it its colour; the rarer lie on top.
    """
    side = 260.0
    values = [value for pair in pairs for value in pair]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = (high - low or abs(high)) * 0.04
    margin = margin if margin > _SMALLEST else 1.0
    span = (low - margin, high + margin)
    frame = _Frame(46, 6, side - 52, side - 42, span, span)
    diagonal = (
        f"M{number(frame.left)} {number(frame.bottom)}L{number(frame.right)} {number(frame.top)}"
    )
    parts = [
        rect(frame.left, frame.top, frame.width, frame.height, "plot"),
        tag("path", d=diagonal, class_="equal"),
        *_dots(frame, pairs, kinds),
        *_x_axis(frame),
        *(
            label(frame.left - 5, frame.at_y(v) + 3.5, tick(v), "tick", "end")
            for v in nice_ticks(*span)
        ),
        label((frame.left + frame.right) / 2, side - 3, x_name, "name"),
        tag(
            "text",
            y_name,
            transform=f"translate(9 {number((frame.top + frame.bottom) / 2)}) rotate(-90)",
            text_anchor="middle",
            class_="name",
        ),
    ]
    return _svg(side, side, said, parts, class_="scatter")


def _dots(frame: _Frame, pairs: Sequence[tuple[float, float]], kinds: Sequence[str]) -> list[Html]:
    """One path a kind: a point costs 12 bytes where a circle costs 60."""
    paths: dict[str, list[str]] = {kind: [] for kind in dict.fromkeys(kinds)}
    for (x, y), kind in zip(pairs, kinds or [""] * len(pairs), strict=True):
        dot = f"M{number(frame.at_x(x))} {number(frame.at_y(y))}h0"
        paths.setdefault(kind, []).append(dot)
    return [
        tag("path", d="".join(dots), class_=f"dots {kind}".rstrip())
        for kind, dots in sorted(paths.items(), key=lambda item: -len(item[1]))
    ]


def curve(points: Sequence[tuple[float, float]], said: str, x_name: str, y_name: str) -> Html:
    """A line through points in the order of x, over a y axis from nothing. At least two points."""
    width, height = 640.0, 240.0
    peak = max(y for _, y in points)
    frame = _Frame(46, 8, width - 60, height - 46, (points[0][0], points[-1][0]), (0, peak * 1.1))
    path = "L".join(f"{number(frame.at_x(x))} {number(frame.at_y(y))}" for x, y in points)
    parts = [
        rect(frame.left, frame.top, frame.width, frame.height, "plot"),
        tag("path", d=f"M{path}", class_="curve"),
        *_x_axis(frame),
        *(
            label(frame.left - 5, frame.at_y(v) + 3.5, tick(v), "tick", "end")
            for v in nice_ticks(*frame.y)
        ),
        label((frame.left + frame.right) / 2, height - 4, x_name, "name"),
        label(4, frame.top + 10, y_name, "name", "start"),
    ]
    return _svg(width, height, said, parts, class_="curve-chart")


def flow(amounts: Sequence[float], said: str) -> Html:
    """A band that narrows from amount to amount, each holding an equal stretch of the width."""
    width, height = 1000.0, 84.0
    peak = max(amounts, default=0.0) or 1.0
    stretch = width / max(len(amounts), 1)
    tall = [max(height * a / peak, 1.5) if a else 0.0 for a in amounts]
    upper, lower = [], []
    for i, h in enumerate(tall):
        start, end = i * stretch, (i + 1) * stretch
        bend = stretch * 0.22
        following = tall[i + 1] if i + 1 < len(tall) else h
        top, next_top = (height - h) / 2, (height - following) / 2
        upper.append(
            _bend(end - bend, top, end, next_top) if i + 1 < len(tall) else f"H{number(end)}"
        )
        lower.append((start, end - bend, end, height - top, height - next_top))
    return _svg(
        width,
        height,
        said,
        [_band(tall, upper, lower, height)],
        class_="flow",
        preserveAspectRatio="none",
    )


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = number((x1 + x2) / 2)
    curve = f"{middle} {number(y1)} {middle} {number(y2)} {number(x2)} {number(y2)}"
    return f"L{number(x1)} {number(y1)}C{curve}"


def _band(
    tall: Sequence[float],
    upper: Sequence[str],
    lower: Sequence[tuple[float, float, float, float, float]],
    height: float,
) -> Html:
    first = (height - tall[0]) / 2 if tall else 0.0
    path = f"M0 {number(first)}" + "".join(upper)
    for i, (start, bend, end, bottom, next_bottom) in reversed(list(enumerate(lower))):
        if i + 1 == len(lower):
            path += f"V{number(bottom)}H{number(start)}"
        else:
            path += _bend(end, next_bottom, bend, bottom) + f"H{number(start)}"
    return tag("path", d=path + "Z", class_="band")
