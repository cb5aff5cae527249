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

from coyo_tools.machinery.sorted_runs import CHUNK_ROWS, merged
from coyo_tools.machinery.storage import Folder, first_line
from coyo_tools.machinery.within import files_below, names_within
from coyo_tools.words.errors import (
    CorruptFile,
    CoyoError,
    SettingsConflict,
    SettingsError,
    StorageError,
)

if TYPE_CHECKING:
    from coyo_tools.machinery.sorted_runs import Run as SortedRun

MANIFEST = "manifest.json"
RUNS = "runs.jsonl"
FORMAT = 1
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
_SHOWN = 80  # characters of a setting in an error
_EMPTYING = {"emptying": True}  # the result of a folder that --overwrite is about to empty


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
    """A run that writes one folder: begun, and to be finished. `done`: nothing is left to do."""

    folder: Folder
    manifest: Manifest
    done: bool
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

    def _log(self) -> None:
        entry = {
            "command": self.manifest.command,
            "started_at": round(self.started_at, 3),
            "seconds": round(time.time() - self.started_at, 3),
            "machine": f"{platform.system()} {platform.machine()}",
            **self.also(),
        }
        earlier = b""
        with contextlib.suppress(FileNotFoundError):
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
    part of it is continued. reads: the files that the run reads; none of them is ever removed.
    makes: by name of an input the files that are made of it, the one that completes them last. An
    input of which that one is not there may have changed since the run began.

    Raises SettingsConflict where the folder belongs to something else and SettingsError where it
    holds what the run reads (and nothing is touched), FolderBusy, StorageError.
    """
    folder.check_writable()
    files = [name for made in makes.values() for name in made]
    wanted = Manifest(command, settings, inputs, versions or tool_versions(), files=files)
    checked = functools.partial(_check, folder, wanted, overwrite, reads, makes)
    checked()
    folder.create()
    with folder.lock():
        found = checked()  # another run may have come in between
        folder.clean()
        if found is not None and overwrite:
            _empty(folder, found)
            found = None
        if found is None or _lacks_files(folder, found):
            folder.write_json(MANIFEST, wanted.to_json())
            found = wanted
        elif not found.complete and (_plain(inputs), files) != (found.inputs, found.files):
            found = replace(found, inputs=inputs, files=files)
            folder.write_json(MANIFEST, found.to_json())
        try:
            yield Run(folder, found, done=found.complete)
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
    """The folder's manifest, where this run may go on in the folder. Raises SettingsConflict."""
    found = read_manifest(folder, todo="choose another folder with -o")
    if found is None:
        _refuse_strangers(folder, overwrite)
        return None
    _refuse_input(folder, found, reads)
    if not overwrite:
        _refuse_difference(folder, found, wanted, makes)
    return found


def _refuse_input(folder: Folder, found: Manifest, reads: Sequence[str]) -> None:
    """A file that the run reads is neither to be emptied away nor to be written over."""
    inside = names_within(folder.url, reads)
    taken = sorted(name for name in inside if "/" not in name or name in found.files)
    if taken:
        raise SettingsError(
            f"holds {taken[0]}, which is input of this run",
            where=folder.url,
            todo="choose a folder beside it with -o",
        )


def _lacks_files(folder: Folder, found: Manifest) -> bool:
    """Whether someone removed files of a complete folder since."""
    absent = set(found.files) - set(folder.names())
    return found.complete and not all("/" in name and folder.exists(name) for name in absent)


def _refuse_strangers(folder: Folder, overwrite: bool) -> None:
    strangers = folder.names()
    if strangers:
        why = "--overwrite empties only folders this tool wrote" if overwrite else ""
        raise SettingsConflict(
            f"holds files that are not this tool's ({strangers[0]})",
            where=folder.url,
            todo="choose an empty or new folder with -o" + (f": {why}" if why else ""),
        )


def _refuse_difference(
    folder: Folder, found: Manifest, wanted: Manifest, makes: Mapping[str, Sequence[str]]
) -> None:
    if found.result == _EMPTYING:
        raise SettingsConflict(
            "was being emptied when a run with --overwrite ended",
            where=folder.url,
            todo="run it with --overwrite again",
        )
    if _may_have_changed(folder, found, wanted, makes):
        found = replace(found, inputs=_plain(wanted.inputs))
    difference = difference_between(found, wanted)
    if difference:
        raise SettingsConflict(
            f"belongs to a run with other settings: {difference}",
            where=folder.url,
            todo="choose another folder with -o, or start anew with --overwrite",
        )


def _may_have_changed(
    folder: Folder, found: Manifest, wanted: Manifest, makes: Mapping[str, Sequence[str]]
) -> bool:
    """Whether the inputs differ only where nothing has come of them yet: a file that was broken,
    for one, and has been fetched again."""
    old, new = found.inputs, _plain(wanted.inputs)
    if found.complete or [i.get("name") for i in old] != [i.get("name") for i in new]:
        return False
    changed = [i["name"] for i, was in zip(new, old, strict=True) if i != was]
    there = set(folder.names())
    return all(name in makes and makes[name][-1] not in there for name in changed)


def _plain(inputs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """As a manifest that was read has them."""
    plain: list[Any] = json.loads(json.dumps(list(inputs)))
    return plain


def difference_between(found: Manifest, wanted: Manifest) -> str | None:
    """The first differences of two manifests as a phrase; None where the same run made both."""
    if found.command != wanted.command:
        return f"it was made by `coyo {found.command}`, this is `coyo {wanted.command}`"
    asked = json.loads(json.dumps(wanted.settings))
    names = [n for n in {**found.settings, **asked} if found.settings.get(n) != asked.get(n)]
    if names:
        return "; ".join(_change(n, found.settings.get(n), asked.get(n)) for n in names[:3])
    return _input_difference(found.inputs, _plain(wanted.inputs))


def _change(name: str, old: Any, new: Any) -> str:
    """`name was OLD, is NEW`; of what is too long to show, the first place that differs."""
    if max(len(json.dumps(old)), len(json.dumps(new))) > _SHOWN:
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            at = next(i for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
            return _change(f"{name}[{at}]", old[at], new[at])
        if isinstance(old, dict) and isinstance(new, dict):
            key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
            return _change(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} was {_brief(old)}, is {_brief(new)}"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _input_difference(found: Sequence[Any], wanted: Sequence[Any]) -> str | None:
    if list(found) == list(wanted):
        return None
    if len(found) != len(wanted):
        return f"its input had {len(found)} files, this one has {len(wanted)}"
    for old, new in zip(found, wanted, strict=True):
        if old != new:
            names = [n for n in {**old, **new} if old.get(n) != new.get(n)]
            return f"input {new.get('name', new)} differs in {', '.join(names)}"
    return None


def _empty(folder: Folder, found: Manifest) -> None:
    """Remove what the manifest's run wrote.

    The manifest says so first, and goes last: interrupted here, the folder is no result, and is
    still known as this tool's.
    """
    folder.write_json(MANIFEST, replace(found, complete=False, result=_EMPTYING).to_json())
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
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("coyo-tools", "polars", "pyarrow", "numpy", "pillow", *more):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
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
