"""One part's filter: when another may be begun beside it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.rules import rules_of
from coyo_tools.pieces.selections import entries_of
from coyo_tools.pieces.source import find
from coyo_tools.stages.filter import Filter, Hooks, filter_part
from tests.metadata import metadata, small_bites, write_parts

ROWS, BITE = 1_000, 100


@pytest.mark.parametrize(("passing", "room_from"), [(0.05, BITE), (0.5, ROWS)])
def test_another_part_is_begun_early_where_few_rows_pass(
    tmp_path: Path, passing: float, room_from: int
) -> None:
    faces = [0 if n % 100 < 100 * passing else 1 for n in range(ROWS)]
    table = metadata(ROWS)
    at = table.column_names.index("num_faces")
    table = table.set_column(at, "num_faces", pa.array(faces, pa.int32()))
    write_parts(tmp_path / "in", [table], row_group_size=BITE)
    (part,) = find(tmp_path / "in").open_all()
    judged: list[int] = []
    room: list[int] = []
    hooks = Hooks(on_rows=judged.append, on_room=lambda: room.append(sum(judged)))
    what = Filter(rules_of(entries_of({"max_faces": 0})), ("id",), "x", ids=False)
    with small_bites(BITE):
        done = filter_part(part, what, folder_at(tmp_path / "out"), tmp_path, hooks)
    assert done.counts.kept == passing * ROWS
    assert sum(judged) == ROWS
    assert room[0] == room_from
