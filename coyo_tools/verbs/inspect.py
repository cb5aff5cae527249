"""inspect: what a source holds, from footers alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import source as sources
from coyo_tools.stages.inspect import Look, look_at
from coyo_tools.words.config import DEFAULT_SOURCE
from coyo_tools.words.progress import Listener, Progress, silent
from coyo_tools.words.schema import COYO, COYO_COLUMNS

_AT_ONCE = 32  # footers; they wait for the network more than for this machine


@dataclass(frozen=True)
class InspectedColumn:
    """One column over all readable files.

    name: COYO's. in_file: the names it has there. dtypes: arrow types, by how many files have them.
    expected: COYO's type, None for columns that are not COYO's. files: that have it. nulls: None
    where a footer does not say. note: what is remarkable, or "".
    """

    name: str
    in_file: tuple[str, ...]
    dtypes: dict[str, int]
    expected: str | None
    files: int
    nulls: int | None
    note: str


@dataclass(frozen=True)
class Inspection:
    """What a source holds. Counts are over the readable files; `bytes` and `files` over all.

    row_group_rows: smallest and largest row group. codecs: column chunks by codec. schema: whose
    column names, `mixed` where files differ. made_by: the coyo command that wrote the folder, if
    one did. problems: a sentence for each file that cannot be used. notes: what else is worth
    telling. fetched: of a remote source.
    """

    source: str
    files: int
    bytes: int
    rows: int
    row_groups: int
    row_group_rows: tuple[int, int]
    codecs: dict[str, int]
    schema: str
    written_by: tuple[str, ...]
    made_by: str | None
    revision: str | None
    columns: tuple[InspectedColumn, ...]
    problems: tuple[str, ...]
    fetched: Fetched | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file can be used."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return dataclasses.asdict(self) | {"ok": self.ok}


def inspect(
    source: sources.SourceLike = DEFAULT_SOURCE,
    *,
    schema: str = "auto",
    limit_files: int | None = None,
    progress: Listener = silent,
) -> Inspection:
    """Look at every parquet file of `source` through its footer; no column is read.

    Files that cannot be used (git-lfs pointers, truncated ones, wrong types) are told in
    `problems`, without stopping. Raises SourceNotFound where there is nothing at all.
    """
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "inspect")
    found = sources.find(source, schema=schema, traffic=traffic).first(limit_files)
    looks: list[Look] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for look in pool.map(lambda part: look_at(part, schema, traffic), found.parts):
            looks.append(look)
            progress(Progress("inspect", len(looks), len(found.parts), "files"))
    return _inspection(found, looks)


def _inspection(found: sources.Source, looks: Sequence[Look]) -> Inspection:
    good = [look for look in looks if look.problem is None]
    sizes = [rows for look in good for rows in look.row_group_rows]
    schemas = sorted({look.schema for look in good})
    return Inspection(
        source=found.url,
        files=len(looks),
        bytes=sum(look.part.bytes for look in looks),
        rows=sum(sizes),
        row_groups=len(sizes),
        row_group_rows=(min(sizes, default=0), max(sizes, default=0)),
        codecs=dict(sum((Counter(look.codecs) for look in good), Counter())),
        schema=schemas[0] if len(schemas) == 1 else "mixed" if schemas else "unknown",
        written_by=tuple(sorted({look.written_by for look in good})),
        made_by=found.manifest.command if found.manifest else None,
        revision=found.parts[0].revision if found.parts else None,
        columns=tuple(_columns(good)),
        problems=tuple(look.problem for look in looks if look.problem is not None),
        fetched=found.fetched,
        notes=found.notes,
    )


def _columns(looks: Sequence[Look]) -> list[InspectedColumn]:
    """COYO's columns in COYO's order, then the others as the files have them."""
    if not looks:
        return []
    seen = dict.fromkeys(name for look in looks for name in look.names)
    ordered = [c.name for c in COYO_COLUMNS] + [name for name in seen if name not in COYO]
    return [_column(name, looks) for name in ordered]


def _column(name: str, looks: Sequence[Look]) -> InspectedColumn:
    having = [look for look in looks if name in look.names]
    dtypes = Counter(look.columns[look.names[name]] for look in having)
    nulls = [look.nulls[look.names[name]] for look in having]
    known = [count for count in nulls if count is not None]
    expected = COYO[name].dtype if name in COYO else None
    return InspectedColumn(
        name=name,
        in_file=tuple(sorted({look.names[name] for look in having})),
        dtypes=dict(dtypes),
        expected=expected,
        files=len(having),
        nulls=sum(known) if len(known) == len(nulls) and having else None,
        note=_note(expected, list(dtypes), len(having), len(looks)),
    )


_SAME = {"large_string": "string", "string_view": "string"}  # in parquet there is one


def _note(expected: str | None, dtypes: Sequence[str], having: int, files: int) -> str:
    if having == 0:
        return "missing"
    said = []
    if expected is None:
        said.append("not COYO's")
    elif any(_SAME.get(dtype, dtype) != expected for dtype in dtypes):
        said.append(f"read as {expected}")
    if having < files:
        said.append(f"in {having} of {files} files")
    return ", ".join(said)
