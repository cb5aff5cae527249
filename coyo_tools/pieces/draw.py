"""h(id, seed): the one source of chance. All sampling and tie-breaking use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Ids = np.ndarray[Any, np.dtype[np.int64]]
    Words = np.ndarray[Any, np.dtype[np.uint64]]


def draw(ids: Ids, seed: int) -> Words:
    """splitmix64(uint64(id) + splitmix64(uint64(seed))) for every id, modulo 2^64."""
    import numpy as np

    start = splitmix64(np.array([seed % (1 << 64)], np.uint64))
    return splitmix64(ids.astype(np.int64).view(np.uint64) + start)


def splitmix64(x: Words) -> Words:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014) on every word."""
    import numpy as np

    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
