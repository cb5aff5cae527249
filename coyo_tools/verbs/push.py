"""push: a folder of metadata as a dataset of the Hugging Face hub, with its card."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.machinery.manifest import MANIFEST, Manifest
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.pieces import hub, hub_push
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.card import PICTURE, Published, card, public
from coyo_tools.pieces.card_picture import picture
from coyo_tools.pieces.hub_push import Change, Upload
from coyo_tools.pieces.report.reading import numeric_columns
from coyo_tools.pieces.source import OpenPart, Source
from coyo_tools.words.config import PushSettings
from coyo_tools.words.errors import SettingsConflict, SettingsError, SourceError
from coyo_tools.words.progress import Listener, Progress, silent

CARD = "README.md"
DATA = "data"
_PUBLISHED = ("filter", "score", "dedup", "decontaminate")
_BESIDE = ("groups.parquet", "matches.parquet")  # about the rows, not more of them
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class PushResult:
    """What `push` did. files: path in the dataset to bytes. card: README.md.

    uploaded, replaced, deleted: paths. unchanged: files that were there already. commits: ids,
    none where nothing differed. bytes: of the files uploaded and replaced; of all in a dry run.
    """

    repo: str
    url: str
    revision: str
    rows: int
    files: Mapping[str, int]
    card: str
    uploaded: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: int = 0
    bytes: int = 0
    commits: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return dataclasses.asdict(self)


def push(
    folder: str | os.PathLike[str],
    repo: str,
    settings: PushSettings | None = None,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Listener = silent,
) -> PushResult:
    """Publish what `filter`, `score`, `dedup` or `decontaminate` wrote as the dataset `repo`.

    folder: a finished one, local or remote. repo: OWNER/NAME, made where it is absent. The parquet
    goes under data/, with manifest.json and a card that says what the rows are, how to repeat
    them, whose they are, and shows histograms. Of local places only the last name is published.

    Run again, it sends what is missing. overwrite: replace files that differ and delete parts that
    are no longer there; else such a dataset is refused. At most 200 files go into one commit (16
    of a remote folder); the card and the manifest go last. dry_run: nothing is sent or asked.

    Raises SourceError, SettingsError, SettingsConflict, StorageError.
    """
    settings = settings or PushSettings()
    if not _NAME.fullmatch(repo):
        raise SettingsError("is no name of a dataset", where=repo, todo="write OWNER/NAME")
    token = _token(settings.token_env)
    found = sources.find(folder)
    made = _publishable(found)
    parts = found.open_all()
    main = [part for part in parts if part.part.name not in _BESIDE]
    _check_rows(main, made, found.url)
    place = folder_at(found.url)
    progress(Progress("push", 0, len(parts), "files", "drawing the card"))
    files, said = _files(repo, parts, main, public(made), settings.license)
    before = PushResult(
        repo,
        f"{hub.endpoint()}/datasets/{repo}",
        settings.revision,
        said.rows,
        {each.path: each.size for each in files},
        files[-1].data.decode(),
        bytes=sum(each.size for each in files),
        dry_run=dry_run,
    )
    if dry_run:
        return before
    return _sent(before, files, place, settings, token, overwrite, progress)


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise SettingsError("names a variable that is not set", where=f"--token-env {variable}")
    return token


def _publishable(found: Source) -> Manifest:
    """The manifest of a folder that is metadata. Raises SourceError."""
    command = found.manifest.command if found.manifest else None
    if found.manifest is None or command not in _PUBLISHED:
        told = f"was written by `coyo {command}`" if command else "has no manifest of this tool"
        holds = ", which fetches pictures" if command == "download" else ""
        raise SourceError(
            told + holds,
            where=found.url,
            todo="push takes the metadata that filter, score, dedup and decontaminate write",
        )
    if not found.parts:
        raise SourceError("holds no parquet file", where=found.url)
    return found.manifest


def _check_rows(parts: Sequence[OpenPart], made: Manifest, where: str) -> None:
    """A part that was exchanged since would be published under a wrong digest."""
    said = made.result.get("rows_out", made.result.get("rows"))
    rows = sum(part.rows for part in parts)
    if said is not None and said != rows:
        raise SourceError(
            f"holds {rows:,} rows, and its manifest says {said:,}",
            where=where,
            todo=f"run the `coyo {made.command}` that made it again, with --overwrite",
        )


def _files(
    repo: str,
    parts: Sequence[OpenPart],
    main: Sequence[OpenPart],
    made: Manifest,
    license: str | None,
) -> tuple[list[Upload], Published]:
    """Everything the dataset is to hold, the card last; and what the card says."""
    beside = [part.part.name for part in parts if part not in main]
    drawn = picture(main, numeric_columns(main))
    schema = main[0].schema if main else []
    said = Published(
        repo,
        made,
        rows=sum(part.rows for part in main),
        bytes=sum(part.part.bytes for part in parts),
        columns=[(field.name, str(field.type)) for field in schema],
        configs={"default": f"{DATA}/*.parquet"} | {n.removesuffix(".parquet"): n for n in beside},
        license=license,
        drawn=drawn[1] if drawn else (),
    )
    texts = {PICTURE: drawn[0]} if drawn else {}
    texts[MANIFEST] = (json.dumps(made.to_json(), indent=2, allow_nan=False) + "\n").encode()
    texts[CARD] = card(said).encode()
    names = {p.part.name: p.part.name if p not in main else f"{DATA}/{p.part.name}" for p in parts}
    sizes = {part.part.name: part.part.bytes for part in parts}
    data = [Upload(path, sizes[name], name=name) for name, path in names.items()]
    return [*data, *(Upload(path, len(d), data=d) for path, d in texts.items())], said


def _is_ours(path: str) -> bool:
    """Whether `load_dataset` would take the file for rows of this dataset."""
    return path in _BESIDE or (path.startswith(f"{DATA}/") and path.endswith(".parquet"))


def _sent(
    before: PushResult,
    files: Sequence[Upload],
    place: Folder,
    settings: PushSettings,
    token: str | None,
    overwrite: bool,
    progress: Listener,
) -> PushResult:
    api = hub_push.connect(token)
    there = hub_push.opened(api, before.repo, settings.revision, private=settings.private)
    change = hub_push.compared(files, there.files, place, _is_ours)
    if not overwrite:
        _refuse_difference(change, before.url)
    changed = [*change.added, *change.replaced]
    message = settings.message or f"Add {before.rows:,} rows, {len(changed)} files"
    commits = hub_push.commit(
        api,
        there,
        change,
        place,
        message,
        lambda done: progress(Progress("push", done, len(changed), "files")),
    )
    return dataclasses.replace(
        before,
        uploaded=tuple(each.path for each in change.added),
        replaced=tuple(each.path for each in change.replaced),
        deleted=tuple(change.deleted),
        unchanged=len(change.unchanged),
        bytes=sum(each.size for each in changed),
        commits=tuple(commits),
    )


def _refuse_difference(change: Change, url: str) -> None:
    other = [each.path for each in change.replaced]
    if other or change.deleted:
        said = [f"another {other[0]}"] if other else []
        said += [f"{change.deleted[0]}, which the folder has not"] if change.deleted else []
        count = len(other) + len(change.deleted)
        more = f" and {count - len(said)} files more that differ" if count > len(said) else ""
        raise SettingsConflict(
            f"holds {', '.join(said)}{more}",
            where=url,
            todo="choose another NAME, or replace them with --overwrite",
        )
