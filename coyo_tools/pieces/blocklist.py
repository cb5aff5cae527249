"""The block list: hosts, urls and hashes that are never stored.

A text file, one entry a line; `#` begins a comment at a line's start or after a space. A line
with `://` is a url, 64 hex digits a sha256, 16 hex digits an image_phash, anything else a host,
which blocks its subdomains too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from coyo_tools.pieces import addresses
from coyo_tools.words.errors import SourceError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PHASH = re.compile(r"[0-9a-f]{16}")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class BlockList:
    """What must not be stored. Hosts and hashes are lower case, hosts and urls in one spelling."""

    hosts: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    phashes: frozenset[str] = frozenset()

    def has_host(self, host: str) -> bool:
        """Whether the host, or a domain it belongs to, is listed, however it is spelled."""
        if not self.hosts:
            return False
        parts = _spelled(host).split(".")
        return any(".".join(parts[i:]) in self.hosts for i in range(len(parts)))

    def has_url(self, url: str) -> bool:
        """Whether this url is listed, in whatever spelling a server is asked for the same by."""
        return bool(self.urls) and _request(url) in self.urls


def parse(text: str, where: str = "block list") -> BlockList:
    """The list a file's text holds. Raises SourceError, with its line, for what is no entry."""
    found: dict[str, set[str]] = {"hosts": set(), "urls": set(), "sha256": set(), "phashes": set()}
    for number, line in enumerate(text.splitlines(), 1):
        entry = _COMMENT.sub("", line).strip()
        if not entry:
            continue
        kind, value = _read(entry)
        if not value:
            raise SourceError(
                f"{entry[:80]!r} is no host, url, sha256 or image_phash",
                where=f"{where}, line {number}",
                todo="write one entry a line, and `#` before a comment",
            )
        found[kind].add(value)
    return BlockList(**{kind: frozenset(values) for kind, values in found.items()})


def _read(entry: str) -> tuple[str, str | None]:
    """What kind of entry it is, and how it is spelled; None for what is none."""
    if "://" in entry:
        return "urls", _request(entry)
    lower = entry.lower()
    if _SHA256.fullmatch(lower):
        return "sha256", lower
    if _PHASH.fullmatch(lower):
        return "phashes", lower
    host = _spelled(lower.removeprefix("*."))
    return "hosts", host if _HOST.fullmatch(host) or addresses.literal(host) else None


def _spelled(host: str) -> str:
    """A host in one spelling: an address in its usual form, a name in ASCII, lower case."""
    return addresses.literal(host) or addresses.in_ascii(host)


def _request(url: str) -> str | None:
    """A url as its server is asked for it: escapes in their usual form, no fragment. None for
    what is no http or https url."""
    from yarl import URL

    try:
        parsed = URL(url.strip()).with_fragment(None)
        host = parsed.host or ""
        if host.endswith("."):
            parsed = parsed.with_host(host.rstrip("."))
    except (ValueError, UnicodeError):
        return None
    sound = host and parsed.scheme in ("http", "https") and not re.search(r"\s", host)
    return str(parsed) if sound else None
