"""h(id, seed) against a version in C's words; shares without rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.sampling import (
    Amount,
    amount_of,
    hash_expr,
    hash_of,
    hashes,
    seed_of,
    splitmix64,
)
from coyo_tools.words.errors import RuleError

ids = st.integers(-(2**63), 2**63 - 1)
seeds = st.integers(0, 2**64 - 1)
MASK = 2**64 - 1


def in_c(id: int, seed: int) -> int:
    """The contract's formula, word by word."""

    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) & MASK
        z = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    return mix(((id & MASK) + mix(seed & MASK)) & MASK)


def test_splitmix64_gives_the_published_sequence() -> None:
    # The first outputs of Vigna's splitmix64.c from the state 1234567.
    state, found = 1234567, []
    for _ in range(3):
        found.append(splitmix64(state))
        state += 0x9E3779B97F4A7C15
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(ids, min_size=1, max_size=50), seeds)
def test_all_three_forms_agree(numbers: list[int], seed: int) -> None:
    wanted = [in_c(n, seed) for n in numbers]
    assert [hash_of(n, seed) for n in numbers] == wanted
    array = np.array(numbers, np.int64)
    assert hashes(array, seed).tolist() == wanted
    frame = pl.DataFrame({"id": array}).lazy().select(hash_expr(seed)).collect()
    assert frame.to_series().to_list() == wanted


def test_a_null_id_has_no_hash() -> None:
    frame = pl.DataFrame({"id": pl.Series([None, 1], dtype=pl.Int64)})
    assert frame.select(hash_expr(3)).to_series().to_list() == [None, hash_of(1, 3)]


@given(st.integers(1, 10_000), st.integers(0, 10**9))
def test_a_share_of_rows_is_rounded_half_up(hundredths: int, rows: int) -> None:
    amount = amount_of(f"{hundredths // 100}.{hundredths % 100:02}%", "x")
    exact = Fraction(hundredths, 10_000) * rows
    assert amount.of(rows) == (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    bound = Fraction(hundredths, 10_000) * 2**64
    assert amount.hash_bound - 1 < bound <= amount.hash_bound


@pytest.mark.parametrize(
    ("value", "amount", "written"),
    [
        ("30%", "30%", "30%"), ("30.00 %", "30%", "30%"), (".5%", "0.5%", "0.5%"),
        ("100%", "100%", "100%"), (7, 7, "7"), ("1000000", 1_000_000, "1,000,000"),
        ("1_000", 1000, "1,000"),
    ],
)  # fmt: skip
def test_amounts_are_written_one_way(value, amount, written) -> None:
    found = amount_of(value, "--top")
    assert (found.written, str(found)) == (amount, written)
    assert amount_of(found.written, "--top") == found


@pytest.mark.parametrize("value", ["0%", "101%", "-1%", 0, -3, True, 0.3, "0.3", None, "", "1e6"])
def test_what_is_no_amount_is_refused(value) -> None:
    with pytest.raises(RuleError, match=r"--top: .* is no amount; write a share such as 30%"):
        amount_of(value, "--top")


def test_a_count_is_never_more_than_there_is() -> None:
    assert Amount(rows=5).of(3) == 3


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, "x", None])
def test_what_is_no_seed_is_refused(value) -> None:
    with pytest.raises(RuleError, match=r"is no seed; write a whole number from 0 to 2\^64 - 1"):
        seed_of(value, "--seed")
    assert (seed_of(7, ""), seed_of("7", "")) == (7, 7)
