"""manifest.json: what an output folder holds, and out of what it was made.

Written when a run begins (`"complete": false`) and again when it ends. It holds no time and no
machine, so that an interrupted and continued run leaves the same bytes as an undisturbed one;
times go to `runs.jsonl`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.places import reading_errors
from coyo_tools.machinery.refusals import (
    EMPTYING,
    plain,
    refuse_difference,
    refuse_input,
    refuse_strangers,
)
from coyo_tools.machinery.sorted_runs import CHUNK_ROWS, merged
from coyo_tools.machinery.storage import Folder, first_line
from coyo_tools.machinery.within import files_below
from coyo_tools.words.errors import CorruptFile, CoyoError, StorageError

if TYPE_CHECKING:
    from coyo_tools.machinery.sorted_runs import Run as SortedRun

MANIFEST = "manifest.json"
RUNS = "runs.jsonl"
FORMAT = 1
_AND = " and "
_KINDS: Mapping[str, Any] = {
    "command": str,
    "settings": dict,
    "inputs": list,
    "versions": dict,
    "complete": bool,
    "files": list,
    "result": dict,
    "digest": str | None,
}


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    command: the verb. settings: those that shape the result, as plain data. inputs: url, bytes
    and digest or revision of every input file. result: row counts, the funnel and whatever else
    the verb counts. files: the folder's data files, in order; until it is complete, those that it
    may hold. digest: see `digest_of_ids`.
    """

    command: str
    settings: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False
    files: Sequence[str] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, in the order a reader wants it."""
        return {
            "coyo_tools": FORMAT,
            "command": self.command,
            "complete": self.complete,
            "settings": dict(self.settings),
            "inputs": [dict(i) for i in self.inputs],
            "versions": dict(self.versions),
            "result": dict(self.result),
            "files": list(self.files),
            "digest": self.digest,
        }


def read_manifest(
    folder: Folder, todo: str = "put the file that the tool wrote back, or make the folder anew"
) -> Manifest | None:
    """The folder's manifest, or None where it has none. todo: about one that is none of the tool's.

    Raises CorruptFile, StorageError.
    """
    where = folder.url_of(MANIFEST)
    try:
        return manifest_in(folder.read_bytes(MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise CorruptFile(
            "is no manifest of this version of the tool", where=where, todo=todo
        ) from error
    except PermissionError as error:
        raise StorageError("may not be read", where=where) from error
    except OSError as error:
        said = error.strerror or first_line(error)
        raise StorageError(f"cannot be read: {said}", where=where) from error


def manifest_in(data: bytes) -> Manifest:
    """The manifest that these bytes are. Raises ValueError where they are none of this version."""
    said = json.loads(data)
    if not isinstance(said, dict) or said.get("coyo_tools") != FORMAT:
        raise ValueError("no manifest of this format")
    for name, kind in _KINDS.items():
        if not isinstance(said.get(name), kind):
            raise ValueError(f"{name} is {said.get(name)!r}")
    if not all(isinstance(each, dict) for each in said["inputs"]):
        raise ValueError("an input is no object")
    if not all(isinstance(each, str) for each in said["files"]):
        raise ValueError("a file has no name")
    return Manifest(**{name: said[name] for name in _KINDS})


@dataclass
class Run:
    """A run that writes one folder: begun, and to be finished. `done`: nothing is left to do.
    versions: of what runs now; the manifest has those of earlier runs of this folder as well."""

    folder: Folder
    manifest: Manifest
    done: bool
    versions: Mapping[str, str]
    started_at: float = field(default_factory=time.time)
    also: Callable[[], Mapping[str, Any]] = dict  # further facts of the run, for runs.jsonl alone

    def finish(
        self, result: Mapping[str, Any], files: Sequence[str], digest: str | None
    ) -> Manifest:
        """Write the complete manifest, last of all files."""
        begun = self.manifest
        self.manifest = Manifest(
            begun.command,
            begun.settings,
            begun.inputs,
            begun.versions,
            complete=True,
            files=files,
            result=result,
            digest=digest,
        )
        self.folder.write_json(MANIFEST, self.manifest.to_json())
        self._log()
        return self.manifest

    def reopen(self) -> None:
        """The result is about to change: until then the folder is not complete."""
        self.done = False
        together = _together(self.manifest.versions, self.versions)
        self.manifest = replace(
            self.manifest, complete=False, files=(), digest=None, versions=together
        )
        self.folder.write_json(MANIFEST, self.manifest.to_json())

    def _log(self) -> None:
        entry = {
            "command": self.manifest.command,
            "started_at": round(self.started_at, 3),
            "seconds": round(time.time() - self.started_at, 3),
            "machine": f"{platform.system()} {platform.machine()}",
            **self.also(),
        }
        earlier = b""
        with contextlib.suppress(FileNotFoundError), reading_errors(self.folder.url_of(RUNS)):
            earlier = self.folder.read_bytes(RUNS)
        self.folder.write_bytes(RUNS, earlier + json.dumps(entry).encode() + b"\n")


@contextlib.contextmanager
def begin(
    folder: Folder,
    command: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    *,
    versions: Mapping[str, str] | None = None,
    overwrite: bool = False,
    reads: Sequence[str] = (),
    makes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[Run]:
    """Take the folder for this command, settings and inputs; keep others out meanwhile.

    A folder that already holds the complete result gives a run that is `done`; one that holds
    part of it is continued; with other versions the manifest names both. reads: the files that the
    run reads; none of them is ever removed.
    makes: by name of an input the files that are made of it, the one that completes them last. An
    input of which that one is not there may have changed since the run began.

    Raises SettingsConflict where the folder belongs to something else and SettingsError where it
    holds what the run reads (and nothing is touched), FolderBusy, StorageError.
    """
    folder.check_writable()
    files = [name for made in makes.values() for name in made]
    made_by = versions or tool_versions()
    wanted = Manifest(command, settings, inputs, made_by, files=files)
    checked = functools.partial(_check, folder, wanted, overwrite, reads, makes)
    checked()
    folder.create()
    with folder.lock():
        found = checked()  # another run may have come in between
        folder.clean()
        if found is not None and overwrite:
            _empty(folder, found)
            found = None
        together = _together(found.versions if found else {}, made_by)
        if found is None or _lacks_files(folder, found):
            found = replace(wanted, versions=together)
            folder.write_json(MANIFEST, found.to_json())
        elif not found.complete:
            now = replace(found, inputs=plain(inputs), files=files, versions=together)
            if now != found:
                folder.write_json(MANIFEST, now.to_json())
            found = now
        try:
            yield Run(folder, found, found.complete, made_by)
        except BaseException:
            with contextlib.suppress(CoyoError):  # the first error is the one to tell
                _tidy(folder, files)
            raise


def _tidy(folder: Folder, files: Sequence[str]) -> None:
    """After a failed run: temporary files take space on a disk that may be full, and a folder in
    which nothing came to be should not keep the next run from using its name."""
    folder.clean()
    if folder.names() == [MANIFEST] and not (files and files_below(folder).intersection(files)):
        folder.delete(MANIFEST)
        folder.remove_if_empty()


def _check(
    folder: Folder,
    wanted: Manifest,
    overwrite: bool,
    reads: Sequence[str],
    makes: Mapping[str, Sequence[str]],
) -> Manifest | None:
    """The folder's manifest, where this run may go on in the folder.

    Raises SettingsConflict, SettingsError.
    """
    found = read_manifest(folder, todo="choose another folder with -o")
    if found is None:
        refuse_strangers(folder, overwrite)
        return None
    refuse_input(folder, found, reads)
    if not overwrite:
        refuse_difference(folder, found, wanted, makes)
    return found


def _lacks_files(folder: Folder, found: Manifest) -> bool:
    """Whether someone removed files of a complete folder since."""
    absent = set(found.files) - set(folder.names())
    return found.complete and not all("/" in name and folder.exists(name) for name in absent)


def _together(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Versions of all that made a folder: `18.0.0 and 18.1.0` where a run went on with another."""
    found = dict(before)
    for package, version in now.items():
        earlier = found.get(package, version)
        known = version in earlier.split(_AND)
        found[package] = earlier if known else f"{earlier}{_AND}{version}"
    return found


def _empty(folder: Folder, found: Manifest) -> None:
    """Remove what the manifest's run wrote.

    The manifest says so first, and goes last: interrupted here, the folder is no result, and is
    still known as this tool's.
    """
    folder.write_json(MANIFEST, replace(found, complete=False, result=EMPTYING).to_json())
    files = set(found.files if found.complete else files_below(folder).intersection(found.files))
    for name in sorted(files | {n for n in folder.names() if _is_own(n, found)}):
        folder.delete(name)
    folder.delete(MANIFEST)


def _is_own(name: str, found: Manifest) -> bool:
    """Whether an unfinished run of this manifest may have made the file: what a user laid beside
    it stays. Outputs are named after their inputs, or numbered as shards are."""
    made_of = {re.sub(r"\.(parquet|tar)$", "", str(each.get("name"))) for each in found.inputs}
    numbered = re.fullmatch(r"\d{5,}(\.tar|\.parquet|_stats\.json)(\.next)?", name)
    named = name.endswith(".parquet") and name.removesuffix(".parquet") in made_of
    return name == RUNS or numbered is not None or named


def tool_versions(*more: str) -> dict[str, str]:
    """Versions of this tool and of the libraries that shape its bytes. more: further packages."""
    from importlib.metadata import PackageNotFoundError, distribution

    versions = {}
    for package in ("coyo-tools", "polars", "pyarrow", "numpy", "pillow", *more):
        with contextlib.suppress(PackageNotFoundError):
            found = distribution(package)
            # `version` parses a whole description to read this one line of its head.
            said = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
            versions[package] = said[1] if said else found.version
    return versions


def sha256_of(path: Path) -> str:
    """Hex digest of the whole file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Ids:
    """All ids of a result. digest: `sha256:` and the hex digest over them, sorted, as little-endian
    int64. repeated: how many are beyond the first of their kind."""

    digest: str
    repeated: int


def digest_of_ids(runs: Sequence[SortedRun], chunk_rows: int = CHUNK_ROWS) -> str:
    """The digest alone of `ids_of`."""
    return ids_of(runs, chunk_rows).digest


def ids_of(runs: Sequence[SortedRun], chunk_rows: int = CHUNK_ROWS) -> Ids:
    """Digest and repeats of the ids of several runs.

    runs: int64 arrays, each sorted, or the .npy files that hold them. Memory stays near
    `chunk_rows` ids, whatever the sum of the runs, because they are merged range by range. No ids
    at all give the digest of nothing.
    """
    import numpy as np

    digest, repeated = hashlib.sha256(), 0
    for pieces in merged(runs, chunk_rows):  # equal ids come together
        ids = pieces[0]
        if len(pieces) > 1:
            ids = np.concatenate(pieces)
            ids.sort(kind="stable")  # which takes sorted runs as such
        repeated += int(np.count_nonzero(ids[1:] == ids[:-1]))
        digest.update(ids.astype("<i8", copy=False).data)
    return Ids(f"sha256:{digest.hexdigest()}", repeated)
