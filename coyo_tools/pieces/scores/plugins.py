"""Scores of other installed packages, found by the entry point group `coyo_tools.scores`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from coyo_tools.machinery.without_pandas import keep_pandas
from coyo_tools.pieces.scores.base import Score, weights_of
from coyo_tools.words.errors import PluginError

GROUP = "coyo_tools.scores"


def plugins(own: Sequence[Score], taken: Iterable[str]) -> tuple[Score, ...]:
    """What installed packages declare, in the order of their entry points' names.

    own: the scores of this package; taken: further column names that are not to be used. Raises
    PluginError on a plugin that cannot be loaded, is no score, or uses a name that is taken, be it
    of a column, a score, or other weights.
    """
    found: list[Score] = []
    names = {score.name for score in own}
    columns = {column.name for score in own for column in score.columns} | set(taken)
    files = weights_of(own)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        for score in _load(point):
            for column in score.columns:
                if column.name in columns:
                    raise _wrong(point, f"gives a column {column.name!r}, which there is already")
                columns.add(column.name)
            if score.name in names:
                raise _wrong(point, f"is named {score.name!r}, as another score is")
            for name, weights in weights_of([score]).items():
                if files.setdefault(name, weights) != weights:
                    raise _wrong(point, f"has weights named {name!r}, which there are already")
            names.add(score.name)
            found.append(score)
    return tuple(found)


def _load(point: EntryPoint) -> Sequence[Score]:
    keep_pandas()
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
