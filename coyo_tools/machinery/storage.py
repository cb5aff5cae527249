"""Where bytes live: local folders, object stores, the hub. Whole files or none.

A file is written under a temporary name beside its place and renamed once it is complete and
flushed; on an object store it is written locally and uploaded in one piece. Whoever looks sees
the whole file or none of it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coyo_tools.machinery.places import filesystem as filesystem
from coyo_tools.machinery.places import first_line as first_line
from coyo_tools.machinery.places import is_remote as is_remote
from coyo_tools.machinery.places import local_path as local_path
from coyo_tools.machinery.places import reading_errors as reading_errors
from coyo_tools.machinery.places import storage_error
from coyo_tools.machinery.places import storage_errors as storage_errors
from coyo_tools.words.errors import FolderBusy, StorageError

TEMPORARY = ".coyo-tmp"
LOCK = ".coyo.lock"


class Folder(ABC):
    """An output folder, local or remote. `name` arguments are relative and use `/`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or "/"

    def url_of(self, name: str) -> str:
        """The url or path of a file in this folder."""
        return f"{self.url}/{name}"

    def check_writable(self) -> None:
        """Raise StorageError on the hub, which takes commits with a card, not file after file."""
        if self.url.startswith("hf://"):
            raise StorageError(
                "is read-only here", where=self.url, todo="write a local folder and use `coyo push`"
            )

    @abstractmethod
    def create(self) -> None:
        """Make the folder where it is absent. Raises StorageError."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether the file is there, complete."""

    @abstractmethod
    def names(self) -> list[str]:
        """Names of the files directly in this folder, sorted; [] where it is absent."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Bytes of the files directly in this folder, by name; {} where it is absent."""

    @abstractmethod
    def move(self, name: str, new: str) -> None:
        """Give a file another name, in place of a file that has it. Raises FileNotFoundError."""

    @abstractmethod
    def read_bytes(self, name: str) -> bytes:
        """The file's bytes. Raises FileNotFoundError."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the file if it is there."""

    @abstractmethod
    def stage(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A local path to write to; it becomes `name` when the block ends without an error."""

    @abstractmethod
    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs out while the block lasts. Raises FolderBusy."""

    @abstractmethod
    def clean(self) -> None:
        """Remove what an interrupted run left under temporary names."""

    @abstractmethod
    def remove_if_empty(self) -> None:
        """Remove the folder where it holds nothing but the lock; called while that is held."""

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the whole file or nothing. Raises StorageError."""
        with self.stage(name) as path, storage_errors(self.url_of(name)):
            path.write_bytes(data)

    def read_json(self, name: str) -> Any:
        """The file's content as JSON. Raises FileNotFoundError."""
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` as indented JSON with a newline at its end."""
        self.write_bytes(name, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


class LocalFolder(Folder):
    """A folder of this machine's file system."""

    def __init__(self, url: str) -> None:
        self.path = local_path(url)
        super().__init__(str(self.path))

    def create(self) -> None:
        """Make the folder and its parents."""
        with storage_errors(self.url):
            self.path.mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return os.path.isfile(self.path / name)  # noqa: PTH113  pathlib's raises on a long name

    def names(self) -> list[str]:
        """Files directly in the folder, temporary ones left out."""
        if not self.path.is_dir():
            return []
        found = (p.name for p in self.path.iterdir() if p.is_file())
        return sorted(n for n in found if not n.endswith(TEMPORARY) and n != LOCK)

    def sizes(self) -> dict[str, int]:
        """Bytes of what `names` lists."""
        return {name: (self.path / name).stat().st_size for name in self.names()}

    def move(self, name: str, new: str) -> None:
        """Rename, at once and lasting."""
        if not (self.path / name).exists():
            raise FileNotFoundError(name)
        with storage_errors(self.url_of(new)):
            (self.path / name).replace(self.path / new)
            _flush_entry(self.path)

    def read_bytes(self, name: str) -> bytes:
        """The file's bytes."""
        return (self.path / name).read_bytes()

    def delete(self, name: str) -> None:
        """Remove the file if it is there."""
        with storage_errors(self.url_of(name)):
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Path]:
        """A temporary file beside the target, flushed to the disk and renamed at the end."""
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            with storage_errors(str(target)):
                target.parent.mkdir(parents=True, exist_ok=True)
                yield temporary
                _flush(temporary)
                temporary.replace(target)
                _flush_entry(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """An advisory lock on a hidden file; the system frees it however the process ends."""
        import fcntl

        with storage_errors(self.url):
            handle = (self.path / LOCK).open("w")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderBusy(
                    "another run is writing here", where=self.url, todo="wait for it, or stop it"
                ) from error
            except OSError as error:
                # Some network file systems have no locks; then the user has to take care.
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise storage_error(error, self.url) from error
            if not _is_at(handle.fileno(), self.path / LOCK):
                raise FolderBusy(
                    "another run has just removed this folder", where=self.url, todo="run it again"
                )
            yield

    def clean(self) -> None:
        """Remove temporary files at any depth, but not in a folder below that is locked itself."""
        for folder, below, names in os.walk(self.path):
            below[:] = [b for b in below if not (Path(folder, b) / LOCK).exists()]
            for name in names:
                if name.startswith(".") and name.endswith(TEMPORARY):
                    with storage_errors(self.url):
                        Path(folder, name).unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Remove the lock and the folder; whatever else is in it keeps both."""
        if [p.name for p in self.path.iterdir()] == [LOCK]:
            with storage_errors(self.url):
                (self.path / LOCK).unlink()
                self.path.rmdir()


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`: a lock on a removed file keeps no one out."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_entry(folder: Path) -> None:
    """Make a rename last: one file's completion must not reach the disk before another's data."""
    with contextlib.suppress(OSError):  # not every file system flushes folders
        _flush(folder)


@contextlib.contextmanager
def _remote_errors(where: str) -> Iterator[None]:
    """Turn whatever a store's client raises into one sentence; FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, where) from error
    except Exception as error:
        # Clients have errors of their own: no credentials, no connection, no such bucket.
        raise StorageError(f"the store refuses: {first_line(error)}", where=where) from error


class RemoteFolder(Folder):
    """A folder of an object store or the hub, through fsspec. It takes no lock."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._fs, self._root = filesystem(self.url)
        if not hasattr(self._fs, "put_file") or url.startswith(("http://", "https://")):
            raise StorageError("is read-only", where=url, todo="choose another folder with -o")

    def create(self) -> None:
        """Nothing to do: prefixes of an object store need no making."""
        self.check_writable()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """No lock: object stores have none. Uploads are whole, so two runs waste work, no data."""
        yield

    def clean(self) -> None:
        """Nothing to do: an upload that was cut off left no object."""

    def remove_if_empty(self) -> None:
        """Nothing to do: a prefix is gone with its last object."""

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the object is there."""
        self._fs.invalidate_cache()
        try:
            with _remote_errors(self.url_of(name)):
                return str(self._fs.info(self._path(name))["type"]) == "file"
        except FileNotFoundError:
            return False

    def names(self) -> list[str]:
        """Objects directly under the prefix."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Bytes of the objects directly under the prefix."""
        self._fs.invalidate_cache()
        try:
            with _remote_errors(self.url):
                entries = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return {}
        files = {e["name"].rsplit("/", 1)[-1]: e for e in entries if e["type"] == "file"}
        # Under no name: the empty object of a folder that was made in a store's console.
        return {name: int(entry["size"] or 0) for name, entry in files.items() if name}

    def move(self, name: str, new: str) -> None:
        """Copy, then delete: stores cannot rename."""
        with _remote_errors(self.url_of(new)):
            self._fs.invalidate_cache()
            self._fs.copy(self._path(name), self._path(new))
            self._fs.rm_file(self._path(name))

    def read_bytes(self, name: str) -> bytes:
        """The object's bytes."""
        with reading_errors(self.url_of(name)):
            return bytes(self._fs.cat_file(self._path(name)))

    def delete(self, name: str) -> None:
        """Remove the object if it is there."""
        with contextlib.suppress(FileNotFoundError), _remote_errors(self.url_of(name)):
            self._fs.rm_file(self._path(name))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Path]:
        """A local temporary file, uploaded in one piece at the end."""
        with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
            temporary = Path(scratch) / "staged"
            with storage_errors(self.url_of(name)):
                yield temporary
                with _remote_errors(self.url_of(name)):
                    self._fs.put_file(str(temporary), self._path(name))


def folder_at(url: str | os.PathLike[str]) -> Folder:
    """The folder at a path or url; nothing is created or read yet. Raises StorageError."""
    place = os.fspath(url)
    scheme, _, path = place.partition("://")
    if scheme != place and not path.strip("/") and place != "file:///":
        raise StorageError(
            "names no place", where=place, todo="write a bucket or a folder behind ://"
        )
    return RemoteFolder(place) if is_remote(place) else LocalFolder(place)
