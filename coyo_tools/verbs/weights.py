"""`weights`: the model files that scores need: which, from where, and whether they are here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coyo_tools.pieces.scores import FAMILIES, known_scores, scores_of, weights_cache
from coyo_tools.pieces.scores.base import Weights, weights_of
from coyo_tools.pieces.scores.families import column_name
from coyo_tools.words.errors import SettingsError, WeightsError, nearest
from coyo_tools.words.progress import Listener, silent

ABSENT, HERE, RIGHT, UNKNOWN, WRONG = "absent", "here", "right", "not known", "wrong"


@dataclass(frozen=True)
class WeightsState:
    """One weights file and what is known of it.

    columns: that need it. sha256: it should have, None where not known. git_blob: the same as git
    counts it, of a file of a git repository. state: absent; here (not looked at); right (of that
    digest); not known (whole for all one can see, no digest to compare with); wrong. note: what is
    wrong. todo: what to do about it.
    """

    name: str
    file: str
    columns: tuple[str, ...]
    source: str
    revision: str
    bytes: int | None
    sha256: str | None
    git_blob: str | None
    licence: str
    citation: str
    state: str
    path: str | None = None
    note: str = ""
    todo: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return asdict(self)


def weights(names: Sequence[str] = ()) -> tuple[WeightsState, ...]:
    """The weights files of every score, or those of these names. Fetches and reads nothing.

    Raises SettingsError.
    """
    return tuple(_state(each, HERE) for each in _chosen(names))


def fetch_weights(names: Sequence[str], *, progress: Listener = silent) -> tuple[WeightsState, ...]:
    """Fetch what is absent or wrong, go on with what was interrupted, and compare with its sha256.

    Raises SettingsError, WeightsError, StorageError, FolderBusy.
    """
    if not names:
        raise SettingsError("no weights named", where="weights", todo="name one of them")
    chosen = _chosen(names)
    for each in chosen:
        if _verified(each).state in (ABSENT, WRONG):
            weights_cache.fetch_anew(each, progress)
    return tuple(_verified(each) for each in chosen)


def verify_weights(names: Sequence[str] = ()) -> tuple[WeightsState, ...]:
    """Read what is here and say what is wrong with it. Fetches nothing. Raises SettingsError."""
    return tuple(_verified(each) for each in _chosen(names))


def _chosen(names: Iterable[str]) -> list[Weights]:
    """The weights of these names, or all that belong to a chosen model's column."""
    known = weights_of(known_scores())
    chosen: dict[str, Weights] = {}
    for name in names:
        if name in known:
            chosen[name] = known[name]
        elif any(family.described(name) for family in FAMILIES):
            chosen |= weights_of(scores_of([name]))
        elif family := next((f for f in FAMILIES if name in f.columns), None):
            whole = column_name(name, family.suggestions[0])
            raise SettingsError(
                f"{name} has weights of the model that is chosen for it",
                where="weights",
                todo=f"name the column of one, such as {whole}",
            )
        else:
            near = nearest(name, list(known))
            raise SettingsError(
                f"there are no weights {name!r}",
                where="weights",
                todo=f"did you mean {near!r}?" if near else f"those are {', '.join(known)}",
            )
    return list(chosen.values()) or list(known.values())


def _verified(wanted: Weights) -> WeightsState:
    path = weights_cache.at_hand(wanted)
    if path is None:
        return _state(wanted, ABSENT)
    try:
        weights_cache.check(wanted, path)
        known = weights_cache.known_sha256(wanted, weights_cache.files_of(wanted, path)[0])
    except WeightsError as error:
        return _state(wanted, WRONG, error.what)
    return _state(wanted, RIGHT if known or wanted.git_blob else UNKNOWN)


def _state(wanted: Weights, state: str, note: str = "") -> WeightsState:
    path = weights_cache.at_hand(wanted)
    files = weights_cache.files_of(wanted, path) if path else []
    users = [score for score in known_scores() if wanted.name in weights_of([score])]
    columns = [column.name for score in users for column in score.columns] or [wanted.name]
    return WeightsState(
        name=wanted.name,
        file=wanted.file,
        columns=tuple(columns),
        source=wanted.source,
        revision=wanted.revision,
        bytes=sum(file.stat().st_size for file in files) if files else wanted.bytes,
        sha256=weights_cache.known_sha256(wanted, files[0]) if files else wanted.sha256,
        git_blob=wanted.git_blob,
        licence=wanted.licence,
        citation=wanted.citation,
        state=ABSENT if path is None else state,
        path=None if path is None else str(path),
        note=note,
        todo=weights_cache.how_to_mend(wanted) if state == WRONG else "",
    )
