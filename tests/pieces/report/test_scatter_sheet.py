"""The sheet of scatter plots: a whole file, with every point and what its colour means."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

from coyo_tools.pieces.report.scatter_sheet import kinds, points, scatter_sheet

SVG = "{http://www.w3.org/2000/svg}"


def column(pairs: list[list[float]], **rest: Any) -> dict[str, Any]:
    rows = len(pairs)
    figures = {"rows": rows, "equal_rows": 1, "mean_absolute_difference": 0.5, "correlation": 0.25}
    return figures | {"sample": pairs, "precision": "float32"} | rest


def words(sheet: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(sheet).iter(f"{SVG}text")]


def dots(sheet: str) -> Counter[str]:
    """Points by class, without the key's."""
    found: Counter[str] = Counter()
    for path in ElementTree.fromstring(sheet).iter(f"{SVG}path"):
        kind = path.get("class") or ""
        if kind.startswith("dots") and path.get("style") is None:
            found[kind] += len(re.findall("h0", path.get("d") or ""))
    return found


def test_points_have_the_colour_of_what_became_of_the_picture() -> None:
    sheet = scatter_sheet({"a": column([[0, 1], [1, 1], [2, 2]], sample_drift="srs")})
    assert sheet is not None
    assert dots(sheet) == {"dots same": 2, "dots replaced": 1}
    said = [word.replace("\u202f", " ") for word in words(sheet)]
    assert "same picture" in said
    assert "picture replaced" in said
    assert "picture drifted" not in said
    assert "equal 33.33 % · mean |diff.| 0.500 · r 0.2500" in said


def test_one_colour_where_no_picture_is_known() -> None:
    sheet = scatter_sheet({"a": column([[0, 1], [1, 2]], sample_drift="uu"), "b": column([[1, 1]])})
    assert sheet is not None
    assert dots(sheet) == {"dots": 3}
    assert "picture unknown" not in words(sheet)
    assert kinds(column([], sample_drift="uu")) == ()


def test_whole_numbers_are_spread_and_stay_near() -> None:
    pairs = [[3, 3]] * 100
    spread = points(column(pairs, precision="integer"))
    assert len(set(spread)) == 100
    assert all(abs(a - 3) < 0.2 and abs(b - 3) < 0.2 for a, b in spread)
    assert points(column(pairs)) == [(3.0, 3.0)] * 100


def test_names_from_elsewhere_stay_text() -> None:
    hostile = "</style><script>alert(1)</script>" + "x" * 60
    sheet = scatter_sheet({hostile: column([[0, 1]])})
    assert sheet is not None
    assert "<script" not in sheet
    assert any(word.startswith("</style>") and word.endswith("\u2026") for word in words(sheet))


def test_light_dark_and_nothing_fetched() -> None:
    sheet = scatter_sheet({"a": column([[0, 1]])}) or ""
    assert "prefers-color-scheme: dark" in sheet
    assert "@media print" not in sheet
    assert re.findall(r"https?://[^\"]+", sheet) == ["http://www.w3.org/2000/svg"]
    assert scatter_sheet({"h": {"kind": "hash"}}) is None
