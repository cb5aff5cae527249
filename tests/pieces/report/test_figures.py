import math

import pytest

from coyo_tools.pieces.report import figures

S = "\u202f"


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (4_957_578, 11_671_442, f"42.48{S}%"),
        (0, 5, f"0{S}%"),
        (5, 5, f"100{S}%"),
        (1, 1_000_000, f"<{S}0.01{S}%"),
        (999_999, 1_000_000, f">{S}99.99{S}%"),
        (0, 0, "\u2013"),
    ],
)
def test_share(part: int, whole: int, said: str) -> None:
    assert figures.share(part, whole) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(None, "\u2013"), (math.nan, "\u2013"), (0.0, "0"), (0.25, "0.2500"),
     (-0.176269, "\u22120.1763"), (621.78, "621.8"), (1234.5, "1,234"),
     (0.0000123, "1.2e\u22125"), (math.inf, "\u221e")],
)  # fmt: skip
def test_value(number: float | None, said: str) -> None:
    assert figures.value(number) == said


def test_whole_numbers_have_separators_and_no_decimals() -> None:
    assert figures.value(22507.0, whole=True) == "22,507"
    assert figures.value(3.0, whole=True) == "3"


def test_size_and_tick() -> None:
    assert figures.size(471_300_000) == f"471.3{S}MB"
    assert figures.size(12) == f"12{S}B"
    assert figures.tick(20_000) == "20k"
    assert figures.tick(-0.05) == "\u22120.05"
