"""What a path or url stands for, and what is said where it cannot be read or written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coyo_tools.words.errors import CoyoError, MissingExtra, SourceError, StorageError

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_SCHEMES = (*_EXTRAS, "hf", "http", "https", "memory")


def is_remote(url: str) -> bool:
    """Whether `url` names something that is not a local path."""
    return "://" in url and not url.startswith("file://")


def local_path(url: str) -> Path:
    """The path a local url or path stands for, `~` expanded."""
    return Path(url.removeprefix("file://")).expanduser()


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system that serves `url`, and the path within it. Raises MissingExtra."""
    import fsspec

    if not is_remote(url):  # taken as it is: `::` and `%20` mean nothing in a local name
        return fsspec.filesystem("file"), os.path.abspath(local_path(url))  # noqa: PTH100  a str
    scheme = url.split("://", 1)[0]
    if scheme not in _SCHEMES:  # fsspec knows more, none of which was ever tried
        raise StorageError(
            f"{scheme}:// is not a known place",
            where=url,
            todo="name a local path, s3://, gs://, hf:// or https://",
        )
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtra.of(_EXTRAS.get(scheme, scheme), f"{scheme}://") from error
    except ValueError as error:
        raise StorageError(f"is no address: {first_line(error)}", where=url) from error
    return fs, path


@contextlib.contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn what the system says about writing into one sentence."""
    try:
        yield
    except CoyoError:
        raise
    except OSError as error:
        raise storage_error(error, where) from error


def storage_error(error: OSError, where: str) -> StorageError:
    """What the system says about writing, as one sentence."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(
                "no space left on the device",
                where=where,
                todo="free some and run the same command again: it goes on where it stopped",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StorageError(
                "cannot be written: permission denied or read-only",
                where=where,
                todo="choose another folder with -o",
            )
        case errno.ENOTDIR | errno.EEXIST:
            return StorageError(
                "is in the way: a file, not a folder", where=where, todo="choose another name"
            )
    return StorageError(f"cannot be written: {error.strerror or first_line(error)}", where=where)


@contextlib.contextmanager
def reading_errors(where: str) -> Iterator[None]:
    """Turn what the system or a store's client says about reading into one sentence.

    FileNotFoundError passes.
    """
    try:
        yield
    except (FileNotFoundError, CoyoError):
        raise
    except Exception as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise SourceError(f"cannot be read: {said}", where=where) from error


def first_line(error: BaseException) -> str:
    """What an error says, in one short line; its name where it says nothing."""
    return str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
