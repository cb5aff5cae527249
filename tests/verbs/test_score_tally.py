"""What finished score files come to, whatever their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coyo_tools.machinery.manifest import digest_of_ids
from coyo_tools.verbs.score_tally import Tally
from tests.files import few_files

MANY = (1 << 22) + 1  # rows, so that their ids are not kept in memory


def test_more_files_than_may_be_open_at_once(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(MANY + 80)
    cuts = [ids[:MANY], *ids[MANY:].reshape(80, 1)]
    with few_files(60):
        tally = Tally([], tmp_path)
        for number, cut in enumerate(cuts):
            file = tmp_path / f"{number}.parquet"
            pq.write_table(pa.table({"id": cut, "error": pa.nulls(len(cut), pa.string())}), file)
            tally.take(str(file), file.name)
        assert digest_of_ids(tally.runs()) == digest_of_ids([np.arange(MANY + 80)])
    assert tally.result() == {"rows": MANY + 80, "errors": {}, "columns": {}}


def test_values_nulls_means_and_errors(tmp_path: Path) -> None:
    infinite = float("inf")
    tally = Tally(["number", "label"], tmp_path)
    for name, numbers in (("a.parquet", [1.0, None, 4.0]), ("b.parquet", [infinite, 1.0, None])):
        columns = {
            "id": [3, None, 1],
            "number": pa.array(numbers, pa.float32()),
            "label": ["x", None, None],
            "error": pa.array([None, "empty", None], pa.string()),
        }
        pq.write_table(pa.table(columns), tmp_path / name)
        tally.take(str(tmp_path / name), name)
    assert tally.result() == {
        "rows": 6,
        "errors": {"empty": 2},
        "columns": {
            "number": {"values": 4, "nulls": 2, "mean": 2.0},
            "label": {"values": 2, "nulls": 4, "mean": None},
        },
    }
    assert digest_of_ids(tally.runs()) == digest_of_ids([np.array([1, 1, 3, 3])])
