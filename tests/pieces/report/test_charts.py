import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.report.charts import (
    Mark,
    Segment,
    Series,
    bar,
    flow,
    nice_step,
    nice_ticks,
    number,
    scatter,
    step_histogram,
)

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


def parsed(svg: str) -> ElementTree.Element:
    """The chart as XML: so it is well-formed, too."""
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    return root


@given(FINITE, FINITE)
def test_ticks_are_inside_and_round(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 6


@given(st.floats(1e-6, 1e9))
def test_a_nice_step_is_just_above(rough: float) -> None:
    step = nice_step(rough)
    assert rough * (1 - 1e-6) <= step <= rough * 2.51


def test_a_bar_shows_its_shares_and_a_hairline_for_the_smallest() -> None:
    root = parsed(bar([Segment("kept", 75), Segment("dropped", 25)], 100, "three quarters"))
    widths = {r.get("class"): float(r.get("width") or 0) for r in root}
    assert widths == {"track": 240, "kept": 180, "dropped": 60}
    tiny = parsed(bar([Segment("kept", 1)], 10**9, "one"))
    assert float(tiny[1].get("width") or 0) == 1


def test_an_outline_follows_its_heights() -> None:
    root = parsed(step_histogram([0, 1, 2], [Series("after", [0.25, 0.75])], "two bins"))
    path = next(p.get("d") for p in root if p.get("class") == "step after")
    assert path is not None
    start, *ys = [float(y) for y in re.findall(r"V([\d.]+)", path)]
    base = float(re.findall(r"M[\d.]+ ([\d.]+)", path)[0])
    assert (base - start) / (base - ys[0]) == pytest.approx(1 / 3, abs=0.01)
    assert ys[-1] == base


@pytest.mark.parametrize(("keeps", "x", "width"), [("above", 1, 74.5), ("below", 75.5, 223.5)])
def test_what_a_rule_drops_is_shaded(keeps: str, x: float, width: float) -> None:
    mark = Mark(1.0, keeps, "bound")
    root = parsed(step_histogram([0, 4], [Series("after", [1])], "one bin", [mark]))
    shade = next(r for r in root if r.get("class") == "cut")
    assert (float(shade.get("x") or 0), float(shade.get("width") or 0)) == (x, width)
    assert "bound" in [t.text for t in root.iter("text")]


@pytest.mark.parametrize(("keeps", "width"), [("below", "0"), ("above", "298")])
def test_a_bound_outside_the_chart_has_no_line(keeps: str, width: str) -> None:
    root = parsed(step_histogram([0, 1], [Series("after", [1])], "x", [Mark(9, keeps, "9")]))
    assert next(r for r in root if r.get("class") == "cut").get("width") == width
    assert "rule" not in [r.get("class") for r in root]


def test_whole_numbers_have_no_ticks_between_them() -> None:
    root = parsed(step_histogram([-0.5, 0.5, 1.5], [Series("after", [1, 0])], "x", whole=True))
    ticks = [t.text for t in root.iter("text") if not (t.text or "").startswith("peak")]
    assert ticks == ["0", "1"]


@given(st.lists(st.tuples(FINITE, FINITE), max_size=20))
def test_a_scatter_holds_every_point_inside_its_plot(pairs: list[tuple[float, float]]) -> None:
    root = parsed(scatter(pairs, "points", "stored", "recomputed"))
    dots = [p.get("d") or "" for p in root if p.get("class") == "dots"]
    points = re.findall(r"M([\d.]+) ([\d.]+)h0", "".join(dots))
    assert len(points) == len(pairs)
    assert all(46 <= float(x) <= 254 and 6 <= float(y) <= 224 for x, y in points)


@given(st.lists(st.integers(0, 10**9), max_size=6))
def test_a_flow_is_a_closed_band(amounts: list[int]) -> None:
    root = parsed(flow(amounts, "narrows"))
    path = root[0].get("d") or ""
    assert path.startswith("M0 ")
    assert path.endswith("Z")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (10, "10"), (100.0, "100"), (-0.001, "0"), (-0.25, "-0.25"), (0.5, "0.5")],
)  # fmt: skip
def test_coordinates(value: float, said: str) -> None:
    assert number(value) == said
