"""Weights on this machine: found, fetched, compared with what they should be.

Looked for in this order: the folder COYO_WEIGHTS_DIR (then nothing is ever fetched), the cache
(COYO_CACHE, or coyo-tools in the user's cache), the caches of huggingface_hub and opennsfw2. The
first two are laid out as NAME/FILE, with FILE.sha256 beside what was fetched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coyo_tools.machinery import web
from coyo_tools.machinery.manifest import sha256_of
from coyo_tools.machinery.storage import TEMPORARY, folder_at, local_path, storage_errors
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces import hub
from coyo_tools.pieces.scores.base import Weights
from coyo_tools.pieces.scores.weights import check_file
from coyo_tools.words.errors import SourceError, WeightsError
from coyo_tools.words.progress import Listener, Progress, silent

OFFLINE = "COYO_WEIGHTS_DIR"


def offline_folder() -> Path | None:
    """The folder that holds all weights, where COYO_WEIGHTS_DIR names one."""
    named = os.environ.get(OFFLINE)
    return local_path(named) if named else None


def cache_folder() -> Path:
    """Where fetched weights are kept: below COYO_CACHE, or coyo-tools in the user's cache."""
    own = os.environ.get("COYO_CACHE")
    usual = local_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "coyo-tools"
    return (local_path(own) if own else usual) / "weights"


def place_of(weights: Weights) -> Path:
    """Where the file belongs, whether or not it is there."""
    return (offline_folder() or cache_folder()) / weights.name / weights.file


def at_hand(weights: Weights) -> Path | None:
    """The file where nothing needs to be fetched; not looked at yet."""
    place = place_of(weights)
    if place.is_file():
        return place
    return None if offline_folder() else _elsewhere(weights)


def _elsewhere(weights: Weights) -> Path | None:
    """In another library's cache."""
    if not weights.repository:
        return weights.also_at()
    from huggingface_hub import try_to_load_from_cache

    revision = weights.revision or None
    found = try_to_load_from_cache(weights.repository, weights.file, revision=revision)
    return Path(found) if isinstance(found, str | os.PathLike) else None


def known_sha256(weights: Weights, path: Path) -> str | None:
    """What the file should have: as declared, else as it was when it was fetched; None: not known.

    Raises WeightsError.
    """
    if weights.sha256 is not None:
        return weights.sha256
    try:
        words = _noted(path).read_text("utf-8", "replace").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(
            f"cannot be read: {error.strerror or error}", where=str(_noted(path))
        ) from error
    return words[0].lower() if words else None


def _noted(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def check(weights: Weights, path: Path) -> str:
    """The sha256 of the file as it is. Raises WeightsError where it is not the one it should be."""
    check_file(path, weights.formats)
    found, known = sha256_of(path), known_sha256(weights, path)
    if known not in (None, found):
        raise WeightsError(
            f"is another file than {weights.name} has, or a part of it: sha256 {found[:12]}..., "
            f"expected {known[:12]}...",
            where=str(path),
            todo=f"run: coyo weights fetch {weights.name}",
        )
    return found


def fetch(weights: Weights, progress: Listener = silent, traffic: Traffic | None = None) -> Path:
    """The file on this machine, fetched if need be and compared with its sha256 then.

    Raises WeightsError.
    """
    return at_hand(weights) or fetch_anew(weights, progress, traffic)


def fetch_anew(
    weights: Weights, progress: Listener = silent, traffic: Traffic | None = None
) -> Path:
    """Fetch the file to its place, whole or not at all; what was interrupted is continued.

    Raises WeightsError, StorageError, FolderBusy where another run fetches it.
    """
    place = place_of(weights)
    if offline_folder():
        raise WeightsError(
            f"there is no {weights.name}/{weights.file}, and with {OFFLINE} set nothing is fetched",
            where=str(offline_folder()),
            todo=f"put it there, or name it with --weights {weights.name}=PATH",
        )
    traffic = traffic or Traffic()
    folder = folder_at(str(place.parent))
    folder.create()
    with folder.lock(), _cannot_be_fetched(weights):
        source, size, sha256 = _asked(weights, traffic)
        part = place.with_name(f".{place.name}.{_version(source, size, traffic)}{TEMPORARY}")
        _continue(source, part, size, traffic, _teller(progress, weights, size))
        _keep(weights, part, place, weights.sha256 or sha256)
    return place


def _asked(weights: Weights, traffic: Traffic) -> tuple[web.Place, int, str | None]:
    """Where its bytes come from, how many, and their sha256 if the hub says."""
    if weights.repository:
        source, size, sha256 = hub.model_file(
            weights.repository, weights.revision or "main", weights.file, traffic
        )
    else:
        source, sha256 = web.Place(weights.url, weights.url), None
        size = web.size_of(source, traffic)
    if weights.bytes not in (None, size):
        raise WeightsError(f"has {size:,} bytes, expected {weights.bytes:,}", where=source.where)
    return source, size, sha256


def _version(source: web.Place, size: int, traffic: Traffic) -> str:
    """Tells a part of this file from one of another version of it."""
    said = f"{source.url} {size} {traffic.tags.get(source.url, '')}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _continue(
    source: web.Place, part: Path, size: int, traffic: Traffic, tell: Callable[[int], None]
) -> None:
    """Fetch what the part lacks of its `size` bytes."""
    with storage_errors(str(part)), part.open("ab") as file:

        def take(_: int, data: bytes) -> None:
            file.write(data)
            tell(file.tell())

        if file.tell() < size:
            web.fetch(source, [(file.tell(), size)], size, traffic, take)


def _keep(weights: Weights, part: Path, place: Path, sha256: str | None) -> None:
    """Give the file its name, its sha256 beside it. Raises WeightsError if it is a wrong one."""
    found = sha256_of(part)
    try:
        check_file(part, weights.formats)
        if sha256 not in (None, found):
            raise WeightsError(f"has sha256 {found[:12]}..., expected {str(sha256)[:12]}...")
    except WeightsError:
        part.unlink()
        raise
    folder = folder_at(str(place.parent))
    folder.write_bytes(_noted(place).name, f"{found}  {place.name}\n".encode())
    with storage_errors(str(place)):
        part.replace(place)
    folder.clean()  # parts of other versions


def _teller(progress: Listener, weights: Weights, size: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        progress(Progress("weights", done, size, "bytes", weights.name))

    return tell


@contextmanager
def _cannot_be_fetched(weights: Weights) -> Iterator[None]:
    try:
        yield
    except (SourceError, WeightsError, FileNotFoundError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else error.what
        raise WeightsError(
            f"weights cannot be fetched: {why}",
            where=weights.source,
            todo="set HF_ENDPOINT to a mirror, or fetch it elsewhere and put it at "
            f"{place_of(weights)}, or name it with --weights {weights.name}=PATH",
        ) from error
