"""Progress: what a running verb tells whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step forward. unit: "parts", "rows" ... total: None where unknown. note: one line.

    counts: further numbers worth showing, such as successes or bytes.
    """

    verb: str
    done: int
    total: int | None
    unit: str
    note: str = ""
    counts: dict[str, float] = field(default_factory=dict)


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The listener that hears nothing."""
