"""What has been fetched stays, until it is dropped; a kill in the middle leaves no lie."""

from __future__ import annotations

import pytest

from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces import source
from coyo_tools.pieces.bites import bites, serve
from coyo_tools.pieces.held import Held
from tests.metadata import metadata, write_parts
from tests.servers.files import FileServer


@pytest.fixture
def server(tmp_path):
    write_parts(tmp_path / "m", [metadata(3000, 1)])
    with FileServer(tmp_path / "m") as running:
        yield running


def opened(server, held):
    part = source.part_at(f"{server.base_url}/files/part-0.parquet")
    return source.open_part(part, traffic=Traffic()).holding(held)


def fetched_by(part, columns, groups=range(3)):
    """The values of the columns, and the bytes that came for them."""
    before = part.traffic.fetched().bytes
    rows = []
    for bite in bites(part, 1):
        if bite.row_groups.start in groups:
            with serve(bite) as served:
                rows += served.scan(columns).collect().rows()
    return rows, part.traffic.fetched().bytes - before


def size_of(part, *columns):
    groups = [part.metadata.row_group(n) for n in range(3)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(c.total_compressed_size for c in chunks if c.path_in_schema in columns)


ROWS = list(
    zip(*metadata(3000, 1).select(["id", "width", "url"]).to_pydict().values(), strict=True)
)


def test_a_column_is_fetched_once_by_this_process_and_the_next(server, tmp_path):
    held = Held(tmp_path / "held")
    part = opened(server, held)
    first, cost = fetched_by(part, ["id", "width"])
    assert (first, cost) == ([row[:2] for row in ROWS], size_of(part, "id", "width"))
    assert fetched_by(part, ["width", "id"]) == ([row[1::-1] for row in ROWS], 0)
    assert fetched_by(part, ["id", "width", "url"]) == (ROWS, size_of(part, "url"))
    later = opened(server, Held(tmp_path / "held"))
    assert fetched_by(later, ["id", "width", "url"]) == (ROWS, 0)


def test_only_some_columns_are_held(server, tmp_path):
    part = opened(server, Held(tmp_path / "held", ["id"]))
    assert fetched_by(part, ["id", "width"])[1] == size_of(part, "id", "width")
    assert fetched_by(part, ["id"]) == ([row[:1] for row in ROWS], 0)
    assert fetched_by(part, ["width"])[1] == size_of(part, "width")


def test_a_torn_journal_costs_what_it_lost_and_no_more(server, tmp_path):
    part = opened(server, Held(tmp_path / "held"))
    fetched_by(part, ["id"], groups=[0, 1])
    (journal,) = (tmp_path / "held").glob("*.journal")
    whole = journal.read_text()
    journal.write_text(whole[:-4])  # the second row group's line, cut by a kill
    again = opened(server, Held(tmp_path / "held"))
    assert fetched_by(again, ["id"], groups=[0])[1] == 0
    assert fetched_by(again, ["id"], groups=[1])[1] > 0
    assert fetched_by(opened(server, Held(tmp_path / "held")), ["id"], groups=[0, 1])[1] == 0


def test_another_file_of_the_same_name_is_not_taken_for_it(server, tmp_path):
    fetched_by(opened(server, Held(tmp_path / "held")), ["id"])
    write_parts(tmp_path / "m", [metadata(3000, 2)])
    rows, cost = fetched_by(opened(server, Held(tmp_path / "held")), ["id"])
    assert [row[0] for row in rows] == metadata(3000, 2)["id"].to_pylist()
    assert cost > 0


def test_what_is_dropped_is_gone_and_can_be_fetched_anew(server, tmp_path):
    held = Held(tmp_path / "held")
    part = opened(server, held)
    fetched_by(part, ["id"])
    held.drop(part)
    assert list((tmp_path / "held").iterdir()) == []
    assert fetched_by(part, ["id"])[1] == size_of(part, "id")
    held.clear()
    assert not (tmp_path / "held").exists()


def test_a_local_part_holds_nothing(tmp_path):
    (path,) = write_parts(tmp_path / "m", [metadata(10)])
    part = source.open_part(source.part_at(str(path)))
    assert part.holding(Held(tmp_path / "held")) is part
