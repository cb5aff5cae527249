from __future__ import annotations

import io
import json
import random
import tarfile
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import shards
from coyo_tools.pieces.rows import Outcome, Rows, key_of, layout, to_shard_columns
from coyo_tools.words.errors import CorruptFile, SchemaError
from coyo_tools.words.failures import Failure


def rows(count: int, first_id: int = 1 << 41) -> Rows:
    table = pa.table(
        {
            "id": pa.array([first_id + 3 * n for n in range(count)], pa.int64()),
            "url": [f"http://example.org/{n}" for n in range(count)],
            "text": [f"caption {n}" if n % 5 else None for n in range(count)],
            "width": pa.array([640] * count, pa.int32()),
            "clip": pa.array([float("nan") if n == 1 else 0.5 for n in range(count)], pa.float32()),
        }
    )
    columns = layout(table.column_names, "here", with_phash=False)
    return Rows(to_shard_columns(table, columns, 0), with_phash=False)


def outcome(row: int) -> Outcome:
    if row % 4 == 3:
        return Outcome(Failure("http_404", "HTTP status 404"))
    data = random.Random(row).randbytes(50 + 97 * row % 2000)
    return Outcome(None, "png" if row % 6 == 1 else "jpg", data, 10, 20, 30, 40, f"{row:064x}")


def write(folder, number: int, count: int, order=None, **options) -> dict:
    writer = shards.ShardWriter(folder, number, rows(count), **options)
    for row in order if order is not None else range(count):
        writer.add(row, outcome(row))
    return writer.finish({"attempts": 1})


@given(st.text("abc019.", min_size=1, max_size=100), st.binary(max_size=2000))
def test_a_member_is_what_tarfile_reads(name, data):
    archive = shards.member(name, data) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (info,) = tar.getmembers()
        assert (info.name, info.mode, info.mtime, info.uid) == (name, 0o644, 0, 0)
        assert tar.extractfile(info).read() == data


def test_a_name_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        shards.member("x" * 101, b"")


def test_members_lie_in_row_order_whatever_order_rows_came_in(tmp_path):
    folder = folder_at(tmp_path)
    write(folder, 0, 40)
    order = list(range(40))
    random.Random(5).shuffle(order)
    write(folder, 1, 40, order)
    first, second = ((tmp_path / f"0000{n}.tar").read_bytes() for n in (0, 1))
    assert first == second
    with tarfile.open(tmp_path / "00000.tar") as tar:
        names = tar.getnames()
        ids = [(1 << 41) + 3 * n for n in range(40) if n % 4 != 3]
        assert [n.split(".")[0] for n in names[::3]] == [key_of(i) for i in ids]
        assert {n.split(".")[1] for n in names[1::3]} == {"txt"}
        assert tar.extractfile(names[1]).read() == b""  # a null caption
        record = json.loads(tar.extractfile(names[5]).read())
    assert record["key"] == names[5].split(".")[0]
    assert record["metadata_width"] == 640
    assert record["clip"] is None  # NaN is no JSON
    assert record["status"] == "success"


def test_samples_that_wait_for_long_go_to_a_file_and_come_back(tmp_path, monkeypatch):
    write(folder_at(tmp_path / "a"), 0, 60)
    monkeypatch.setattr(shards, "_IN_MEMORY_BYTES", 5000)
    write(folder_at(tmp_path / "b"), 0, 60, reversed(range(60)))
    assert (tmp_path / "a/00000.tar").read_bytes() == (tmp_path / "b/00000.tar").read_bytes()
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
    ]


def test_rows_may_come_from_many_threads(tmp_path):
    folder = folder_at(tmp_path)
    write(folder, 0, 200)
    writer = shards.ShardWriter(folder, 1, rows(200))
    threads = [
        threading.Thread(target=lambda k=k: [writer.add(r, outcome(r)) for r in range(k, 200, 4)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.finish({})
    assert (tmp_path / "00000.tar").read_bytes() == (tmp_path / "00001.tar").read_bytes()


def test_the_table_has_every_row_and_the_stats_add_up(tmp_path):
    stats = write(folder_at(tmp_path), 7, 41)
    table = pq.read_table(tmp_path / "00007.parquet")
    assert table.num_rows == stats["count"] == 41
    assert stats["status_dict"] == {"success": 31, "http_404": 10}
    assert stats["errors"] == {"http_404": 10}
    assert stats["successes"] + stats["failed_to_download"] + stats["failed_to_resize"] == 41
    assert table.column("key").to_pylist()[0] == "0002199023255552"
    assert [len(k) for k in table.column("key").to_pylist()] == [16] * 41
    empty = shards.ShardWriter(folder_at(tmp_path), 8, rows(3))
    for row in range(3):
        empty.add(row, Outcome(Failure("empty")))
    empty.finish({})
    assert pq.read_schema(tmp_path / "00008.parquet").equals(table.schema)


def test_a_shard_is_not_there_before_its_stats(tmp_path):
    folder = folder_at(tmp_path)
    write(folder, 0, 8)
    write(folder, 1, 8)
    assert set(shards.finished(folder)) == {0, 1}
    (tmp_path / "00001_stats.json").unlink()
    assert set(shards.finished(folder)) == {0}
    with (tmp_path / "00000.tar").open("ab") as tar:
        tar.write(b"x")
    assert not shards.finished(folder)


def test_an_unfinished_shard_leaves_nothing(tmp_path):
    writer = shards.ShardWriter(folder_at(tmp_path), 0, rows(8))
    writer.add(0, outcome(0))
    writer.abort()
    assert not list(tmp_path.iterdir())


def test_outcomes_are_read_back_as_they_were_written(tmp_path):
    folder = folder_at(tmp_path)
    write(folder, 0, 30)
    shard = shards.open_shard(folder, 0)
    found = list(shards.outcomes(shard, [3, 0, 13, 29]))
    assert [row for row, _, _ in found] == [0, 3, 13, 29]
    for row, url, result in found:
        assert url == f"http://example.org/{row}"
        assert result == outcome(row)


def test_success_ids_are_those_of_the_tar(tmp_path):
    write(folder_at(tmp_path), 0, 9)
    expected = [(1 << 41) + 3 * n for n in range(9) if n % 4 != 3]
    assert shards.success_ids(folder_at(tmp_path), 0).tolist() == expected


@pytest.mark.parametrize("moved", range(4))
def test_a_rewritten_shard_is_installed_even_if_that_is_interrupted(tmp_path, moved):
    folder = folder_at(tmp_path)
    write(folder, 0, 8)
    write(folder_at(tmp_path / "new"), 0, 12)
    write(folder, 0, 12, suffix=shards.NEXT)
    assert shards.finished(folder)[0]["count"] == 8
    names = [shards.tar_name(0), shards.parquet_name(0), shards.stats_name(0)]
    for name in names[:moved]:
        folder.move(name + shards.NEXT, name)
    shards.recover(folder)
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
    assert not [n for n in folder.names() if n.endswith(shards.NEXT)]


def test_a_rewriting_that_was_not_finished_is_forgotten(tmp_path):
    folder = folder_at(tmp_path)
    write(folder, 0, 8)
    before = (tmp_path / "00000.tar").read_bytes()
    folder.write_bytes(shards.tar_name(0) + shards.NEXT, b"half")
    shards.recover(folder)
    assert (tmp_path / "00000.tar").read_bytes() == before
    assert shards.finished(folder)[0]["count"] == 8
    assert len(folder.names()) == 3


def test_what_is_no_shard_is_said(tmp_path):
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptFile):
        shards.open_shard(folder_at(tmp_path), 0)


def test_colliding_columns_keep_their_values_under_another_name():
    names = ["id", "url", "text", "width", "sha256", "key", "metadata_width", "score"]
    found = layout(names, "here", with_phash=False)
    assert found["metadata_sha256"] == "sha256"
    assert found["metadata_key"] == "key"
    assert found["score"] == "score"
    assert sorted(found.values()) == sorted(names)
    assert len(set(found)) == len(names)
    assert not set(found) & {"width", "sha256", "key"}


def test_rows_without_an_id_are_numbered_and_without_a_text_have_no_caption():
    table = pa.table({"url": ["a", "b"]})
    made = to_shard_columns(table, layout(["url"], "here", with_phash=False), 500)
    assert made.column("id").to_pylist() == [500, 501]
    assert made.column("caption").to_pylist() == [None, None]


def test_a_source_without_urls_is_refused():
    with pytest.raises(SchemaError, match="url"):
        layout(["id", "text"], "here", with_phash=False)


def test_the_phash_columns_compare_stored_and_fetched():
    table = pa.table(
        {"id": [1, 2, 3, 4], "url": ["u"] * 4, "image_phash": ["f" * 16, "f" * 16, None, "junk"]}
    )
    columns = layout(table.column_names, "here", with_phash=True)
    made = Rows(to_shard_columns(table, columns, 0), with_phash=True)
    same, other = Outcome(phash="f" * 16), Outcome(phash="0" * 16)
    assert made.own(0, same)["drift"] == "same"
    assert (made.own(1, other)["phash_distance"], made.own(1, other)["drift"]) == (64, "replaced")
    for row in (2, 3):
        assert made.own(row, same)["phash_distance"] is None
        assert made.own(row, same)["drift"] is None
        assert made.own(row, same)["image_phash_now"] == "f" * 16
    assert (
        made.to_table([made.own(r, same) for r in range(4)]).schema.field("phash_distance").type
        == pa.int32()
    )


def test_the_index_survives_large_offsets():
    starts = [0, 1536, 10 * 2**30, 10 * 2**30 + 512]
    edges = shards._unpack_index(shards._pack_index(starts, 11 * 2**30))
    assert edges.tolist() == [*starts, 11 * 2**30]
    assert shards._unpack_index(shards._pack_index([], 0)).tolist() == [0]
    assert edges.dtype == np.int64
