"""width and height: those of the original, as the shard has noted them, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.size import SCORE


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"original_width": 1200, "original_height": 800, "width": 384, "height": 256},
            (1200, 800),
        ),
        ({"width": 384, "height": 256}, None),
        ({}, None),
        ({"original_width": 1200, "original_height": None}, None),
        ({"original_width": "1200", "original_height": 800}, None),
        ({"original_width": True, "original_height": 800}, None),
        ({"original_width": 0, "original_height": 800}, None),
        ({"original_width": 1 << 31, "original_height": 800}, None),
    ],
)
def test_only_what_the_shard_says_of_the_original(facts: dict[str, Any], expected: Any) -> None:
    assert SCORE.load(Setup()).prepare(Sample("k", None, None, facts)) == expected


def test_a_column_each() -> None:
    assert SCORE.load(Setup()).score([(3, 4), (5, 6)]) == ((3, 5), (4, 6))
