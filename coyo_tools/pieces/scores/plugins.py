"""Scores of other installed packages, found by the entry point group `coyo_tools.scores`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from coyo_tools.pieces.scores.base import Score, weights_of
from coyo_tools.words.errors import PluginError

GROUP = "coyo_tools.scores"


def plugins(own: Sequence[Score], taken: Iterable[str]) -> tuple[Score, ...]:
    """What installed packages declare, in the order of their entry points' names.

    own: the scores of this package; taken: further column names that are not to be used. Raises
    PluginError on a plugin that cannot be loaded, is no score, or uses a name that is taken.
    """
    found: list[Score] = []
    names = {column.name for score in own for column in score.columns} | set(taken)
    files = set(weights_of(own))
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        scores = _load(point)
        new = [column.name for score in scores for column in score.columns]
        own_files = [score.weights.name for score in scores if score.weights]
        for name in new:
            if name in names or new.count(name) > 1:
                raise _wrong(point, f"gives a column {name!r}, which there is already")
        for name in own_files:
            if name in files:
                raise _wrong(point, f"has weights named {name!r}, which there are already")
        names |= set(new)
        files |= set(own_files)
        found += scores
    return tuple(found)


def _load(point: EntryPoint) -> Sequence[Score]:
    try:
        found = point.load()
    except Exception as error:  # a foreign module raises anything
        said = (str(error).strip().splitlines() or [""])[0][:200]
        raise _wrong(point, f"cannot be imported: {type(error).__name__}: {said}") from error
    scores = found if isinstance(found, tuple | list) else (found,)
    if not scores or not all(isinstance(score, Score) for score in scores):
        raise _wrong(point, "is neither a Score nor a tuple of them")
    return scores


def _wrong(point: EntryPoint, what: str) -> PluginError:
    package = point.dist.name if point.dist else "?"
    return PluginError(
        f"the score plugin {point.name} = {point.value} {what}",
        where=package,
        todo=f"update it, or run: pip uninstall {package}",
    )
