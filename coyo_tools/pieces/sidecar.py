"""Histograms kept by `coyo stats`, for a later `--top`: histograms.npz beside stats.json.

Of column N of stats.json the arrays `N.bins` (int32, the bins that are not empty, in order),
`N.counts` (int64) and `N.facts` (uint64: rows, nulls, NaN, least and greatest key, residue): what
`pieces.quantiles.Tally` holds.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import Manifest, read_manifest
from coyo_tools.machinery.refusals import difference_between
from coyo_tools.machinery.storage import folder_at, is_remote, local_path
from coyo_tools.pieces import dataset_objects
from coyo_tools.pieces.quantiles import Order, Tally
from coyo_tools.words.errors import CorruptFile, SettingsError

if TYPE_CHECKING:
    import numpy as np

STATS, HISTOGRAMS = "stats.json", "histograms.npz"


def packed(tallies: Sequence[Tally]) -> bytes:
    """The histograms as the content of histograms.npz."""
    import numpy as np

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for number, tally in enumerate(tallies):
        bins = np.flatnonzero(tally.counts)
        arrays[f"{number}.bins"] = bins.astype(np.int32)
        arrays[f"{number}.counts"] = tally.counts[bins]
        facts = (tally.rows, tally.nulls, tally.nans, tally.least or 0, tally.greatest or 0)
        arrays[f"{number}.facts"] = np.array([*facts, tally.residue], np.uint64)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its other keywords are not ours
    return file.getvalue()


def kept_place(source: str) -> str | None:
    """Where the stats of a source are looked for by themselves: beside it, in SOURCE.stats; of a
    remote one in the user's cache. None of a pattern and of what has no place.
    """
    if source.startswith(dataset_objects.SCHEME):
        return None
    if is_remote(source):
        cache = os.environ.get("XDG_CACHE_HOME") or str(local_path("~/.cache"))
        return f"{cache}/coyo-tools/stats/{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    path = local_path(source).resolve()
    return str(path) + ".stats" if path.exists() and path.name else None


def is_begun(place: str) -> bool:
    """Whether there is a folder with anything in it, but for a `coyo stats` that was cut off."""
    folder = folder_at(place)
    manifest = read_manifest(folder)
    if manifest is None:
        return bool(folder.names())
    return manifest.command != "stats" or manifest.complete


def histograms_in(place: str, inputs: Sequence[Mapping[str, Any]], schema: str) -> dict[str, Tally]:
    """The histograms that `coyo stats` left in a folder, by column.

    inputs: of the run that wants them; they have to be the same, file by file. schema: its setting,
    since by another one a name may stand for another column. Raises SettingsError, CorruptFile.
    """
    import lzma
    import zipfile
    import zlib

    import numpy as np

    folder = folder_at(place)
    manifest = read_manifest(folder)
    if manifest is None or manifest.command != "stats" or not manifest.complete:
        raise SettingsError(
            "holds no finished `coyo stats`",
            where=place,
            todo="make it with `coyo stats SOURCE -o`",
        )
    here = Manifest("stats", {**manifest.settings, "schema": schema}, inputs)
    if differing := difference_between(manifest, here):
        raise SettingsError(
            f"holds the stats of another source or schema: {differing}",
            where=place,
            todo="make new ones with `coyo stats SOURCE -o`, or leave --stats out",
        )
    damage = (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error)
    file = STATS
    try:
        columns = [(c["name"], _order(c["order"])) for c in folder.read_json(STATS)["columns"]]
        file = HISTOGRAMS
        with np.load(io.BytesIO(folder.read_bytes(HISTOGRAMS)), allow_pickle=False) as arrays:
            return {name: _unpacked(order, n, arrays) for n, (name, order) in enumerate(columns)}
    # RuntimeError: a flipped bit of a zip asks for a password, or a method that nobody has.
    except (*damage, lzma.LZMAError, RuntimeError) as error:
        raise CorruptFile(
            f"its {'columns' if file == STATS else 'histograms'} cannot be read",
            where=folder.url_of(file),
            todo=f"make it again with `coyo stats SOURCE -o {place} --overwrite`",
        ) from error


def _order(kind: str) -> Order:
    if kind not in ("int", "f32", "f64"):
        raise ValueError(f"no order is called {kind!r}")
    return Order(kind)


def _unpacked(order: Order, number: int, arrays: Any) -> Tally:
    tally = Tally(order)
    tally.counts[arrays[f"{number}.bins"]] = arrays[f"{number}.counts"]
    facts = [int(fact) for fact in arrays[f"{number}.facts"]]
    tally.rows, tally.nulls, tally.nans, least, greatest, tally.residue = facts
    if tally.values:
        tally.least, tally.greatest = least, greatest
    if int(tally.counts.sum()) != tally.values:
        raise ValueError("the counts do not add up")
    return tally
