"""The join on id, in which the first row of an id counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def first_rows(wanted: Array, found: Array, ids: Array) -> tuple[Array, Array, int]:
    """Where ids that are still wanted occur for the first time.

    wanted: int64, ascending, each once. found: bool, of those already met. ids: int64 (n,), no
    null among them. Returns places in `wanted`, ascending, for each its row in `ids`, and how many
    further rows have a wanted id.
    """
    import numpy as np

    if not len(wanted) or not len(ids):
        return np.empty(0, np.intp), np.empty(0, np.intp), 0
    place = np.searchsorted(wanted, ids).clip(max=len(wanted) - 1)
    hit = np.flatnonzero(wanted[place] == ids)
    places, first = np.unique(place[hit], return_index=True)
    new = ~found[places]
    places, rows = places[new], hit[first[new]]
    return places, rows, len(hit) - len(places)
