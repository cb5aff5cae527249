"""What shortcuts of a run do to its values, measured on its first pictures.

Half precision, resizing on the device and scaled decoding each move values. The first shard of
such a run keeps, in the metadata of its parquet, how far: against float32, pictures decoded in
full and resized by Pillow, which is what open_clip does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, np.dtype[np.float64]]

MEASURED_ROWS = 32
METADATA_KEY = "coyo.score"
_FIELD = "precision_difference"


def differences(found: pa.Table, exact: pa.Table) -> dict[str, dict[str, float]]:
    """Of each column of floats the `mean` and the `largest` absolute difference, where there is
    one, and of how many `rows`: those that have a number in both. `lost`: where there are any, rows
    that have a number only without shortcuts, as where half precision overflows. Of a list of
    floats each is taken as a row of its own. exact: the first rows, scored without shortcuts.
    """
    import numpy as np

    said = {}
    for name in exact.column_names:
        columns = [table.column(name).slice(0, exact.num_rows) for table in (found, exact)]
        if (pair := _as_numbers(*columns)) is None:
            continue
        ours, theirs = pair
        numbers = np.isfinite(ours) & np.isfinite(theirs)  # a null is NaN here
        lost = int(np.sum(np.isfinite(theirs) & ~numbers))
        apart = np.abs(ours - theirs)[numbers]
        figures = {"mean": float(apart.mean()), "largest": float(apart.max())} if len(apart) else {}
        if figures or lost:
            said[name] = {**figures, "rows": len(apart)} | ({"lost": lost} if lost else {})
    return said


def _as_numbers(found: pa.ChunkedArray, exact: pa.ChunkedArray) -> tuple[Array, Array] | None:
    """Two columns of floats, or of lists of them, as float64 (n,), NaN for null; None of others.

    Rows that are null on one side have as many nulls as the other side's list is long.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(exact.type):
        ours, theirs = (pc.cast(each, pa.float64()).to_numpy() for each in (found, exact))
        return ours, theirs
    if not (pa.types.is_list(exact.type) and pa.types.is_floating(exact.type.value_type)):
        return None
    rows = [
        (ours or [None] * len(theirs or ()), theirs or [None] * len(ours or ()))
        for ours, theirs in zip(found.to_pylist(), exact.to_pylist(), strict=True)
    ]
    flat = ([x for pair in rows for x in pair[side]] for side in (0, 1))
    ours, theirs = (np.array(numbers, np.float64) for numbers in flat)
    return ours, theirs


def in_words(apart: Mapping[str, float]) -> str:
    """What `differences` says of one column, to be put behind "differs"."""
    lost = f"{apart['lost']} that lost their value" if apart.get("lost") else ""
    if not apart["rows"]:
        return f"in all of the first rows: {lost}"
    figures = (
        f"by {apart['mean']:.2g} in the mean of the first {apart['rows']} rows, "
        f"{apart['largest']:.2g} at most"
    )
    return f"{figures}; {lost} beside them" if lost else figures


def as_metadata(said: Mapping[str, Any]) -> dict[str, str]:
    """What the parquet of the first shard keeps of it."""
    return {METADATA_KEY: json.dumps({_FIELD: said}, sort_keys=True)}


def from_metadata(kept: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What `as_metadata` kept; {} where there is nothing."""
    found = json.loads((kept or {}).get(METADATA_KEY.encode(), b"{}"))
    return dict(found.get(_FIELD, {}))
