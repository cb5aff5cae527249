"""Batch sizes: found by memory, halved where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from coyo_tools.pieces.scores.base import IMAGE, TEXT, Score, ScoreColumn
from coyo_tools.pieces.scores.lanes import Lane
from coyo_tools.stages import batch_size
from coyo_tools.stages.batch_size import BatchSizes, fitting
from coyo_tools.words.errors import EngineError

torch = pytest.importorskip("torch", reason="needs the score extra")


class Small:
    """A model on a device that holds so many rows at once."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.batches: list[int] = []

    def prepare(self, sample: Any) -> float:
        return 1.0

    def score(self, prepared: Sequence[float]) -> Sequence[Any]:
        if len(prepared) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.batches.append(len(prepared))
        return np.array(prepared, np.float32), [f"row {value}" for value in prepared]


def lane_of(scorer: Any, *, extra: str | None = "score", inputs: Any = (IMAGE,)) -> Lane:
    columns = ScoreColumn("value", "float32", ""), ScoreColumn("name", "string", "")
    declared = Score("test", columns, inputs, "", "", lambda _: scorer, extra=extra)
    return Lane((declared,), scorer)


@pytest.mark.parametrize("holds", [1, 3, 7, 100])
def test_a_batch_that_does_not_fit_is_halved_and_no_value_changes(holds: int) -> None:
    lane, sizes = lane_of(Small(holds)), BatchSizes(32)
    rows = [float(number) for number in range(32)]
    values, names = sizes.score(lane, rows)
    assert values == rows
    assert names == [f"row {value}" for value in rows]
    assert sizes.of(lane) == {1: 1, 3: 2, 7: 4, 100: 32}[holds]  # later batches fit at once
    assert sizes.found([lane]) == {"value, name": sizes.of(lane)}


def test_a_single_row_that_does_not_fit_is_named() -> None:
    with pytest.raises(EngineError, match="ran out of memory with a single picture"):
        BatchSizes(4).score(lane_of(Small(0)), [1.0, 2.0, 3.0])


def test_a_device_too_small_for_the_trial_gets_a_row_at_a_time() -> None:
    """The trial ends before anything is asked of a GPU, so that none is needed."""
    lane = lane_of(Small(3))
    assert batch_size.find([lane], "cuda:0").of(lane) == 1


def test_other_errors_are_raised() -> None:
    class Broken(Small):
        def score(self, prepared: Sequence[float]) -> Sequence[Any]:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        BatchSizes(4).score(lane_of(Broken(1)), [1.0])


def test_captions_without_a_model_are_counted_many_at_once() -> None:
    assert BatchSizes(8).of(lane_of(Small(1), extra=None, inputs=(TEXT,))) == batch_size.TEXTS
    assert BatchSizes(8).of(lane_of(Small(1), extra=None)) == 8


@pytest.mark.parametrize(
    ("free", "each", "size"),
    [
        (80e9, 20e6, 256),  # no more than does any good
        (8e9, 20e6, 128),
        (8e9, 26e6, 64),  # 0.4 of 8 GB hold 123
        (1e9, 300e6, 1),
        (1e9, 3e9, 1),  # perhaps it fits all the same
        (8e9, 0, 256),
    ],
)
def test_the_size_that_free_memory_holds(free: float, each: float, size: int) -> None:
    assert fitting(free, each) == size


def test_on_a_cpu_nothing_is_measured() -> None:
    lane = lane_of(Small(0))
    assert batch_size.find([lane], "cpu").of(lane) == batch_size.ON_CPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_size_is_measured() -> None:
    class OnGpu(Small):
        def score(self, prepared: Sequence[float]) -> Sequence[Any]:
            took = torch.empty(len(prepared), 100_000_000, dtype=torch.uint8, device="cuda:0")
            return [0.0] * len(took), [""] * len(took)

    lane = lane_of(OnGpu(1000))
    free, _ = torch.cuda.mem_get_info("cuda:0")
    assert batch_size.find([lane], "cuda:0").of(lane) == fitting(free, 1e8)


@pytest.mark.parametrize(
    ("device", "extra", "on_cpu"),
    [
        ("cpu", "score", True),
        ("cuda:0", "score", False),
        (None, "score", False),
        (None, None, True),
    ],
)
def test_where_a_lane_runs_beside_a_gpu(
    device: str | None, extra: str | None, on_cpu: bool
) -> None:
    """onnxruntime without CUDA stays on the CPU, and its batches are as small as there."""
    scorer = Small(8)
    if device is not None:
        scorer.device = device  # type: ignore[attr-defined]
    lane = lane_of(scorer, extra=extra)
    assert lane.on_cpu == on_cpu
    if on_cpu:
        assert batch_size.find([lane], "cuda:0").of(lane) >= batch_size.ON_CPU
