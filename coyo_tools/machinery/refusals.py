"""What keeps a run out of a folder: whose it is, what is in it, and what differs, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import Folder
from coyo_tools.machinery.within import names_within
from coyo_tools.words.errors import SettingsConflict, SettingsError

if TYPE_CHECKING:
    from coyo_tools.machinery.manifest import Manifest

EMPTYING = {"emptying": True}  # the result of a folder that --overwrite is about to empty
_SHOWN = 80  # characters of a setting in an error
_ABSENT = object()


def refuse_input(folder: Folder, found: Manifest, reads: Sequence[str]) -> None:
    """A file that the run reads is neither to be emptied away nor to be written over.

    Raises SettingsError.
    """
    inside = names_within(folder.url, reads)
    taken = sorted(name for name in inside if "/" not in name or name in found.files)
    if taken:
        raise SettingsError(
            f"holds {taken[0]}, which is input of this run",
            where=folder.url,
            todo="choose a folder beside it with -o",
        )


def refuse_strangers(folder: Folder, overwrite: bool) -> None:
    """A folder without a manifest has to be empty. Raises SettingsConflict."""
    strangers = folder.names()
    if strangers:
        why = "--overwrite empties only folders this tool wrote" if overwrite else ""
        raise SettingsConflict(
            f"holds files that are not this tool's ({strangers[0]})",
            where=folder.url,
            todo="choose an empty or new folder with -o" + (f": {why}" if why else ""),
        )


def refuse_difference(
    folder: Folder, found: Manifest, wanted: Manifest, makes: Mapping[str, Sequence[str]]
) -> None:
    """A folder belongs to one command, its settings and its inputs. Raises SettingsConflict.

    makes: as `begin` has it.
    """
    if found.result == EMPTYING:
        raise SettingsConflict(
            "was being emptied when a run with --overwrite ended",
            where=folder.url,
            todo="run it with --overwrite again",
        )
    if _may_have_changed(folder, found, wanted, makes):
        found = replace(found, inputs=plain(wanted.inputs))
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
    old, new = found.inputs, plain(wanted.inputs)
    if found.complete or [i.get("name") for i in old] != [i.get("name") for i in new]:
        return False
    changed = [i["name"] for i, was in zip(new, old, strict=True) if i != was]
    there = set(folder.names())
    return all(name in makes and makes[name][-1] not in there for name in changed)


def plain(inputs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """As a manifest that was read has them."""
    read: list[Any] = json.loads(json.dumps(list(inputs)))
    return read


def difference_between(found: Manifest, wanted: Manifest) -> str | None:
    """The first differences of two manifests as a phrase; None where the same run made both."""
    if found.command != wanted.command:
        return f"it was made by `coyo {found.command}`, this is `coyo {wanted.command}`"
    asked = json.loads(json.dumps(wanted.settings))
    names = [n for n in {**found.settings, **asked} if found.settings.get(n) != asked.get(n)]
    if names:
        return "; ".join(_change(n, found.settings.get(n), asked.get(n)) for n in names[:3])
    return _input_difference(found.inputs, plain(wanted.inputs))


def _change(name: str, old: Any, new: Any) -> str:
    """`name was OLD, is NEW`; of what is too long to show, the first place that differs."""
    if max(len(_text(old)), len(_text(new))) > _SHOWN:
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            at = next(i for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
            return _change(f"{name}[{at}]", old[at], new[at])
        if isinstance(old, dict) and isinstance(new, dict):
            pairs = {k: (old.get(k, _ABSENT), new.get(k, _ABSENT)) for k in {**old, **new}}
            key = next(key for key, (was, now) in pairs.items() if was != now)
            return _change(f"{name}.{key}", *pairs[key])
    return f"{name} was {_brief(old)}, is {_brief(new)}"


def _brief(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _text(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


def _input_difference(found: Sequence[Any], wanted: Sequence[Any]) -> str | None:
    if len(found) != len(wanted):
        return f"its input had {len(found)} files, this one has {len(wanted)}"
    for old, new in zip(found, wanted, strict=True):
        if old != new:
            names = [n for n in {**old, **new} if old.get(n) != new.get(n)]
            return f"input {new.get('name', new)} differs in {', '.join(names)}"
    return None
