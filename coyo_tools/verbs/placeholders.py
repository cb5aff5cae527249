"""Looking for placeholders once every shard is there, and the file that marks their rows."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.parquet import read_table
from coyo_tools.machinery.sorted_runs import Spill, merged
from coyo_tools.machinery.storage import Folder, filesystem
from coyo_tools.pieces import placeholders, shards
from coyo_tools.pieces.hosts import host_of
from coyo_tools.pieces.phash import DRIFTED, REPLACED, SAME, UNKNOWN
from coyo_tools.pieces.placeholders import COLUMNS, LEAST, PLACEHOLDER
from coyo_tools.words.failures import SUCCESS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_NAMED = 20  # hosts and pictures in the manifest


def mark(folder: Folder, numbers: Sequence[int]) -> dict[str, Any]:
    """Write `placeholders.pq` of the shards with these numbers.

    Gives, for the manifest, `drift` (pictures by kind, every row in one of them) and
    `placeholders` (rows, pictures, and the hosts and hashes with most of them; `undecided`: the
    same of pictures that several rows without a published hash share). Memory: the hashes
    that several rows share; the shards' tables are read three times, one at a time.
    """
    with tempfile.TemporaryDirectory(prefix="coyo-placeholders-") as scratch:
        drift, known, unknown = _hashes(folder, numbers, Path(scratch))
        found = _proven(folder, numbers, _suspects(known))
        undecided = _undecided(unknown, found)
    rows, pictures, hosts = _write(folder, numbers, found)
    for old, count in rows.items():
        drift[old] -= count
    kinds = {name: drift[name] for name in (SAME, DRIFTED, REPLACED, UNKNOWN)}
    return {
        "drift": {**kinds, PLACEHOLDER: rows.total()},
        "placeholders": {
            "rows": rows.total(),
            "pictures": len(pictures),
            "hosts": _most(hosts, "host"),
            "largest": _most(pictures, "image_phash_now"),
            "undecided": undecided,
        },
    }


def _most(counts: Counter[str], name: str) -> list[dict[str, Any]]:
    return [{name: value, "rows": rows} for value, rows in _ranked(counts)]


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_NAMED]


def _tables(folder: Folder, numbers: Sequence[int]) -> Iterator[pa.Table]:
    """Each shard's columns in question; a column that the metadata lacks is null."""
    import pyarrow as pa

    for number in numbers:
        fs, path = filesystem(folder.url_of(shards.parquet_name(number)))
        with fs.open(path, "rb") as handle:
            table, _ = read_table(handle, COLUMNS)
        if "image_phash" not in table.column_names:
            table = table.append_column("image_phash", pa.nulls(table.num_rows, pa.string()))
        yield table


def _hashes(
    folder: Folder, numbers: Sequence[int], scratch: Path
) -> tuple[Counter[str], Spill, Spill]:
    """Pictures by drift, and the hashes of those that are not the published ones, and of those
    without a published hash."""
    import numpy as np

    drift: Counter[str] = Counter()
    known, unknown = (_spill(scratch / name) for name in ("known", "unknown"))
    for table in _tables(folder, numbers):
        drift += _drift(table)
        now = placeholders.now_of(table).view(np.int64)
        known.add(now[placeholders.may_be(table)])
        unknown.add(now[placeholders.may_not_be_told(table)])
    return drift, known, unknown


def _spill(folder: Path) -> Spill:
    folder.mkdir()
    return Spill(folder)


def _shared(spill: Spill) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Hashes that `LEAST` rows or more share, uint64, and by how many; some at a time."""
    import numpy as np

    for pieces in merged(spill.runs()):
        values, counts = np.unique(np.concatenate(pieces), return_counts=True)
        yield values[counts >= LEAST].view(np.uint64), counts[counts >= LEAST]


def _suspects(known: Spill) -> np.ndarray[Any, Any]:
    """Every hash that `LEAST` rows share."""
    import numpy as np

    return np.concatenate([np.empty(0, np.uint64), *(values for values, _ in _shared(known))])


def _undecided(unknown: Spill, found: np.ndarray[Any, Any]) -> dict[str, Any]:
    """What rows without a published hash share, placeholders that others prove apart."""
    import numpy as np

    rows = pictures = 0
    largest: Counter[str] = Counter()
    for values, counts in _shared(unknown):
        left = ~np.isin(values, found)
        values, counts = values[left], counts[left]
        rows, pictures = rows + int(counts.sum()), pictures + len(values)
        for at in np.argsort(-counts, kind="stable")[:_NAMED].tolist():
            largest[f"{values[at]:016x}"] = int(counts[at])
        largest = Counter(dict(_ranked(largest)))
    return {"rows": rows, "pictures": pictures, "largest": _most(largest, "image_phash_now")}


def _drift(table: pa.Table) -> Counter[str]:
    pairs = zip(table.column("status").to_pylist(), table.column("drift").to_pylist(), strict=True)
    return Counter(kind or UNKNOWN for status, kind in pairs if status == SUCCESS)


def _proven(
    folder: Folder, numbers: Sequence[int], suspects: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Those suspects that the rows' published hashes and urls prove placeholders."""
    import numpy as np

    evidence = placeholders.Evidence()
    for table in _tables(folder, numbers if len(suspects) else ()):
        now = placeholders.now_of(table)
        evidence.add_rows(table, placeholders.may_be(table) & np.isin(now, suspects))
    return evidence.found()


def _write(
    folder: Folder, numbers: Sequence[int], found: np.ndarray[Any, Any]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """The file; gives its rows by the drift that their shard says, by hash and by host."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "key", "url", "host", "sha256", "image_phash_now", "drift")
    kinds = [pa.int64() if name == "id" else pa.string() for name in names]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    before, pictures, hosts = Counter[str](), Counter[str](), Counter[str]()
    with folder.stage(placeholders.NAME) as path, pq.ParquetWriter(path, schema) as writer:
        for table in _tables(folder, numbers if len(found) else ()):
            rows = table.filter(pa.array(placeholders.is_marked(table, found))).to_pylist()
            before.update(row["drift"] or UNKNOWN for row in rows)
            pictures.update(row["image_phash_now"] for row in rows)
            for row in rows:
                row |= {"host": host_of(row["url"]), "drift": PLACEHOLDER}
            hosts.update(row["host"] for row in rows)
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
    return before, pictures, hosts
