"""How many different values there are: exact while few, by HyperLogLog beyond; in bounded memory.

Values are told apart by 64-bit hashes. Up to `HELD_AT_MOST` of them are held (two values of that
many share a hash with a probability of one in two million), so that the count is exact. Where there
are more, all go into 2^18 registers of a byte (Flajolet, Fusy, Gandouet and Meunier, HyperLogLog,
2007): a standard error of 1.04 / 2^9, 0.2 %. At such counts its estimate needs none of the
corrections for small ones, and with 64 bits none for large ones. Forty lines, because polars'
own sketch cannot be added up over files. Which of the two it is depends on the values alone, not on
their order.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.sampling import hashes

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

HELD_AT_MOST = 4_000_000  # hashes; 32 MB, three times that while they are merged
_WAITING_AT_MOST = 1_000_000
_BITS = 18  # of a hash that choose its register


@dataclass(frozen=True)
class Count:
    """Different values. exact: whether counted. standard_error: relative, 0 where exact."""

    values: int
    exact: bool
    standard_error: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "values": self.values,
            "method": "exact" if self.exact else "hyperloglog",
            "standard_error": self.standard_error,
        }


class Distinct:
    """Counts different hashes. `add` may be called from several threads."""

    def __init__(self) -> None:
        import numpy as np

        self._held: Array = np.empty(0, np.uint64)  # sorted, each once
        self._waiting: list[Array] = []
        self._rows_waiting = 0
        self._sketch: Sketch | None = None
        self._lock = threading.Lock()

    def add(self, found: Array) -> None:
        """Take hashes, uint64 (n,), of whatever quality: they are mixed once more."""
        mixed = hashes(found)
        with self._lock:
            if self._sketch is not None:
                self._sketch.add(mixed)
                return
            self._waiting.append(mixed)
            self._rows_waiting += len(mixed)
            if self._rows_waiting > _WAITING_AT_MOST:
                self._merge()

    def count(self) -> Count:
        """What there is so far."""
        with self._lock:
            self._merge()
            if self._sketch is None:
                return Count(len(self._held), True, 0.0)
            return Count(self._sketch.count(), False, Sketch.STANDARD_ERROR)

    def _merge(self) -> None:
        import numpy as np

        if self._sketch is not None:
            return
        found = np.concatenate([self._held, *self._waiting])
        found.sort()  # np.unique takes twenty times as long
        self._held = found[np.append(True, found[1:] != found[:-1])] if len(found) else found
        self._waiting, self._rows_waiting = [], 0
        if len(self._held) > HELD_AT_MOST:
            self._sketch = Sketch()
            self._sketch.add(self._held)
            self._held = self._held[:0].copy()


class Sketch:
    """HyperLogLog over well-mixed 64-bit hashes; for counts above five times its registers."""

    STANDARD_ERROR = 1.04 / 2 ** (_BITS / 2)

    def __init__(self) -> None:
        import numpy as np

        self._registers: Array = np.zeros(1 << _BITS, np.uint8)

    def add(self, mixed: Array) -> None:
        """Take hashes, uint64 (n,)."""
        import numpy as np

        rest = 64 - _BITS
        low = (mixed & np.uint64((1 << rest) - 1)).astype(np.float64)  # 46 bits: exact
        length = np.frexp(low)[1]  # bits up to the highest that is set; 0 of 0
        place = (mixed >> np.uint64(rest)).astype(np.int64)
        np.maximum.at(self._registers, place, (rest + 1 - length).astype(np.uint8))

    def count(self) -> int:
        """The estimate."""
        import numpy as np

        size = 1 << _BITS
        alpha = 0.7213 / (1 + 1.079 / size)
        return round(alpha * size**2 / float(np.exp2(-self._registers.astype(np.float64)).sum()))
