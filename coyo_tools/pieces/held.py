"""Columns of remote parts, as bytes on this machine: what has been fetched is not fetched again.

The byte ranges of the columns in question are laid into a sparse local file at their own offsets,
with the footer at its end, so that any parquet reader takes it for the part. A run that needs
columns more than once, or may have to go on after a kill, holds these files in a folder; one
file a part, known by the digest of its footer, with a journal of what is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from coyo_tools.machinery.ranges import copy_ranges
from coyo_tools.machinery.storage import storage_errors
from coyo_tools.pieces.parts import MAGIC, OpenPart
from coyo_tools.pieces.spans import Column, Span, joined, spans_of

FOLDER = ".coyo-fetched"  # in an output folder, until the run is done
_COPY = 1 << 20

_NOTED_EVERY = 1 << 25  # bytes of whole columns after which the journal is brought up to date


@dataclass
class Laid:
    """A sparse file and the columns that are in it. journal: where that outlives the process."""

    path: Path
    journal: Path | None = None
    here: set[Column] = field(default_factory=set)

    @classmethod
    def at(cls, path: Path, part: OpenPart) -> Laid:
        """A new one, without a journal. Raises StorageError."""
        with storage_errors(str(path)), path.open("wb") as file:
            file.write(MAGIC)
            file.seek(part.part.bytes - len(part.footer))
            file.write(part.footer)
        return cls(path)

    def fetch(self, part: OpenPart, columns: Collection[Column]) -> None:
        """Bring these columns here from where the part is. Raises as `copy_ranges`."""
        spans = spans_of(part.metadata, columns)
        with self.path.open("r+b") as file:
            arriving = _Arriving(self, file, spans)
            place, size = part.part.place, part.part.bytes
            copy_ranges(place, joined(spans), part.traffic, arriving, size)
            arriving.note()

    def copy(self, other: Laid, part: OpenPart, columns: Collection[Column]) -> None:
        """Bring these columns here from another file. Raises StorageError."""
        spans = spans_of(part.metadata, columns)
        with other.path.open("rb") as source, self.path.open("r+b") as file:
            arriving = _Arriving(self, file, spans)
            for start, end in joined(spans):
                source.seek(start)
                for at in range(start, end, _COPY):
                    arriving(at, source.read(min(_COPY, end - at)))
            arriving.note()

    def note(self, columns: Collection[Column]) -> None:
        """These columns are here, and on the disk where there is a journal."""
        self.here |= set(columns)
        if self.journal is not None:
            with storage_errors(str(self.journal)), self.journal.open("a") as lines:
                # A kill may have left half a line before it.
                lines.writelines(["\n", *(json.dumps(column) + "\n" for column in columns)])


class _Arriving:
    """Takes bytes in any order, and knows which columns have come whole."""

    def __init__(self, laid: Laid, file: BinaryIO, spans: Sequence[Span]) -> None:
        self._laid, self._file, self._spans = laid, file, spans
        self._starts = [span.start for span in spans]
        self._missing = {span: span.end - span.start for span in spans}
        self._unnoted = 0

    def __call__(self, position: int, chunk: bytes) -> None:
        with storage_errors(str(self._laid.path)):
            self._file.seek(position)
            self._file.write(chunk)
            end = position + len(chunk)
            at = max(0, bisect_right(self._starts, position) - 1)
            while at < len(self._spans) and self._spans[at].start < end:
                span = self._spans[at]
                came = max(0, min(end, span.end) - max(position, span.start))
                self._missing[span] -= came
                if came and not self._missing[span]:
                    self._unnoted += span.end - span.start
                at += 1
            if self._laid.journal is not None and self._unnoted >= _NOTED_EVERY:
                self.note()

    def note(self) -> None:
        """Tell the file which columns have come; those of several leaves once all of them have."""
        with storage_errors(str(self._laid.path)):
            self._file.flush()
            if self._laid.journal is not None:
                os.fsync(self._file.fileno())  # no column in the journal that is not on the disk
        partly = {span.column for span, missing in self._missing.items() if missing}
        come = {span.column for span in self._spans} - partly - self._laid.here
        self._laid.note(sorted(come))
        self._unnoted = 0


class Held:
    """The sparse files of a run's parts. only: columns to hold, by COYO's names; None: all."""

    def __init__(self, folder: Path, only: Collection[str] | None = None) -> None:
        self._folder, self._only = folder, only
        self._files: dict[str, Laid] = {}
        self._lock = threading.Lock()

    def wanted(self, part: OpenPart, columns: Collection[Column]) -> list[Column]:
        """Those of the columns that are to be held."""
        if self._only is None:
            return list(columns)
        own = {part.binding.columns[n] for n in self._only if n in part.binding.columns}
        return [column for column in columns if column[1] in own]

    def file(self, part: OpenPart) -> Laid:
        """The part's file, as an earlier run left it or new. Raises StorageError."""
        with self._lock:
            name = self._name(part)
            if name not in self._files:
                self._files[name] = self._opened(part, self._folder / name)
            return self._files[name]

    def drop(self, part: OpenPart) -> None:
        """Let go of a part that is done."""
        with self._lock:
            self._files.pop(self._name(part), None)
        for path in (
            self._folder / self._name(part),
            self._journal(self._folder / self._name(part)),
        ):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Let go of everything."""
        self._files.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def _name(part: OpenPart) -> str:
        known = f"{part.part.name}\0{part.footer_sha256}"
        return hashlib.sha256(known.encode()).hexdigest()[:32] + ".parquet"

    @staticmethod
    def _journal(path: Path) -> Path:
        return path.with_suffix(".journal")

    def _opened(self, part: OpenPart, path: Path) -> Laid:
        journal = self._journal(path)
        with storage_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size == part.part.bytes:
            return Laid(path, journal, set(_read(journal)))
        journal.unlink(missing_ok=True)
        laid = Laid.at(path, part)
        laid.journal = journal
        return laid


def _read(journal: Path) -> Iterator[Column]:
    if journal.exists():
        for line in journal.read_text().splitlines():
            with contextlib.suppress(ValueError):  # half a line, where a kill cut it
                group, name = json.loads(line)
                yield int(group), str(name)


class Remote:
    """Some row groups of a remote part, whose columns are fetched when they are asked for."""

    def __init__(self, part: OpenPart, row_groups: Sequence[int], scratch: Path) -> None:
        self._part, self._row_groups, self._scratch = part, row_groups, scratch
        self._laid: Laid | None = None

    def file_with(self, own: Sequence[str]) -> Path:
        """A local file that holds these columns, by the file's names. Raises SourceError."""
        asked = [(group, name) for group in self._row_groups for name in own]
        held = self._part.held
        if held is not None and len(held.wanted(self._part, asked)) == len(asked):
            laid = held.file(self._part)
        else:
            laid = self._laid = self._laid or Laid.at(self._scratch / "part.parquet", self._part)
        if missing := [column for column in asked if column not in laid.here]:
            laid.fetch(self._part, missing)
            if held is not None and laid is self._laid:
                wanted = held.wanted(self._part, missing)
                held.file(self._part).copy(laid, self._part, wanted)
        return laid.path
