"""The figures of `compare`: of each column, and of what became of the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import agreement
from coyo_tools.pieces.phash import UNKNOWN
from coyo_tools.pieces.scores import score_of
from coyo_tools.stages.compare import PHASH, PHASH_NOW, Joined, Values
from coyo_tools.words.schema import COYO

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LARGEST = 200  # rows a column in differences.parquet


def drift_of(joined: Joined) -> Array:
    """What became of every picture: the stored hash against the one of what was fetched.

    The hash of the fetched original is taken where the source has it, else the recomputed one.
    """
    import numpy as np

    then = joined.stored.get(PHASH)
    now = joined.stored.get(PHASH_NOW) or joined.recomputed.get(PHASH)
    if then is None or now is None:
        return np.full(len(joined.ids), agreement.DRIFTS.index(UNKNOWN))
    distance = agreement.bits(then.array, now.array)
    return agreement.drifts(distance, then.known & now.known)


def counts(drift: Array) -> dict[str, int]:
    """Rows by what became of their picture."""
    return {name: int((drift == i).sum()) for i, name in enumerate(agreement.DRIFTS)}


def figures_of(
    name: str, kind: str, joined: Joined, drift: Array
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One entry of compare.json, and the column's rows of differences.parquet.

    kind: as `comparable` has it. drift: as `drift_of` gives it.
    """
    import numpy as np

    ours = joined.recomputed[name]
    theirs = joined.stored.get(name) or Values(ours.array, np.zeros(len(ours.known), bool))
    both = joined.found & ours.known & theirs.known
    ids, stored, recomputed = joined.ids[both], theirs.array[both], ours.array[both]
    precision = _precision(name, kind, ours, theirs)
    head = {
        "kind": kind,
        "precision": precision,
        "missing_stored": int((joined.found & ~theirs.known).sum()),
        "missing_recomputed": int((joined.found & ~ours.known).sum()),
    }
    if kind == "hash":
        figures = agreement.hashes(stored, recomputed)
        difference = agreement.bits(stored, recomputed)
    else:
        difference = agreement.differences(stored, recomputed)
        figures = agreement.numbers(stored, recomputed, precision)
        figures["histogram"] = agreement.histogram(difference)
        drawn = agreement.sample(ids, stored, recomputed)
        figures["sample"] = agreement.pairs(stored[drawn], recomputed[drawn])
        figures["by_drift"] = _by_drift(name, stored, recomputed, drift[both], precision)
        if figures["by_drift"]:  # a letter a pair
            letters = [agreement.DRIFTS[i][0] for i in drift[both][drawn]]
            figures["sample_drift"] = "".join(letters)
    score = score_of(name)
    figures["notes"] = [score.note] if score and score.note else []
    chosen = agreement.largest(ids, difference, LARGEST)
    rows = [_row(name, kind, i, ids, stored, recomputed, difference, drift[both]) for i in chosen]
    return head | figures, rows


def _precision(name: str, kind: str, ours: Values, theirs: Values) -> str:
    """In what two values count as equal: the column's own precision."""
    if kind == "hash":
        return agreement.HASH
    if name in COYO and COYO[name].float16_valued:
        return agreement.FLOAT16
    kinds = {ours.array.dtype.kind, theirs.array.dtype.kind}
    if kinds <= {"i", "u"}:
        return agreement.INTEGER
    small = min(ours.array.dtype.itemsize, theirs.array.dtype.itemsize) <= 4
    return agreement.FLOAT32 if small else agreement.FLOAT64


def _by_drift(
    name: str, stored: Array, recomputed: Array, drift: Array, precision: str
) -> dict[str, Any]:
    """The same figures for pictures unchanged, drifted, replaced; {} for columns of the text."""
    score = score_of(name)
    if score is not None and not score.needs_image:
        return {}
    return {
        kind: agreement.numbers(stored[drift == i], recomputed[drift == i], precision)
        for i, kind in enumerate(agreement.DRIFTS)
    }


def _row(
    name: str,
    kind: str,
    at: int,
    ids: Array,
    stored: Array,
    recomputed: Array,
    difference: Array,
    drift: Array,
) -> dict[str, Any]:
    def said(value: Any) -> str:
        return f"{int(value):016x}" if kind == "hash" else repr(value.item())

    return {
        "id": int(ids[at]),
        "column": name,
        "stored": said(stored[at]),
        "recomputed": said(recomputed[at]),
        "difference": float(difference[at]),
        "drift": agreement.DRIFTS[int(drift[at])],
    }
