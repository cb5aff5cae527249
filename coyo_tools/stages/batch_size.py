"""How many rows a model sees at once: found for the device, and halved where its memory ends."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from coyo_tools.pieces.scores.base import IMAGE, Sample
from coyo_tools.pieces.scores.lanes import Lane
from coyo_tools.words.errors import EngineError
from coyo_tools.words.failures import Failure

ON_CPU = 8  # on one core ViT-B-32 is fastest there: what lies between its layers fits the cache
LARGEST_ON_GPU = 256  # beyond, a GPU is no faster
TEXTS = 256  # captions that are counted at once
GREYS = 32  # pictures that are hashed at once
UNMEASURED = 32  # on a GPU, of a score that has no value for a grey picture
_TRIAL = 8  # rows of the batch that memory is measured with
_SHARE = 0.4  # of the free memory for one batch: two are under way, and memory is fragmented


class BatchSizes:
    """The batch size of each lane. Smaller ones after a device ran out of memory; never larger."""

    def __init__(self, size: int, by_lane: Mapping[str, int] | None = None) -> None:
        self._size = size
        self._by_lane = dict(by_lane or {})
        self._lock = threading.Lock()

    def of(self, lane: Lane) -> int:
        """How many rows to score at once."""
        if lane.uses_device or IMAGE in lane.inputs:
            return self._by_lane.get(lane.label, self._size)
        return max(GREYS if lane.needs_image else TEXTS, self._size)

    def largest(self, lanes: Sequence[Lane]) -> int:
        """The largest size of lanes that look at pictures."""
        return max(self.of(lane) for lane in lanes if lane.needs_image)

    def found(self, lanes: Sequence[Lane]) -> dict[str, int]:
        """The sizes of the lanes that have a model, by their labels."""
        return {lane.label: self.of(lane) for lane in lanes if lane.uses_device}

    def score(self, lane: Lane, ready: Sequence[Any]) -> list[list[Any]]:
        """The lane's values, a list a column, in as many batches as the device's memory needs.

        Raises EngineError where a single row does not fit.
        """
        found = self._attempt(lane, ready)
        if found is not None:
            return found
        half = max(1, len(ready) // 2)
        if len(ready) == 1:
            raise EngineError(
                "the device ran out of memory with a single picture",
                where="score",
                todo="free its memory or choose another --device: the same command goes on "
                "where it stopped",
            )
        self._shrink(lane, half)
        _free_cache()
        halves = [self.score(lane, part) for part in (ready[:half], ready[half:])]
        return [first + second for first, second in zip(*halves, strict=True)]

    def _attempt(self, lane: Lane, ready: Sequence[Any]) -> list[list[Any]] | None:
        """None where the device ran out of memory; what the attempt held is free by then."""
        try:
            return [_plain(values) for values in lane.scorer.score(ready)]
        except Exception as error:
            if not _out_of_memory(error):
                raise
        return None

    def _shrink(self, lane: Lane, size: int) -> None:
        with self._lock:
            self._by_lane[lane.label] = min(size, self.of(lane))


def _plain(values: Any) -> list[Any]:
    """A numpy array, or any sequence, as a list of Python values."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _out_of_memory(error: BaseException) -> bool:
    """Whether it is torch's, without importing torch."""
    return any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)


def _free_cache() -> None:
    """Give memory back that torch keeps for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def find(lanes: Sequence[Lane], device: str) -> BatchSizes:
    """Sizes for the device: on a GPU by its free memory, measured on a batch of grey pictures."""
    if device == "cpu":
        return BatchSizes(ON_CPU)
    return BatchSizes(ON_CPU, {n.label: _measured(n, device) for n in lanes if not n.on_cpu})


def _measured(lane: Lane, device: str) -> int:
    sample = Sample("", "a grey picture", _grey())
    ready = lane.scorer.prepare(sample)
    if ready is None or isinstance(ready, Failure):
        return UNMEASURED
    try:
        return _fitting_beside(lane, ready, device)
    except Exception as error:
        if not _out_of_memory(error):
            raise
    _free_cache()
    return 1  # the trial itself was too large


def _fitting_beside(lane: Lane, ready: Any, device: str) -> int:
    """What fits beside what is in the device's memory already."""
    import torch

    lane.scorer.score([ready] * _TRIAL)  # libraries take memory for good when first used
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    lane.scorer.score([ready] * _TRIAL)
    used = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(free, used / _TRIAL)


def _grey() -> Any:
    from PIL import Image

    return Image.new("RGB", (512, 512), "grey")


def fitting(free: float, each: float) -> int:
    """The largest power of two of rows that a share of the free bytes holds, 1 to 256.

    each: bytes a row takes while the model runs. Powers of two, so that a little more or less
    free memory changes nothing.
    """
    powers = [1 << exponent for exponent in range(LARGEST_ON_GPU.bit_length())]
    return max((n for n in powers if n * each <= _SHARE * free), default=1)
