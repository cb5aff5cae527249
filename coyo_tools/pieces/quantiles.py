"""Exact ranks in bounded memory: histograms over the bit patterns of the values.

Every value has a key, an unsigned integer in the same order. The first pass counts keys in 2^19
bins: the high 19 bits of a float32 tell all float16 values apart, so that columns which hold
only such are exact at once; integers between -2^18 and 2^18 have a bin each. Where the bin of a
rank holds several values, a further pass looks into it: its keys are held and sorted where they
are few, else counted in bins again. Memory is bounded by the bins and by what is held, never by
the rows. -0.0 has the key of 0.0.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BIN_BITS = 19
HELD_AT_MOST = 2_000_000  # keys sorted in memory at once, all searches of a pass together
_OWN_BIN = 1 << (BIN_BITS - 1)  # integers nearer to 0 than this


@dataclass(frozen=True)
class Window:
    """Bins over the keys lo to hi, both included: 2^shift keys a bin. Others are counted below and
    above: counts have a first and a last bin more."""

    lo: int
    hi: int
    shift: int

    @property
    def bins(self) -> int:
        """Bins between the outer two."""
        return ((self.hi - self.lo) >> self.shift) + 1

    def count(self, keys: Array) -> Array:
        """Keys a bin. keys: uint64 (n,). Returns int64 (bins + 2,)."""
        import numpy as np

        return np.bincount(self.bins_of(keys), minlength=self.bins + 2)

    def bins_of(self, keys: Array) -> Array:
        """The bin of each key, int64."""
        import numpy as np

        shifted = keys - np.uint64(self.lo)
        shifted >>= np.uint64(self.shift)  # in place: these arrays are a pass's memory
        at: Array = shifted.view(np.int64)
        at += 1
        if self.lo:
            at[keys < np.uint64(self.lo)] = 0
        if self.hi < (1 << 64) - 1:
            at[keys > np.uint64(self.hi)] = self.bins + 1
        return at

    def keys_of(self, index: int, last: int) -> tuple[int, int]:
        """First and last key of a bin. last: the greatest key there can be."""
        if index == 0:
            return 0, self.lo - 1
        if index > self.bins:
            return self.hi + 1, last
        first = self.lo + ((index - 1) << self.shift)
        return first, min(first + (1 << self.shift) - 1, self.hi)


def window_over(lo: int, hi: int) -> Window:
    """Bins over these keys, as narrow as their number allows."""
    return Window(lo, hi, max(0, (hi - lo).bit_length() - BIN_BITS))


@dataclass(frozen=True)
class Order:
    """How values of a kind become keys. kind: `int` (int64), `f32`, `f64` or `hash` (uint64)."""

    kind: str

    @property
    def last(self) -> int:
        """The greatest key."""
        return (1 << (32 if self.kind == "f32" else 64)) - 1

    @property
    def first_window(self) -> Window:
        """The bins of the first pass."""
        if self.kind == "int":
            middle = 1 << 63
            return Window(middle - _OWN_BIN, middle + _OWN_BIN - 1, 0)
        return window_over(0, self.last)

    def keys(self, values: Array) -> Array:
        """Keys of values without NaN. Returns uint64 (n,)."""
        import numpy as np

        if self.kind == "hash":
            return values
        if self.kind == "int":
            return values.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
        word, signed, bits = self._words()
        raw: Array = (values + values.dtype.type(0)).view(word)  # -0.0 + 0 is 0.0
        flip = raw.view(signed) >> signed(bits - 1)  # all bits of a negative value
        flip |= signed(-(1 << (bits - 1)))
        raw ^= flip.view(word)
        return raw.astype(np.uint64, copy=False)

    def low_bits(self, values: Array, count: int) -> bool:
        """Whether any value has one of its lowest bits set; taken for granted of hashes."""
        import numpy as np

        if self.kind == "hash":
            return True
        raw = values.view(self._words()[0])
        return bool(int(np.bitwise_or.reduce(raw)) & ((1 << count) - 1))

    def _words(self) -> tuple[Any, Any, int]:
        """The integers as wide as a float of this kind, unsigned and signed, and their bits."""
        import numpy as np

        return (np.uint32, np.int32, 32) if self.kind == "f32" else (np.uint64, np.int64, 64)

    def value(self, key: int) -> float | int:
        """The value that has this key."""
        import struct

        if self.kind == "hash":
            return key
        if self.kind == "int":
            return key - (1 << 63)
        integer, real, bits = ("<I", "<f", 32) if self.kind == "f32" else ("<Q", "<d", 64)
        top = 1 << (bits - 1)
        raw = key ^ top if key & top else key ^ ((1 << bits) - 1)
        found: float = struct.unpack(real, struct.pack(integer, raw))[0]
        return found


class Tally:
    """The first pass over one column: counts by bin, nulls, NaN, smallest and greatest key.

    `add` may be called from several threads.
    """

    def __init__(self, order: Order) -> None:
        import numpy as np

        self.order, self.window = order, order.first_window
        self.counts: Array = np.zeros(self.window.bins + 2, np.int64)
        self.rows = self.nulls = self.nans = 0
        self.least: int | None = None
        self.greatest: int | None = None
        self.residue = 0  # 1 where some value has bits beyond those that tell the bins apart
        self._lock = threading.Lock()

    @property
    def values(self) -> int:
        """Rows with a value: neither null nor NaN."""
        return self.rows - self.nulls - self.nans

    def add(self, values: Array, *, nulls: int = 0, nans: int = 0) -> None:
        """Count values (without NaN), and how many rows had none."""
        import numpy as np

        with self._lock:
            self.rows += len(values) + nulls + nans
            self.nulls += nulls
            self.nans += nans
        if not len(values):
            return
        keys = self.order.keys(values)
        bins: Any
        if len(keys) < self.window.bins >> 4:  # not half a million zeros for a few rows
            bins, counts = np.unique(self.window.bins_of(keys), return_counts=True)
        else:
            bins, counts = slice(None), self.window.count(keys)
        least, greatest, residue = int(keys.min()), int(keys.max()), 0
        if not self.residue and self.order.kind != "int":
            residue = int(self.order.low_bits(values, self.window.shift))
        with self._lock:
            self.counts[bins] += counts
            self.residue |= residue
            self.least = least if self.least is None else min(self.least, least)
            self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)

    @property
    def _top(self) -> int:
        return (self.order.last >> 1) + 1

    def search(self, rank: int) -> Search:
        """Look for the value of this rank, 0 for the smallest. Needs rank < values."""
        import numpy as np

        sums = np.cumsum(self.counts)
        index = int(np.searchsorted(sums, rank, side="right"))
        count = int(self.counts[index])
        below = int(sums[index]) - count
        lo, hi = self.window.keys_of(index, self.order.last)
        if not self.residue and 0 < index <= self.window.bins:
            lo = hi = lo if lo & self._top or self.order.kind == "int" else hi
        return Search(rank, lo, hi, count, below)


@dataclass
class Search:
    """The value of a rank, narrowed down pass by pass to keys lo to hi.

    count: keys among them. below: keys less than lo.
    """

    rank: int
    lo: int
    hi: int
    count: int
    below: int

    @property
    def found(self) -> bool:
        """Whether lo is the key."""
        return self.lo == self.hi

    def hear(self, ask: Ask, answer: Array) -> None:
        """Narrow down by what a pass found."""
        import numpy as np

        if ask.hold:
            key = answer[self.rank - self.below]
            first, end = (int(np.searchsorted(answer, key, side=s)) for s in ("left", "right"))
            self.lo = self.hi = int(key)
        else:
            window = window_over(self.lo, self.hi)
            sums = np.cumsum(answer)
            index = int(np.searchsorted(sums, self.rank - self.below, side="right"))
            first, end = int(sums[index]) - int(answer[index]), int(sums[index])
            self.lo, self.hi = window.keys_of(index, self.hi)
        self.count, self.below = end - first, self.below + first


@dataclass(frozen=True)
class Ask:
    """What a pass is to look into: keys lo to hi of a column, to be held or counted in bins."""

    column: int
    lo: int
    hi: int
    hold: bool


class Answer:
    """What a pass finds of an `Ask`. `add` may be called from several threads."""

    def __init__(self, ask: Ask) -> None:
        import numpy as np

        self.ask = ask
        self._window = window_over(ask.lo, ask.hi)
        self._counts: Array = np.zeros(0 if ask.hold else self._window.bins + 2, np.int64)
        self._held: list[Array] = []
        self._lock = threading.Lock()

    def add(self, keys: Array) -> None:
        """Take the keys that were asked for. keys: uint64 (n,)."""
        import numpy as np

        within = keys[(keys >= np.uint64(self.ask.lo)) & (keys <= np.uint64(self.ask.hi))]
        counts = None if self.ask.hold else self._window.count(within)
        with self._lock:
            if counts is None:
                self._held.append(within)
            else:
                self._counts += counts

    def result(self) -> Array:
        """The keys, sorted; or the counts, with the outer two bins."""
        import numpy as np

        if not self.ask.hold:
            return self._counts
        held = np.concatenate([np.empty(0, np.uint64), *self._held])
        held.sort()
        return held


class Pass(Protocol):
    """A pass over the data: fills every answer."""

    def __call__(self, answers: Sequence[Answer]) -> None:
        """Give each answer the keys of its column, all of them, in any order."""
        ...


def narrow(searches: Sequence[tuple[int, Search]], look: Pass) -> None:
    """Bring every search to its end, in as few passes as memory allows.

    searches: with the number of the column each belongs to.
    """
    while pending := [(column, search) for column, search in searches if not search.found]:
        share = HELD_AT_MOST // len(pending)
        asks = [Ask(c, s.lo, s.hi, hold=s.count <= share) for c, s in pending]
        answers = {ask: Answer(ask) for ask in asks}
        look(list(answers.values()))
        results = {ask: answer.result() for ask, answer in answers.items()}
        for (_, search), ask in zip(pending, asks, strict=True):
            search.hear(ask, results[ask])


def rank_of_share(hundredths: int, count: int) -> int:
    """The rank, from 0, of a quantile by the inverted empirical distribution function: the
    smallest value that at least so many hundredths of the values do not exceed (R's type 1)."""
    return max(0, -(-hundredths * count // 100) - 1)
