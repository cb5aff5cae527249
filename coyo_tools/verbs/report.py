"""`report`: one self-contained page that shows what was kept, fetched and found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.machinery.storage import folder_at
from coyo_tools.words.config import ReportSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.progress import Listener, Progress, silent

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class ReportResult:
    """Where the page is. bytes: its size. pictures: how many it shows."""

    out: str
    bytes: int
    sections: tuple[str, ...]
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return {
            "out": self.out,
            "bytes": self.bytes,
            "sections": list(self.sections),
            "pictures": self.pictures,
        }


def report(
    folders: Sequence[Place] | Place,
    out: Place = "report.html",
    settings: ReportSettings | None = None,
    *,
    progress: Listener = silent,
) -> ReportResult:
    """Draw one HTML page about output folders of filter, download, score and compare.

    folders: one or more, local or remote; img2dataset's shard folders are known too. out: the
    page, local or remote; an existing one is replaced once the new one is complete. The page
    needs no network and no script; the same folders give the same bytes.

    Raises SourceNotFound, SourceError (a folder whose run has not finished), SettingsError (a
    folder no report draws, or an `out` that is not an .html file) and StorageError.
    """
    from coyo_tools.machinery.manifest import tool_versions
    from coyo_tools.pieces.report.page import render, section_titles
    from coyo_tools.stages.report import gather

    urls = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    where, name = _split(os.fspath(out))
    folder = folder_at(where)
    if not urls:
        raise SettingsError("no folder named", where="report", todo="name at least one")
    progress(Progress("report", 0, len(urls), "folders"))
    version = tool_versions().get("coyo-tools", "unknown")
    view = gather([os.fspath(url) for url in urls], settings or ReportSettings(), version)
    page = render(view)
    folder.create()
    folder.write_bytes(name, page)
    progress(Progress("report", len(urls), len(urls), "folders"))
    pictures = sum(len(gallery.pictures) for gallery in view.galleries)
    return ReportResult(os.fspath(out), len(page), section_titles(view), pictures)


def _split(out: str) -> tuple[str, str]:
    """The page's folder and name. Raises SettingsError where the name is not a page's."""
    name = out.rpartition("/")[2]
    if not name.lower().endswith((".html", ".htm")):
        raise SettingsError("is no name of a page", where=out, todo="let -o end in .html")
    return out.removesuffix(name) or ".", name
