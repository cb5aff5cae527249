"""What shortcuts do to values: figures, and where they are kept."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from coyo_tools.stages.score_difference import as_metadata, differences, from_metadata, in_words


def test_the_mean_and_the_largest_of_rows_with_both_values() -> None:
    found = pa.table({"a": [0.5, None, 1.0, 9.0], "n": [1, 2, 3, 4], "t": list("abcd")})
    exact = pa.table({"a": [0.25, 1.0, 1.5], "n": [1, 2, 5], "t": list("abz")})
    said = {"a": {"mean": 0.375, "largest": 0.5, "rows": 2, "lost": 1}}
    assert differences(found, exact) == said


def test_what_half_precision_makes_no_number_is_counted_and_no_part_of_the_mean() -> None:
    found = pa.table({"a": [0.5, float("nan"), float("inf"), None, float("nan")]})
    exact = pa.table({"a": [0.25, 1.0, 2.0, None, float("nan")]})
    said = differences(found, exact)
    assert said == {"a": {"mean": 0.25, "largest": 0.25, "rows": 1, "lost": 2}}
    json.dumps(said, allow_nan=False)  # as the manifest is written
    none_left = differences(found.slice(1, 2), exact.slice(1, 2))
    assert none_left == {"a": {"rows": 0, "lost": 2}}  # and no difference of 0
    assert in_words(said["a"]) == (
        "by 0.25 in the mean of the first 1 rows, 0.25 at most; 2 that lost their value beside them"
    )
    assert in_words(none_left["a"]) == "in all of the first rows: 2 that lost their value"


def test_no_value_says_nothing() -> None:
    empty = pa.table({"a": pa.array([None, None], pa.float32())})
    assert differences(empty, empty) == {}


@pytest.mark.parametrize("said", [{}, {"a": {"mean": 0.375, "largest": 0.5, "rows": 2}}])
def test_it_is_kept_in_the_metadata_of_a_file(said: dict[str, dict[str, float]]) -> None:
    kept = {name.encode(): text.encode() for name, text in as_metadata(said).items()}
    assert from_metadata(kept) == said


def test_files_without_it() -> None:
    assert from_metadata(None) == from_metadata({b"other": b"x"}) == {}


def test_lists_of_floats_are_taken_apart() -> None:
    kind = pa.list_(pa.float32())
    found = pa.table({"p": pa.array([[0.5, 0.25], None, [0.5]], kind), "t": [["a"], ["b"], ["c"]]})
    exact = pa.table({"p": pa.array([[0.25, 0.25], [1.0, 2.0], None], kind), "t": [["z"]] * 3})
    assert differences(found, exact) == {
        "p": {"mean": 0.125, "largest": 0.25, "rows": 2, "lost": 2}
    }
