"""Runs that make next to nothing, for tests of what keeps a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coyo_tools.machinery.manifest import Run, begin
from coyo_tools.machinery.storage import folder_at

INPUTS = [{"name": "a.parquet", "bytes": 5, "rows": 2, "footer_sha256": "00"}]


@contextlib.contextmanager
def begun(
    place: Path | str, rules: Any = 1, inputs: Any = INPUTS, command: str = "filter", **rest: Any
) -> Iterator[Run]:
    """A run in a folder."""
    with begin(folder_at(place), command, {"rules": rules, "columns": None}, inputs, **rest) as run:
        yield run


def finished(place: Path | str, **rest: Any) -> None:
    """A run in a folder that makes one file and ends."""
    with begun(place, **rest) as run:
        run.folder.write_bytes("a.parquet", b"data")
        run.finish({"rows_out": 1}, ["a.parquet"], "sha256:00")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, by name."""
    return {p.name: p.read_bytes() for p in folder.iterdir()}
