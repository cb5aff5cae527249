"""Load filtered metadata and recomputed scores with `datasets`, joined by id.

Shows: what `coyo filter` and `coyo score` write is plain parquet. The scores lie in files of their
own beside the shards; `id` joins them to the metadata. The join here is a dictionary, for scores
that fit into memory; for more, let polars or duckdb join the same files.

    python examples/load_with_datasets.py [SUBSET] [SCORES]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset


def parquet(folder: Path) -> Dataset:
    """Every parquet file of a folder as one dataset."""
    files = sorted(str(path) for path in folder.glob("*.parquet"))
    if not files:
        raise SystemExit(f"{folder} holds no parquet; run: coyo demo")
    return load_dataset("parquet", data_files=files, split="train")


def joined(subset: Dataset, scores: Dataset) -> Dataset:
    """The rows of `subset` that have scores, with the scores' columns as `new_...`."""
    by_id = {row["id"]: row for row in scores}
    names = [name for name in scores.column_names if name not in ("id", "key", "error")]

    def add(row: dict[str, Any]) -> dict[str, Any]:
        return {f"new_{name}": by_id[row["id"]][name] for name in names}

    return subset.filter(lambda row: row["id"] in by_id).map(add)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("subset", nargs="?", type=Path, default=Path("coyo-demo/subset"))
    parser.add_argument("scores", nargs="?", type=Path, default=Path("coyo-demo/scores"))
    args = parser.parse_args()
    subset, scores = parquet(args.subset), parquet(args.scores)
    rows = joined(subset, scores)
    print(f"{len(subset)} rows kept by the filter, {len(rows)} of them fetched and scored")
    for row in rows.select(range(min(5, len(rows)))):
        same = row.get("image_phash") == row.get("new_image_phash")
        print(f"{row['id']}  same hash: {same!s:5}  {row['text'][:60]!r}")


if __name__ == "__main__":
    main()
