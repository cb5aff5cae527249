"""Writing to the Hugging Face hub or a mirror of it: what is there, what is missing, commits.

`huggingface_hub` does the talking: it chooses between Xet and LFS, sends only content that the
hub has not got, and honours HF_ENDPOINT. A commit takes effect whole or not at all.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import sha256_of
from coyo_tools.machinery.storage import Folder, LocalFolder, filesystem, first_line
from coyo_tools.pieces import hub
from coyo_tools.words.errors import CoyoError, SettingsConflict, StorageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES_A_COMMIT = 200  # the hub advises against thousands
_STAGED_A_COMMIT = 16  # of a remote folder: they lie on this machine until the commit is made
_FILES_AT_ONCE = 16  # uploaded before anyone hears of it


@dataclass(frozen=True)
class Upload:
    """A file to be: path in the repository; either `data`, or the `name` of a file in a folder.

    size: in bytes.
    """

    path: str
    size: int
    name: str | None = None
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class There:
    """A file of the repository. size: bytes. sha256: of an LFS file. blob: git's id of another."""

    size: int
    blob: str
    sha256: str | None


@dataclass(frozen=True)
class Repository:
    """A dataset on the hub as it is now. commit: its branch's head. files: by path."""

    name: str
    branch: str
    commit: str
    files: Mapping[str, There]


@dataclass(frozen=True)
class Change:
    """What differs: to be added or replaced, to be deleted, and what is there as it should be."""

    added: Sequence[Upload]
    replaced: Sequence[Upload]
    deleted: Sequence[str]
    unchanged: Sequence[Upload]


def connect(token: str | None) -> HfApi:
    """The hub of HF_ENDPOINT. token: None for HF_TOKEN or the one `hf auth login` keeps."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint(), token=token)


def opened(api: HfApi, name: str, branch: str, *, private: bool) -> Repository:
    """The dataset and its branch, made where they are absent.

    Raises StorageError, and SettingsConflict where it is public and should be private.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    with _refusals(api, name):
        try:
            info = api.dataset_info(name)
        except RepositoryNotFoundError:
            # Not asked for, it is as the owner's settings have it, which may be private.
            api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
            info = api.dataset_info(name)
        if private and not info.private:
            raise SettingsConflict(
                "is public, and --private was asked for",
                where=_url(api, name),
                todo="make it private in its settings, or leave --private out",
            )
        try:
            info = api.dataset_info(name, revision=branch)
        except RevisionNotFoundError:
            api.create_branch(name, branch=branch, repo_type="dataset")
            info = api.dataset_info(name, revision=branch)
        tree = api.list_repo_tree(name, recursive=True, repo_type="dataset", revision=info.sha)
        files = {entry.path: _there(entry) for entry in tree if hasattr(entry, "blob_id")}
    return Repository(name, branch, str(info.sha), files)


def _there(entry: Any) -> There:
    return There(int(entry.size), entry.blob_id, entry.lfs.sha256 if entry.lfs else None)


def compared(
    wanted: Sequence[Upload],
    there: Mapping[str, There],
    folder: Folder,
    ours: Callable[[str], bool],
) -> Change:
    """What an upload would change. ours: whether a file may only be there if it is wanted."""
    added = [each for each in wanted if each.path not in there]
    shared = [each for each in wanted if each.path in there]
    unchanged = [each for each in shared if _is_same(each, there[each.path], folder)]
    paths = {each.path for each in wanted}
    return Change(
        added,
        [each for each in shared if each not in unchanged],
        [path for path in there if path not in paths and ours(path)],
        unchanged,
    )


def _is_same(upload: Upload, there: There, folder: Folder) -> bool:
    if upload.size != there.size:
        return False
    if upload.name is None:
        return _digest(upload.data, there) == (there.sha256 or there.blob)
    if there.sha256 and isinstance(folder, LocalFolder):
        return sha256_of(folder.path / upload.name) == there.sha256
    return _digest(folder.read_bytes(upload.name), there) == (there.sha256 or there.blob)


def _digest(data: bytes, there: There) -> str:
    if there.sha256:
        return hashlib.sha256(data).hexdigest()
    # What git calls a blob; nothing is protected by it.
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commit(
    api: HfApi,
    repository: Repository,
    change: Change,
    folder: Folder,
    message: str,
    hear: Callable[[int], None],
) -> list[str]:
    """Upload and commit; the commits' ids, none where nothing differs.

    Files come in order, at most `FILES_A_COMMIT` to a commit; those of `data`, which speak of the
    others, with the last. Deletions come with the first; where there are more, also of what `data`
    replaces. hear: told the number of files that are on the hub, though maybe not committed yet.
    Where the branch has moved meanwhile the hub refuses. Raises StorageError.
    """
    changed = sorted([*change.added, *change.replaced], key=lambda each: each.path)
    files = [each for each in changed if each.name is not None]
    most = FILES_A_COMMIT if isinstance(folder, LocalFolder) else _STAGED_A_COMMIT
    groups = [files[at : at + most] for at in range(0, len(files), most)]
    if not groups and (changed or change.deleted):
        groups = [[]]
    if groups:
        groups[-1] += [each for each in changed if each.name is None]
    deleted = list(change.deleted)
    if len(groups) > 1:
        deleted += [each.path for each in change.replaced if each.name is None]
    head = repository.commit
    ids: list[str] = []
    for number, group in enumerate(groups):
        counted = f" ({number + 1} of {len(groups)})" if len(groups) > 1 else ""
        with _refusals(api, repository.name), _quiet(), tempfile.TemporaryDirectory() as scratch:
            operations = _operations(group, () if ids else deleted, folder, Path(scratch))
            _preupload(api, repository, operations, functools.partial(_later, hear, number * most))
            made = api.create_commit(
                repository.name,
                operations,
                commit_message=message + counted,
                repo_type="dataset",
                revision=repository.branch,
                parent_commit=head,
            )
        head = made.oid
        ids.append(head)
    return ids


def _operations(
    uploads: Sequence[Upload], deleted: Sequence[str], folder: Folder, scratch: Path
) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationDelete(path_in_repo=path) for path in deleted),
        *(
            CommitOperationAdd(path_in_repo=u.path, path_or_fileobj=_content(u, folder, scratch))
            for u in uploads
        ),
    ]


def _content(upload: Upload, folder: Folder, scratch: Path) -> str | bytes:
    """Its bytes, or where they lie on this machine."""
    if upload.name is None:
        return upload.data
    if isinstance(folder, LocalFolder):
        return str(folder.path / upload.name)
    fs, path = filesystem(folder.url_of(upload.name))
    fs.get_file(path, str(scratch / upload.name))
    return str(scratch / upload.name)


def _later(hear: Callable[[int], None], before: int, done: int) -> None:
    hear(before + done)


def _preupload(
    api: HfApi, repository: Repository, operations: Sequence[Any], hear: Callable[[int], None]
) -> None:
    from huggingface_hub import CommitOperationAdd

    additions = [each for each in operations if isinstance(each, CommitOperationAdd)]
    for at in range(0, len(additions), _FILES_AT_ONCE):
        some = additions[at : at + _FILES_AT_ONCE]
        api.preupload_lfs_files(
            repository.name,
            some,
            repo_type="dataset",
            revision=repository.branch,
            free_memory=False,
        )
        hear(at + len(some))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of huggingface_hub, which draw on anything."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    if not before:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _url(api: HfApi, name: str) -> str:
    return f"{api.endpoint}/datasets/{name}"


@contextlib.contextmanager
def _refusals(api: HfApi, name: str) -> Iterator[None]:
    """Turn what the hub, or the way to it, answers into one sentence."""
    from huggingface_hub import errors

    # huggingface_hub has changed its HTTP client twice; its own error derives from theirs.
    client = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except CoyoError:
        raise
    except (OSError, RuntimeError, ValueError, client) as error:  # type: ignore[misc]  # a class
        raise _refused(error, _url(api, name)) from error


def _refused(error: BaseException, where: str) -> StorageError:
    response = _response(error)
    status = getattr(response, "status_code", None)
    again = "run the same command again: it sends what is missing"
    what, todo = _MEANINGS.get(status or 0, ("", again))
    if status == 429:
        wait = getattr(response, "headers", {}).get("Retry-After")
        what = f"asks to wait{f' {wait} s' if wait else ''} (429)"
    elif status is not None and status >= 500:
        what = f"has trouble of its own ({status})"
    elif status is None:
        what = f"cannot be written: {first_line(_root(error)) or type(error).__name__}"
        if "xet" in what:
            todo = "where the hub or mirror speaks no Xet, set HF_HUB_DISABLE_XET=1"
    said = getattr(error, "server_message", None) or first_line(_root(error))
    return StorageError(what or f"refuses ({status}): {said}", where=where, todo=todo)


_MEANINGS = {
    401: (
        "does not accept the token, or there is none (401)",
        "set HF_TOKEN to a token that may write, or name its variable with --token-env",
    ),
    403: (
        "the token may not write there (403)",
        "use one with write access, or another OWNER/NAME",
    ),
    404: ("is not there, or not shown to this token (404)", "check OWNER/NAME and the token"),
    409: ("is being changed by someone else (409)", "run the same command again"),
    412: ("has been changed while this ran (412)", "run the same command again"),
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _response(error: BaseException) -> Any:
    """The hub's answer behind an error, which may be wrapped in others."""
    found = (getattr(each, "response", None) for each in _chain(error))
    return next((response for response in found if response is not None), None)


def _root(error: BaseException) -> BaseException:
    return list(_chain(error))[-1]
