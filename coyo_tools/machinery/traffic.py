"""What one run fetches from remote stores: counted, bounded, and told of while it waits.

Made once a run and handed to whatever reads; two runs in one process share none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coyo_tools.words.config import RemoteSettings
from coyo_tools.words.progress import Listener, Progress

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True)
class Fetched:
    """requests: sent, those tried again included. bytes: of answers. repeated: requests that were
    sent because an earlier one failed. of: bytes of all files of the source, 0 where unknown.

    What a store's own client does beside reading (s3, gs: listing, signing in, its retries) is not
    counted.
    """

    requests: int = 0
    bytes: int = 0
    repeated: int = 0
    of: int = 0

    def to_dict(self) -> dict[str, int]:
        """Plain data."""
        return {
            "requests": self.requests,
            "bytes": self.bytes,
            "repeated": self.repeated,
            "of": self.of,
        }


class Traffic:
    """The counts of one run, and what its requests have to know of one another. Thread-safe.

    on_wait: hears a phrase whenever a request is about to wait before it is sent again.
    locations: where redirects of a url led. tags: the ETag that a url was first answered with.
    """

    def __init__(self, settings: RemoteSettings | None = None) -> None:
        self.settings = settings or RemoteSettings.from_environment()
        self.on_wait: Callable[[str], None] = lambda _: None
        self.locations: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self._counts, self._lock = Fetched(), threading.Lock()
        self._paused: dict[str, float] = {}

    def __getstate__(self) -> RemoteSettings:
        return self.settings

    def __setstate__(self, settings: RemoteSettings) -> None:
        self.__init__(settings)  # type: ignore[misc]  # another process counts for itself

    @cached_property
    def turn(self) -> asyncio.Semaphore:
        """Held by a request in flight, so that no more than `connections` are."""
        import asyncio

        return asyncio.Semaphore(self.settings.connections)

    def count(self, *, requests: int = 0, bytes: int = 0, repeated: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            was = self._counts
            self._counts = Fetched(
                was.requests + requests, was.bytes + bytes, was.repeated + repeated
            )

    def fetched(self, of: int = 0) -> Fetched | None:
        """The counts so far; None where nothing was asked of any store."""
        counts = self._counts
        return replace(counts, of=of) if counts.requests else None

    @property
    def received(self) -> bool:
        """Whether anything has come from anywhere yet."""
        return self._counts.bytes > 0

    def pause(self, host: str, seconds: float) -> None:
        """Let no request go to this host for so long."""
        with self._lock:
            self._paused[host] = max(self._paused.get(host, 0.0), time.monotonic() + seconds)

    def pause_left(self, host: str) -> float:
        """For how many seconds no request should go to this host; 0 or less: none."""
        return self._paused.get(host, 0.0) - time.monotonic()


def told_of_waits(progress: Listener, traffic: Traffic, verb: str) -> Listener:
    """A listener that passes everything on, and repeats the last step while requests wait."""
    last = [Progress(verb, 0, None, "requests")]

    def hear(step: Progress) -> None:
        last[0] = step
        progress(step)

    traffic.on_wait = lambda why: progress(replace(last[0], note=why))
    return hear


def retry_after(headers: Any, now: float) -> float | None:
    """Seconds that `Retry-After` asks for, from a number or a date; None where it is absent.

    headers: a mapping of the answer's headers. now: seconds since 1970. RFC 9110, 10.2.3.
    """
    from email.utils import parsedate_to_datetime

    said = str(headers.get("Retry-After", "")).strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (TypeError, ValueError):
        return None
