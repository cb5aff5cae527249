"""Weights on this machine: found, fetched, compared with what they should be.

Looked for in this order: the folder COYO_WEIGHTS_DIR (then nothing is ever fetched), the cache
(COYO_CACHE, or coyo-tools in the user's cache), the caches of huggingface_hub and opennsfw2. The
first two are laid out as NAME/FILE, with FILE.sha256 beside what was fetched. Weights of several
files (a model with its configuration, a tokenizer) are the folder NAME.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from coyo_tools.machinery import web
from coyo_tools.machinery.manifest import sha256_of
from coyo_tools.machinery.storage import TEMPORARY, folder_at, local_path, storage_errors
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces import hub
from coyo_tools.pieces.scores.base import Weights
from coyo_tools.pieces.scores.weights import check_file
from coyo_tools.words.errors import SourceError, SourceNotFound, WeightsError
from coyo_tools.words.progress import Listener, Progress, silent

OFFLINE = "COYO_WEIGHTS_DIR"
_READ_BYTES = 1 << 20


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
    """Where the file (of a folder: all files) belongs, whether or not it is there."""
    folder = _folder_of(weights)
    return folder if weights.is_folder else folder / weights.file


def _folder_of(weights: Weights) -> Path:
    return (offline_folder() or cache_folder()) / weights.name


def at_hand(weights: Weights) -> Path | None:
    """The file or folder where nothing needs to be fetched; not looked at yet."""
    found = _within(weights, _folder_of(weights))
    return found or (None if offline_folder() else _elsewhere(weights))


def _within(weights: Weights, folder: Path) -> Path | None:
    """The weights in a folder that has all that belongs to them."""
    main = next((folder / name for name in weights.files if (folder / name).is_file()), None)
    if main is None or not all((folder / name).is_file() for name in weights.beside):
        return None
    return folder if weights.is_folder else main


def _elsewhere(weights: Weights) -> Path | None:
    """In another library's cache."""
    if not weights.repository:
        return weights.also_at()
    from huggingface_hub import try_to_load_from_cache

    revision = weights.revision or None
    for name in weights.files:
        found = try_to_load_from_cache(weights.repository, name, revision=revision)
        if isinstance(found, str | os.PathLike):
            return _within(weights, Path(found).parent)
    return None


def files_of(weights: Weights, path: Path) -> list[Path]:
    """The files at a path that `at_hand` gave, that with the weights first."""
    if not weights.is_folder:
        return [path]
    main = next(path / name for name in weights.files if (path / name).is_file())
    others = [path / name for name in (*weights.beside, *weights.optional)]
    return [main, *(other for other in others if other.is_file())]


def known_sha256(weights: Weights, path: Path) -> str | None:
    """What the file should have: as declared, else as it was when it was fetched; None: not known.

    Raises WeightsError.
    """
    if weights.sha256 is not None and path.name == weights.file:
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
    """The sha256 of the file as it is, of a folder that of its files' names and sha256.

    Raises WeightsError where one is not the one it should be.
    """
    files = files_of(weights, path)
    check_file(files[0], weights.formats)
    return _together(weights, [(file, _checked(weights, file)) for file in files])


def _checked(weights: Weights, file: Path) -> str:
    found, known = sha256_of(file), known_sha256(weights, file)
    wrong = _unlike("sha256", found, known) or _unlike_blob(weights, file)
    if wrong:
        raise WeightsError(
            f"is another file than {weights.name} has, or a part of it: {wrong}",
            where=str(file),
            todo=how_to_mend(weights),
        )
    return found


def how_to_mend(weights: Weights) -> str:
    """What to do about a wrong file, which in the offline folder is never fetched again."""
    if not offline_folder():
        return f"run: coyo weights fetch {weights.name}"
    return f"put the right one there ({weights.source}), or unset {OFFLINE} to have it fetched"


def _unlike(digest: str, found: str, known: str | None) -> str:
    """What differs, in words; "" where nothing does or nothing is known."""
    return (
        f"{digest} {found[:12]}..., expected {known[:12]}..." if known not in (None, found) else ""
    )


def _unlike_blob(weights: Weights, file: Path, name: str | None = None) -> str:
    """The same of git's digest. name: the file's own, where it is still under another."""
    if weights.git_blob is None or (name or file.name) != weights.file:
        return ""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as handle:
        while data := handle.read(_READ_BYTES):
            digest.update(data)
    return _unlike("git blob", digest.hexdigest(), weights.git_blob)


def _together(weights: Weights, files: Sequence[tuple[Path, str]]) -> str:
    if not weights.is_folder:
        return files[0][1]
    lines = sorted(f"{sha256}  {file.name}\n" for file, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def look_at(weights: Weights, path: Path) -> str:
    """The sha256, as `check` gives it, of weights that the user named. Raises WeightsError."""
    if weights.is_folder and _within(weights, path) is None:
        raise WeightsError(
            f"is no folder with {', '.join((*weights.beside, ' or '.join(weights.files)))}",
            where=str(path),
            todo=f"put the files of {weights.source} there",
        )
    files = files_of(weights, path)
    check_file(files[0], weights.formats)
    return _together(weights, [(file, sha256_of(file)) for file in files])


def fetch(weights: Weights, progress: Listener = silent, traffic: Traffic | None = None) -> Path:
    """The weights on this machine, fetched if need be and compared with their sha256 then.

    Raises WeightsError.
    """
    return at_hand(weights) or fetch_anew(weights, progress, traffic)


def fetch_anew(
    weights: Weights, progress: Listener = silent, traffic: Traffic | None = None
) -> Path:
    """Fetch the weights to their place, whole or not at all; what was interrupted is continued.

    Raises WeightsError, StorageError, FolderBusy where another run fetches it.
    """
    if offline_folder():
        file = f"{weights.name}/{weights.file}"
        is_there = at_hand(weights) is not None
        fault = f"{file} is not the right one" if is_there else f"there is no {file}"
        raise WeightsError(
            f"{fault}, and with {OFFLINE} set nothing is fetched",
            where=str(offline_folder()),
            todo=f"put it there, or name it with --weights {weights.name}=PATH",
        )
    traffic = traffic or Traffic()
    folder = folder_at(str(_folder_of(weights)))
    folder.create()
    with folder.lock(), _cannot_be_fetched(weights):
        for name in (*weights.beside, *weights.optional):
            with suppress(SourceNotFound) if name in weights.optional else nullcontext():
                _fetch_file(weights, _asked(weights, (name,), traffic), progress, traffic)
        # Last: where it is, all is.
        place = _fetch_file(weights, _asked(weights, weights.files, traffic), progress, traffic)
        folder.clean()  # parts of other versions
    return _folder_of(weights) if weights.is_folder else place


@dataclass(frozen=True)
class _Asked:
    """A file as its source tells of it. sha256: None where it does not say."""

    name: str
    source: web.Place
    size: int
    sha256: str | None


def _asked(weights: Weights, names: Sequence[str], traffic: Traffic) -> _Asked:
    """The first of these files that there is. Raises SourceNotFound, WeightsError."""
    if not weights.repository:
        source = web.Place(weights.url, weights.url)
        asked = _Asked(weights.file, source, web.size_of(source, traffic), None)
    else:
        asked = _asked_of_hub(weights, names, traffic)
    if asked.name != weights.file:
        return asked
    if weights.bytes not in (None, asked.size):
        raise WeightsError(
            f"has {asked.size:,} bytes, expected {weights.bytes:,}", where=asked.source.where
        )
    return replace(asked, sha256=weights.sha256 or asked.sha256)


def _asked_of_hub(weights: Weights, names: Sequence[str], traffic: Traffic) -> _Asked:
    revision = weights.revision or "main"
    for name in names[:-1]:
        with suppress(SourceNotFound):
            return _Asked(name, *hub.model_file(weights.repository, revision, name, traffic))
    return _Asked(names[-1], *hub.model_file(weights.repository, revision, names[-1], traffic))


def _fetch_file(weights: Weights, asked: _Asked, progress: Listener, traffic: Traffic) -> Path:
    """Fetch one file to its place."""
    place = _folder_of(weights) / asked.name
    part = place.with_name(f".{place.name}.{_version(asked, traffic)}{TEMPORARY}")
    tell = _teller(progress, weights, asked.size)
    _continue(asked.source, part, asked.size, traffic, tell)
    _keep(weights, part, place, asked.sha256)
    return place


def _version(asked: _Asked, traffic: Traffic) -> str:
    """Tells a part of this file from one of another version of it."""
    said = f"{asked.source.url} {asked.size} {traffic.tags.get(asked.source.url, '')}"
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
        if place.name in weights.files:
            check_file(part, weights.formats)
        wrong = _unlike("sha256", found, sha256) or _unlike_blob(weights, part, place.name)
        if wrong:
            raise WeightsError(f"has {wrong}")
    except WeightsError:
        part.unlink()
        raise
    folder = folder_at(str(place.parent))
    folder.write_bytes(_noted(place).name, f"{found}  {place.name}\n".encode())
    with storage_errors(str(place)):
        part.replace(place)


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
        mirror = "set HF_ENDPOINT to a mirror, or " if weights.repository else ""
        raise WeightsError(
            f"weights cannot be fetched: {why}",
            where=weights.source,
            todo=f"{mirror}fetch it elsewhere and put it at {place_of(weights)}, "
            f"or name it with --weights {weights.name}=PATH",
        ) from error
