"""The stage of `score`: batches, order, failures, and what a worker reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from coyo_tools.pieces.scores.base import IMAGE, TEXT, Sample, Score, ScoreColumn
from coyo_tools.pieces.scores.lanes import Lane
from coyo_tools.stages import score as stage
from coyo_tools.words.errors import EngineError, SettingsError
from coyo_tools.words.failures import Failure


class Recorder:
    """A score that keeps the batches it is given; `prepare` may fail as it is told."""

    def __init__(self, fails: dict[str, Any] | None = None) -> None:
        self.batches: list[list[str]] = []
        self.fails = fails or {}

    def prepare(self, sample: Sample) -> Any:
        found = self.fails.get(sample.key, sample.key)
        if isinstance(found, Exception):
            raise found
        return found

    def score(self, prepared: Sequence[str]) -> Sequence[Any]:
        self.batches.append(list(prepared))
        return ([f"scored {key}" for key in prepared],)


def panel_of(scorer: Any, batch_size: int, inputs: tuple[str, ...] = (TEXT,)) -> stage.Panel:
    declared = Score(
        name="test",
        columns=(ScoreColumn("test", "string", "a test"),),
        inputs=inputs,
        model="none",
        licence="none",
        load=lambda _: scorer,
        exact=True,
    )
    return stage.Panel([Lane((declared,), scorer)], ("test",), batch_size)


def gathered(panel: stage.Panel, keys: Sequence[str]) -> pa.Table:
    found = stage.Gathered(panel)
    for number, key in enumerate(keys):
        found.add(panel.prepare(stage.Row(key, number, "caption")))
    return found.table()


def test_batches_are_full_but_the_last_and_values_stay_in_their_rows() -> None:
    scorer = Recorder()
    table = gathered(panel_of(scorer, 4), list("abcdefghij"))
    assert [len(batch) for batch in scorer.batches] == [4, 4, 2]
    assert table.column("test").to_pylist() == [f"scored {key}" for key in "abcdefghij"]
    assert table.column("id").to_pylist() == list(range(10))
    assert table.column_names == ["id", "key", "test", "error"]


def test_rows_without_a_value_and_failed_rows_take_no_place_in_a_batch() -> None:
    scorer = Recorder({"b": None, "c": Failure("corrupt_image"), "e": OSError("odd mode")})
    table = gathered(panel_of(scorer, 2, (IMAGE, TEXT)), list("abcdef"))
    assert scorer.batches == [["a", "d"], ["f"]]
    assert table.column("test").to_pylist() == [
        "scored a",
        None,
        None,
        "scored d",
        None,
        "scored f",
    ]
    assert table.column("error").to_pylist() == [
        None,
        None,
        "corrupt_image",
        None,
        "corrupt_image",
        None,
    ]


def test_an_error_that_no_picture_explains_is_raised() -> None:
    with pytest.raises(ValueError, match="a bug"):
        gathered(panel_of(Recorder({"a": ValueError("a bug")}), 2), ["a"])


def test_a_device_out_of_memory_says_what_to_do() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch.cuda.OutOfMemoryError is called."""

    class Greedy(Recorder):
        def score(self, prepared: Sequence[str]) -> Sequence[Any]:
            raise OutOfMemoryError("CUDA out of memory")

    with pytest.raises(EngineError, match="smaller --batch-size"):
        gathered(panel_of(Greedy(), 1), ["a"])


def test_results_come_in_order_and_few_are_in_hand() -> None:
    in_hand, most = 0, 0
    lock = threading.Lock()

    def items() -> Any:
        nonlocal in_hand, most
        for number in range(60):
            with lock:
                in_hand += 1
                most = max(most, in_hand)
            yield number

    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    with ThreadPoolExecutor(4) as pool:
        for expected, found in enumerate(stage.in_order(pool, slow, items(), ahead=7)):
            assert found == expected
            with lock:
                in_hand -= 1
    assert most <= 8


def test_an_error_in_a_thread_is_the_callers() -> None:
    def fails(number: int) -> int:
        if number == 3:
            raise LookupError("three")
        return number

    with ThreadPoolExecutor(2) as pool, pytest.raises(LookupError, match="three"):
        list(stage.in_order(pool, fails, range(10), ahead=4))


def test_devices() -> None:
    torch = pytest.importorskip("torch", reason="needs the score extra")
    assert stage.pick_device("cpu") == "cpu"
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert stage.pick_device("auto") == expected
    with pytest.raises(SettingsError, match="cuda:99 is not there"):
        stage.pick_device("cuda:99")


def test_output_names() -> None:
    from coyo_tools.pieces.shard_reader import Shard
    from coyo_tools.pieces.source import Part

    assert stage.output_name(Shard("x/00000.tar", "00000.tar", 1)) == "00000.parquet"
    assert stage.output_name(Part("x/part-0.parquet", "part-0.parquet", 1)) == "part-0.parquet"


def test_keys_of_metadata_are_those_download_makes() -> None:
    assert stage._key(2680060225205) == "0002680060225205"
    assert stage._key(None) is None
