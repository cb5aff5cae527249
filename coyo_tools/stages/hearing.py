"""What an answer tells of its host."""

from __future__ import annotations

from coyo_tools.pieces.fetch import Fetched, Moved, Refused
from coyo_tools.pieces.host_limits import Heard
from coyo_tools.words.failures import FAILURES

_AT_ONCE = frozenset(("connect", "dns"))
_SILENT = _AT_ONCE | {"timeout", "tls"}
# Where nothing was sent, or what happened says nothing of the host.
_UNSENT = frozenset(("bad_url", "blocked", "private_address", "no_such_host", "robots", "internal"))


def was_sent(answer: Fetched | Refused | Moved) -> bool:
    """Whether anything was sent to the host."""
    if not isinstance(answer, Refused):
        return True
    return answer.reached or answer.failure.error not in _UNSENT


def found_nobody(answer: Refused) -> bool:
    """Whether a try failed at once, and not by its deadline, for want of a host."""
    return not answer.reached and answer.failure.error in _AT_ONCE


def heard(answer: Fetched | Refused | Moved, took_s: float | None = None) -> Heard:
    """What an answer tells of the host. took_s: until it was whole, or was given up."""
    if not isinstance(answer, Refused):
        return Heard(took_s=took_s)
    error = answer.failure.error
    return Heard(
        reached=answer.reached or error not in _SILENT,
        wait_s=answer.retry_after_s,
        failure=answer.failure,
        sent=was_sent(answer),
        telling=answer.reached or not answer.hurried,
        final=not FAILURES[error].retry,
        broken=error == "http_5xx",
        took_s=took_s if answer.reached or (error == "timeout" and not answer.hurried) else None,
    )
