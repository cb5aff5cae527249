"""Placeholders found in a run: the file beside the shards, the counts, and what reads them."""

from __future__ import annotations

import contextlib
import io
import json

import imagehash
import pyarrow.parquet as pq
from click.testing import CliRunner
from PIL import Image

from coyo_tools.cli.download import command
from coyo_tools.pieces.source import find
from coyo_tools.verbs.census import census
from coyo_tools.verbs.download import download
from coyo_tools.verbs.report import report
from tests.servers.pictures import picture
from tests.servers.raw import RawServer, sends
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import answer, data_files, settings

GONE = 900  # the picture that stands for those that are gone
ROWS = 40


def gone(number: int) -> bool:
    return number % 3 == 1


def phash_of(number: int) -> str:
    return str(imagehash.phash(Image.open(io.BytesIO(picture(number)))))


def metadata(server: RawServer):
    """Published hashes are those of the pictures as they were, but for row 7: none."""
    table = coyo_table([f"{server.base_url}/{n}.jpg" for n in range(ROWS)])
    hashes = [None if n == 7 else phash_of(n) for n in range(ROWS)]
    hashes[10] = phash_of(GONE)  # it showed the placeholder when it was published
    at = table.column_names.index("image_phash")
    return table.set_column(at, "image_phash", [hashes])


def serve() -> RawServer:
    return RawServer({
        f"/{n}.jpg": sends(answer(picture(GONE if gone(n) else n))) for n in range(ROWS)
    })  # fmt: skip


def test_placeholders_are_named_beside_the_shards(tmp_path):
    with serve() as server:
        write_parts(tmp_path / "in", metadata(server), parts=2)
        found = [
            download(
                tmp_path / "in", tmp_path / f"out{n}", settings(verify_phash=True, processes=n)
            )
            for n in (1, 2)
        ]
        host = server.base_url.removeprefix("http://")
    assert data_files(tmp_path / "out1") == data_files(tmp_path / "out2")
    marked = [n for n in range(ROWS) if gone(n) and n != 10]
    table = pq.read_table(tmp_path / "out1/placeholders.pq")
    first = 2**41
    assert table.column("id").to_pylist() == [first + 7 * n for n in marked]
    assert set(table.column("drift").to_pylist()) == {"placeholder"}
    assert set(table.column("host").to_pylist()) == {host}
    assert set(table.column("image_phash_now").to_pylist()) == {phash_of(GONE)}
    assert found[0].drift == {
        "same": ROWS - len(marked), "drifted": 0, "replaced": 0, "unknown": 0,
        "placeholder": len(marked),
    }  # fmt: skip
    assert found[0].placeholders == {
        "rows": len(marked),
        "pictures": 1,
        "hosts": [{"host": host, "rows": len(marked)}],
        "largest": [{"image_phash_now": phash_of(GONE), "rows": len(marked)}],
        "undecided": {"rows": 0, "pictures": 0, "largest": []},
    }
    manifest = json.loads((tmp_path / "out1/manifest.json").read_text())
    assert manifest["result"]["placeholders"] == found[0].placeholders
    assert "placeholders.pq" in manifest["files"]
    # The shards are a source as before: the file beside them is none of its parts.
    assert [part.name for part in find(tmp_path / "out1").parts] == [
        f"{n:05d}.parquet" for n in range(4)
    ]
    report([tmp_path / "out1"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "placeholder" in page
    assert host in page


def test_a_run_that_begins_anew_without_hashes_leaves_no_old_marks(tmp_path):
    with serve() as server:
        write_parts(tmp_path / "in", metadata(server), parts=1)
        download(tmp_path / "in", tmp_path / "out", settings(verify_phash=True))
        again = download(tmp_path / "in", tmp_path / "out", settings(verify_phash=True))
        assert again.placeholders["rows"] == 12
        plain = download(tmp_path / "in", tmp_path / "out", settings(), overwrite=True)
    assert plain.drift is None
    assert plain.placeholders is None
    assert not (tmp_path / "out/placeholders.pq").exists()


def test_a_census_tells_them_apart_too(tmp_path):
    with serve() as server:
        write_parts(tmp_path / "in", metadata(server), parts=1)
        found = census(tmp_path / "in", tmp_path / "c", None, settings(verify_phash=True))
    assert found.figures.drift == {"same": ROWS - 12, "placeholder": 12}


def test_fewer_than_three_urls_are_replaced_and_no_more(tmp_path):
    with serve() as server:
        table = metadata(server).take([0, 1, 2, 4])
        write_parts(tmp_path / "in", table, parts=1)
        found = download(tmp_path / "in", tmp_path / "out", settings(verify_phash=True))
    assert found.drift["replaced"] == 2
    assert found.placeholders["rows"] == 0
    assert pq.read_table(tmp_path / "out/placeholders.pq").num_rows == 0


def test_without_published_hashes_shared_pictures_are_counted_and_none_is_marked(tmp_path):
    with serve() as server:
        table = metadata(server).drop_columns(["image_phash"])
        write_parts(tmp_path / "in", table, parts=1)
        arguments = ["in", "-o", "out", "--verify-phash", "--allow-private-addresses"]
        with contextlib.chdir(tmp_path):
            said = CliRunner().invoke(command, [*arguments, "--samples-per-shard", "10"])
            told = json.loads(CliRunner().invoke(command, [*arguments, "--samples-per-shard", "10",
                                                           "--json"]).stdout)  # fmt: skip
    assert told["drift"] == {
        "same": 0, "drifted": 0, "replaced": 0, "unknown": ROWS, "placeholder": 0,
    }  # fmt: skip
    assert told["placeholders"] == {
        "rows": 0, "pictures": 0, "hosts": [], "largest": [],
        "undecided": {
            "rows": 13, "pictures": 1,
            "largest": [{"image_phash_now": phash_of(GONE), "rows": 13}],
        },
    }  # fmt: skip
    line = (
        "13 rows without a published hash (image_phash) show pictures that 3 rows or more share, 1"
    )
    assert line in said.stdout
    assert pq.read_table(tmp_path / "out/placeholders.pq").num_rows == 0


def test_rows_without_a_published_hash_that_others_prove_are_no_longer_undecided(tmp_path):
    with serve() as server:
        table = metadata(server)
        hashes = table.column("image_phash").to_pylist()
        for row in (1, 4, 7, 13):
            hashes[row] = None
        at = table.column_names.index("image_phash")
        write_parts(tmp_path / "in", table.set_column(at, "image_phash", [hashes]), parts=1)
        found = download(tmp_path / "in", tmp_path / "out", settings(verify_phash=True))
    assert (found.placeholders["rows"], found.drift["unknown"]) == (12, 0)
    assert found.placeholders["undecided"]["rows"] == 0
