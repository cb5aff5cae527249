"""A real browser that loads a page from disk and tells what it tried to do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)


class Watched:
    """An open page. deeds: dialogs, console lines, errors, requests beyond the page itself."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.deeds = page, list[str]()
        page.on("dialog", lambda d: (self.deeds.append(f"dialog {d.message}"), d.dismiss()))
        page.on("console", lambda m: self.deeds.append(f"console {m.text}"))
        page.on("pageerror", lambda e: self.deeds.append(f"error {e}"))
        page.on("request", lambda r: self._request(r.url, url))
        page.goto(url)

    def _request(self, asked: str, own: str) -> None:
        if asked != own and not asked.startswith("data:"):
            self.deeds.append(f"request {asked}")

    def run(self, script: str) -> Any:
        """What a script of the test's own gives in the page."""
        return self.page.evaluate(script)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window; skips the test where it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=list(FLAGS))
        yield found
        found.close()


@contextlib.contextmanager
def opened(found: Any, page: Path, **context: Any) -> Iterator[Watched]:
    """The page in a fresh, offline context; `context` are playwright's settings of it."""
    made = found.new_context(offline=True, **context)
    yield Watched(made.new_page(), page.as_uri())
    made.close()
