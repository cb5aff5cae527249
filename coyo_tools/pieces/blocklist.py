"""The block list: hosts, urls and hashes that are never stored.

A text file, one entry a line; `#` begins a comment at a line's start. A line with `://` is a
url, 64 hex digits a sha256, 16 hex digits an image_phash, anything else a host, which blocks
its subdomains too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PHASH = re.compile(r"[0-9a-fA-F]{16}")


@dataclass(frozen=True)
class BlockList:
    """What must not be stored. Hosts and hashes are lower case."""

    hosts: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    phashes: frozenset[str] = frozenset()

    def has_host(self, host: str) -> bool:
        """Whether the host, or a domain it belongs to, is listed."""
        parts = host.lower().rstrip(".").split(".")
        return any(".".join(parts[i:]) in self.hosts for i in range(len(parts)))

    def has_url(self, url: str) -> bool:
        """Whether exactly this url is listed."""
        return url in self.urls


def parse(text: str) -> BlockList:
    """The list a file's text holds."""
    entries = [line.strip() for line in text.splitlines()]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    urls = frozenset(e for e in entries if "://" in e)
    rest = [e.lower() for e in entries if "://" not in e]
    sha256 = frozenset(e for e in rest if _SHA256.fullmatch(e))
    phashes = frozenset(e for e in rest if _PHASH.fullmatch(e))
    hosts = frozenset(e.rstrip(".").removeprefix("*.") for e in rest) - sha256 - phashes
    return BlockList(hosts, urls, sha256, phashes)
