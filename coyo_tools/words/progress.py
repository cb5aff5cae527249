"""Progress: what a running verb tells whoever listens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """One step forward. unit: "parts", "rows" ... total: None where unknown. note: one line.

    counts: further numbers worth showing, such as successes or bytes. tops: names with a number,
    the largest first: of a download `errors` (rows by class) and `slowest_hosts` (those that cost
    most time so far, with the seconds a request to each took on average). news: a sentence that is
    to be shown whatever else is left out, such as that the network is gone; told once.
    """

    verb: str
    done: int
    total: int | None
    unit: str
    note: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    tops: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    news: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The listener that hears nothing."""
