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
    import pyarrow as pa

MEASURED_ROWS = 32
METADATA_KEY = "coyo.score"
_FIELD = "precision_difference"


def differences(found: pa.Table, exact: pa.Table) -> dict[str, dict[str, float]]:
    """Of each column of floats the `mean` and the `largest` absolute difference, where there is
    one, and of how many `rows`: those that have a number in both. `lost`: where there are any, rows
    that have a number only without shortcuts, as where half precision overflows. exact: the first
    rows, scored without shortcuts.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    said = {}
    for field in exact.schema:
        if not pa.types.is_floating(field.type):
            continue
        ours, theirs = (
            pc.cast(table.column(field.name).slice(0, exact.num_rows), pa.float64()).to_numpy()
            for table in (found, exact)
        )
        numbers = np.isfinite(ours) & np.isfinite(theirs)  # a null is NaN here
        lost = int(np.sum(np.isfinite(theirs) & ~numbers))
        apart = np.abs(ours - theirs)[numbers]
        figures = {"mean": float(apart.mean()), "largest": float(apart.max())} if len(apart) else {}
        if figures or lost:
            said[field.name] = {**figures, "rows": len(apart)} | ({"lost": lost} if lost else {})
    return said


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
