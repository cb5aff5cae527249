"""What can go wrong with one row: a closed list.

A failure is a value: it is counted, written to the row's `error` column, and never lost in a
log. `status` is img2dataset's word for the same, so that its readers understand the shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SUCCESS = "success"
FAILED_TO_DOWNLOAD = "failed_to_download"
FAILED_TO_RESIZE = "failed_to_resize"


@dataclass(frozen=True)
class FailureClass:
    """One way to fail. status: img2dataset's status. retry: whether trying later may help."""

    name: str
    status: str
    retry: bool
    meaning: str


@dataclass(frozen=True)
class Failure:
    """Why one row has no picture. error: a name in `FAILURES`. message: one line of detail."""

    error: str
    message: str = ""

    def __post_init__(self) -> None:
        if self.error not in FAILURES:
            raise KeyError(f"{self.error} is not in the closed list of failure classes")

    @property
    def status(self) -> str:
        """`failed_to_download` or `failed_to_resize`."""
        return FAILURES[self.error].status


def _download(name: str, meaning: str, *, retry: bool = False) -> FailureClass:
    return FailureClass(name, FAILED_TO_DOWNLOAD, retry, meaning)


def _resize(name: str, meaning: str, *, retry: bool = False) -> FailureClass:
    return FailureClass(name, FAILED_TO_RESIZE, retry, meaning)


FAILURE_CLASSES: tuple[FailureClass, ...] = (
    _download("bad_url", "not an absolute http or https url"),
    _download("blocked", "on the block list: host, url or hash"),
    _download("private_address", "the host resolves to an address that is not public"),
    _download("no_such_host", "the host name does not exist, or has no address"),
    _download("dns", "no name server gave an answer for the host", retry=True),
    _download("connect", "no connection: refused, reset or unreachable", retry=True),
    _download("tls", "the TLS handshake failed"),
    _download(
        "timeout",
        "the request took longer than --timeout, or its host was slow and its shard's last",
        retry=True,
    ),
    _download("http_4xx", "a 4xx status other than those named"),
    _download("http_401", "401 Unauthorized"),
    _download("http_403", "403 Forbidden"),
    _download("http_404", "404 Not Found"),
    _download("http_410", "410 Gone"),
    _download("http_429", "429 Too Many Requests, after every retry", retry=True),
    _download("http_5xx", "a 5xx status, after every retry", retry=True),
    _download("http_other", "an answer that is neither success nor a known failure"),
    _download("redirects", "too many redirects, or one without a target"),
    _download("too_large", "more bytes than --max-bytes"),
    _download("truncated", "fewer bytes came than the server promised", retry=True),
    _download("protocol", "not an HTTP answer: broken headers or chunks", retry=True),
    _download("empty", "no bytes"),
    _download("opt_out", "X-Robots-Tag forbids use for training"),
    _download("robots", "robots.txt forbids the url"),
    _download("internal", "a fault of this tool and not of the row; please report it", retry=True),
    _resize("not_an_image", "the bytes are no picture: HTML, text, SVG, PDF ..."),
    _resize("unsupported_format", "a picture of a format that is not decoded"),
    _resize("corrupt_image", "a picture that does not decode"),
    _resize(
        "too_many_pixels",
        "more pixels than --max-pixels, fetched or enlarged, or than --format holds",
    ),
    _resize("decoder_crashed", "the decoder took its worker down with it, or did not end"),
)
FAILURES: Mapping[str, FailureClass] = {kind.name: kind for kind in FAILURE_CLASSES}


def error_of_status(status: int) -> str:
    """The class of an HTTP status that is no success."""
    if f"http_{status}" in FAILURES:
        return f"http_{status}"
    if 400 <= status < 500:
        return "http_4xx"
    return "http_5xx" if 500 <= status < 600 else "http_other"
