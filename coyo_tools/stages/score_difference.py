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
    """Of each column of floats the `mean` and the `largest` absolute difference, and of how many
    `rows`: those that have a value in both. exact: the first rows, scored without shortcuts.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    said = {}
    for field in exact.schema:
        if not pa.types.is_floating(field.type):
            continue
        ours = found.column(field.name).slice(0, exact.num_rows)
        both = pc.subtract(ours.cast(pa.float64()), exact.column(field.name).cast(pa.float64()))
        apart = np.abs(both.drop_null().to_numpy())
        if len(apart):
            said[field.name] = {
                "mean": float(apart.mean()),
                "largest": float(apart.max()),
                "rows": len(apart),
            }
    return said


def as_metadata(said: Mapping[str, Any]) -> dict[str, str]:
    """What the parquet of the first shard keeps of it."""
    return {METADATA_KEY: json.dumps({_FIELD: said}, sort_keys=True)}


def from_metadata(kept: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What `as_metadata` kept; {} where there is nothing."""
    found = json.loads((kept or {}).get(METADATA_KEY.encode(), b"{}"))
    return dict(found.get(_FIELD, {}))
