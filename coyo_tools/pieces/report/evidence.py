"""What each folder is, and the counts its run left behind; rows are read elsewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from coyo_tools.machinery.manifest import read_manifest
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.pieces.report.views import Output, Step
from coyo_tools.words.errors import CorruptFile, SettingsError, SourceError, SourceNotFound
from coyo_tools.words.failures import SUCCESS

DRAWN = ("filter", "download", "score", "compare")
COMPARISON = "compare.json"
_SHARD = re.compile(r"(\d+)\.tar")
_AT_ONCE = 16


def recognise(url: str) -> Output:
    """What wrote the folder: its manifest says so, or img2dataset's shards are seen.

    Raises SourceNotFound, SourceError where its run has not finished, SettingsError where it
    is nothing a report draws.
    """
    folder = folder_at(url)
    manifest = read_manifest(folder)
    if manifest is None:
        return _without_manifest(folder)
    if not manifest.complete:
        raise SourceError(
            f"`coyo {manifest.command}` has not finished this folder",
            where=url,
            todo="run that command again first: it goes on where it stopped",
        )
    if manifest.command not in DRAWN:
        raise SettingsError(
            f"was made by `coyo {manifest.command}`, which a report does not draw",
            where=url,
            todo=f"name folders of {', '.join(DRAWN)}",
        )
    return Output(folder.url, manifest.command, manifest)


def _without_manifest(folder: Folder) -> Output:
    names = folder.names()
    if any(_SHARD.fullmatch(name) for name in names):
        return Output(folder.url, "download", None)
    if not names:
        raise SourceNotFound("no such folder, or nothing in it", where=folder.url, todo="check it")
    raise SettingsError(
        "holds neither a manifest.json nor tar shards",
        where=folder.url,
        todo=f"name output folders of {', '.join(DRAWN)}, or img2dataset's shards",
    )


def steps(result: Mapping[str, Any]) -> tuple[Step, ...]:
    """The funnel of a subset's manifest."""
    return tuple(
        Step(
            rule=str(line["rule"]),
            dropped=line.get("dropped"),
            dropped_alone=line.get("dropped_alone"),
            null=int(line.get("null") or 0),
            left=int(line["left"]),
            note=str(line.get("note") or ""),
        )
        for line in result["funnel"]
    )


def comparison(folder: Folder) -> Mapping[str, Any]:
    """The content of compare.json. Raises CorruptFile."""
    try:
        found = folder.read_json(COMPARISON)
        return {"columns": dict(found["columns"]), "notes": list(found.get("notes", ()))}
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            "is missing or no comparison",
            where=folder.url_of(COMPARISON),
            todo="run coyo compare again with --overwrite",
        ) from error


def shard_stems(folder: Folder) -> list[str]:
    """Stems of the shards in a folder, in order."""
    found = (_SHARD.fullmatch(name) for name in folder.names())
    return [match.group(1) for match in found if match]


def outcomes_of(output: Output) -> Counter[str]:
    """Rows by outcome: as the manifest has them, or added up from the shards' stats."""
    if output.manifest is not None and "by_error" in output.manifest.result:
        result = output.manifest.result
        return Counter({SUCCESS: int(result["successes"]), **result["by_error"]})
    folder = folder_at(output.url)
    return outcomes(folder, shard_stems(folder))


def outcomes(folder: Folder, stems: Sequence[str]) -> Counter[str]:
    """Rows by outcome, from the shards' stats: success, failure classes, or img2dataset's words.

    Raises CorruptFile where a shard has no readable stats.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda stem: _stats(folder, f"{stem}_stats.json"), stems)
        return sum((_by_outcome(stats) for stats in found), Counter())


def successes(folder: Folder, stem: str) -> int:
    """Pictures in one shard, by its stats. Raises CorruptFile."""
    return _by_outcome(_stats(folder, f"{stem}_stats.json"))[SUCCESS]


def _stats(folder: Folder, name: str) -> Mapping[str, Any]:
    try:
        stats = folder.read_json(name)
        _by_outcome(stats)
    except FileNotFoundError as error:
        raise CorruptFile("is missing beside its tar", where=folder.url_of(name)) from error
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFile("is no shard's stats", where=folder.url_of(name)) from error
    return dict(stats)


def _by_outcome(stats: Mapping[str, Any]) -> Counter[str]:
    """Classes where the shard has them; else img2dataset's counts by message."""
    counts = Counter({SUCCESS: int(stats["successes"])})
    errors = stats.get("errors")
    if errors is None:
        errors = {k: v for k, v in stats.get("status_dict", {}).items() if k != SUCCESS}
    counts.update({str(name): int(rows) for name, rows in errors.items()})
    return counts
