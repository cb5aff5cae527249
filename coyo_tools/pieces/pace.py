"""How long answers take: what is usual for a process, and which hosts are slow beside it."""

from __future__ import annotations

import math

SLOW_SHARE = 0.1  # of the deadline: who answers sooner is never slow
SLOW_FACTOR = 4.0  # times as long as half of all answers take
_FRESH = 0.3  # weight of an answer in its host's mean
_STEP = 1.25  # between two bins of the histogram, whose answer is as exact as that
_LEAST_S = 0.001


def mean_after(mean_s: float | None, took_s: float) -> float:
    """A host's moving mean after one more answer, s."""
    return took_s if mean_s is None else (1 - _FRESH) * mean_s + _FRESH * took_s


class Pace:
    """What is usual: of all answers so far, so that one host alone is what is usual.

    deadline_s: of an answer.
    """

    def __init__(self, deadline_s: float) -> None:
        self._least_s = SLOW_SHARE * deadline_s
        self._bins: dict[int, int] = {}
        self._count = 0
        self._usual_s: float | None = math.inf  # None: to be reckoned

    def add(self, took_s: float) -> None:
        """An answer."""
        number = math.ceil(math.log(max(took_s, _LEAST_S), _STEP))
        self._bins[number] = self._bins.get(number, 0) + 1
        self._count += 1
        self._usual_s = None

    @property
    def usual_s(self) -> float:
        """What half of the answers took at most, s, up to a quarter more; inf before the first."""
        if self._usual_s is None:
            self._usual_s = self._median_s()
        return self._usual_s

    def _median_s(self) -> float:
        seen = 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if 2 * seen >= self._count:
                return float(_STEP**number)
        return math.inf

    def is_slow(self, mean_s: float | None) -> bool:
        """Whether a host whose answers take so long is slow; None: it has not answered."""
        if mean_s is None or mean_s < self._least_s:
            return False
        return mean_s >= SLOW_FACTOR * self.usual_s
