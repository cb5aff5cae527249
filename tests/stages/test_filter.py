"""One part's filter: when another may be begun beside it, and parts that are one bite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import written
from coyo_tools.pieces.rules import rules_of
from coyo_tools.pieces.selections import entries_of
from coyo_tools.pieces.source import find
from coyo_tools.stages import filter as stage
from coyo_tools.stages.filter import Filter, Filtered, Hooks, Stopped, filter_part
from coyo_tools.words.errors import CorruptFile
from tests.metadata import metadata, nasty, small_bites, write_parts

ROWS, BITE = 1_000, 100


# polars keeps every core busy with a part that is one bite: there is no room beside it.
@pytest.mark.parametrize(
    ("passing", "one_of", "room_from"), [(0.05, -1, BITE), (0.5, -1, ROWS), (0.05, BITE, ROWS)]
)
def test_another_part_is_begun_early_where_few_rows_pass(
    tmp_path: Path, passing: float, one_of: int, room_from: int
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
    with small_bites(BITE, one_of=one_of):
        done = filter_part(part, what, folder_at(tmp_path / "out"), tmp_path, hooks)
    assert done.counts.kept == passing * ROWS
    assert sum(judged) == ROWS
    assert room[0] == room_from


SOME = {"max_watermark": 0.15, "min_clip_l14": 0.2, "where": "num_faces = 0"}


def filtered(folder: Path, out: Path, columns: tuple[str, ...], **hooks: Any) -> Filtered:
    """The only part of a folder, by `SOME`."""
    (part,) = find(folder).open_all()
    out.mkdir()
    what = Filter(rules_of(entries_of(SOME)), columns, "x", ids=True)
    return filter_part(part, what, folder_at(out), out, Hooks(**hooks))


@pytest.mark.parametrize("rows", [1, 37, 250])
@pytest.mark.parametrize("columns", [("url",), ("id", "text", "watermark_score")])
def test_one_bite_gives_the_bytes_of_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, columns: tuple[str, ...]
) -> None:
    monkeypatch.setattr(written, "ROW_GROUP_ROWS", 100)
    write_parts(tmp_path / "in", [nasty(600)], row_group_size=rows)
    one = filtered(tmp_path / "in", tmp_path / "one", columns)
    with small_bites(300):
        several = filtered(tmp_path / "in", tmp_path / "several", columns)
    assert one.counts == several.counts
    assert 0 < one.counts.kept < one.counts.rows == 600
    name = "part-0.parquet"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "several" / name).read_bytes()
    ids = [np.sort(np.load(tmp_path / out / f"{name}.npy")) for out in ("one", "several")]
    assert np.array_equal(*ids)


def test_one_bite_is_written_by_its_own_query_and_again_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(tmp_path / "in", [nasty(600)], row_group_size=100)
    bitten, asked, told = stage._Query._bitten, [0], [0]

    def counted(query: Any) -> Any:
        asked[0] += 1
        return bitten(query)

    def heard(rows: int) -> None:
        told[0] += rows

    monkeypatch.setattr(stage._Query, "_bitten", counted)
    once = filtered(tmp_path / "in", tmp_path / "once", ("id", "url"), on_rows=heard)
    assert (asked, told) == ([0], [600])

    def fails_once(*given: Any) -> None:
        monkeypatch.setattr(stage, "write_frame", written.write_frame)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stage, "write_frame", fails_once)
    again = filtered(tmp_path / "in", tmp_path / "again", ("id", "url"))
    assert asked == [1]
    assert again.counts == once.counts
    name = "part-0.parquet"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_one_bite_that_breaks_or_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    (path,) = write_parts(tmp_path / "in", [metadata(4000)], row_group_size=100)
    judged: list[int] = []
    hooks: dict[str, Any] = {"on_rows": judged.append, "stopped": lambda: sum(judged) > 1000}
    with pytest.raises(Stopped):
        filtered(tmp_path / "in", tmp_path / "out", ("id",), **hooks)
    assert 1000 < sum(judged) < 4000
    assert not list((tmp_path / "out").iterdir())
    data = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(30).column(0).dictionary_page_offset
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"part-0.parquet: .*cannot be read"):
        filtered(tmp_path / "in", tmp_path / "broken", ("id",))
    assert not list((tmp_path / "broken").iterdir())
