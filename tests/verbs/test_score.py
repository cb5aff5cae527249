"""`score` over real shards: values, failures, resume, determinism, refusals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagehash
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import coyo_tools
from coyo_tools.machinery.manifest import digest_of_ids
from coyo_tools.stages import shard_stream
from coyo_tools.verbs import score_running
from coyo_tools.words.errors import (
    CorruptFile,
    SettingsConflict,
    SettingsError,
    SourceError,
    SourceNotFound,
)
from coyo_tools.words.progress import Progress
from tests.scores import LIGHT, TEXT, fingerprint, metadata, rows_of, settings
from tests.tars import FIRST_ID, picture, sample, write_shards, write_tar


def test_a_shard_gives_one_row_a_picture_in_its_order(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 2, 5)
    result = coyo_tools.score(shards, tmp_path / "out", settings())
    rows = rows_of(tmp_path / "out", "00001.parquet")
    assert [row["id"] for row in rows] == [FIRST_ID + n for n in range(5, 10)]
    assert [row["key"] for row in rows] == [f"{FIRST_ID + n:016d}" for n in range(5, 10)]
    assert list(rows[0]) == ["id", "key", *LIGHT, "error"]
    for number, row in enumerate(rows, 5):
        caption = f"picture number {number}" + "!" * number
        expected = imagehash.phash(Image.open(io.BytesIO(picture(number))))
        assert row["image_phash"] == str(expected)
        assert row["text_length"] == len(caption)
        assert row["word_count"] == 3
        assert row["error"] is None
    assert (result.rows, result.units, result.errors) == (10, 2, {})
    assert {c.name: c.values for c in result.columns} == dict.fromkeys(LIGHT, 10)


def test_columns_keep_the_order_they_were_asked_in(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 1, 1)
    coyo_tools.score(shards, tmp_path / "out", settings("word_count", "image_phash", "word_count"))
    assert list(rows_of(tmp_path / "out")[0]) == ["id", "key", "word_count", "image_phash", "error"]
    schema = pq.read_schema(tmp_path / "out" / "00000.parquet")
    assert schema.field("word_count").type == pa.int32()
    assert schema.field("id").type == pa.int64()


def test_odd_samples(tmp_path: Path) -> None:
    long = "a word, " * 12_500
    shard = [
        sample(0, data=picture()[:-300]),
        sample(1, caption=None),
        sample(2, caption=long),
        [("name.png", picture(3, "PNG")), ("name.txt", b"no id here")],
        [("77.webp", picture(4, "WEBP"))],
        sample(5, data=b"<html></html>"),
        sample(6, data=b""),
    ]
    write_tar(tmp_path / "shards" / "00000.tar", shard)
    result = coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings())
    rows = rows_of(tmp_path / "out")
    assert [r["error"] for r in rows] == [
        "corrupt_image",
        None,
        None,
        None,
        None,
        "not_an_image",
        "empty",
    ]
    assert [r["image_phash"] is None for r in rows] == [
        True,
        False,
        False,
        False,
        False,
        True,
        True,
    ]
    assert rows[0]["text_length"] == len("a caption")  # the caption of a corrupt picture counts
    assert [rows[1][name] for name in TEXT] == [None] * 4
    assert rows[2]["text_length"] == 100_000
    assert rows[2]["num_tokens_bert"] == 3 * 12_500
    assert (rows[3]["id"], rows[3]["key"]) == (None, "name")
    assert (rows[4]["id"], rows[4]["text_length"]) == (77, None)
    assert result.errors == {"corrupt_image": 1, "empty": 1, "not_an_image": 1}
    assert result.rows == 7


@pytest.mark.parametrize("samples", [0, 1])
def test_tiny_shards(tmp_path: Path, samples: int) -> None:
    write_shards(tmp_path / "shards", 1, samples)
    result = coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings())
    table = pq.read_table(tmp_path / "out" / "00000.parquet")
    assert table.num_rows == result.rows == samples
    assert table.column_names == ["id", "key", *LIGHT, "error"]
    assert result.columns[1].mean == (None if samples == 0 else len("picture number 0"))


def test_the_digest_is_over_the_ids(tmp_path: Path) -> None:
    import numpy as np

    shards = write_shards(tmp_path / "shards", 3, 4)
    coyo_tools.score(shards, tmp_path / "out", settings("word_count"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["digest"] == digest_of_ids([np.arange(FIRST_ID, FIRST_ID + 12)])
    assert manifest["files"] == [f"{n:05d}.parquet" for n in range(3)]
    assert manifest["complete"] is True
    assert {"tokenizers", "pillow", "imagehash"} & set(manifest["versions"]) == {"pillow"}


def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_shards(tmp_path / "shards", 5, 7)
    monkeypatch.setattr(score_running, "_SMALL_BYTES", 0)  # start processes, small as it is
    for workers in (1, 3):
        coyo_tools.score(shards, tmp_path / str(workers), settings(workers=workers))
    coyo_tools.score(shards, tmp_path / "batches", settings(workers=1, batch_size=3))
    expected = fingerprint(tmp_path / "1")
    assert fingerprint(tmp_path / "3") == fingerprint(tmp_path / "batches") == expected


def test_a_broken_shard_stops_the_run_and_the_finished_ones_stay(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 4, 3)
    good = (shards / "00002.tar").read_bytes()
    (shards / "00002.tar").write_bytes(good[: len(good) // 2])
    with pytest.raises(CorruptFile, match=r"00002\.tar"):
        coyo_tools.score(shards, tmp_path / "out", settings(workers=1))
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]
    assert (tmp_path / "out" / "00001.parquet").exists()
    assert not (tmp_path / "out" / "00002.parquet").exists()


def test_a_broken_shard_may_be_made_again_and_a_finished_one_not(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 4, 3)
    coyo_tools.score(shards, tmp_path / "whole", settings())
    good = (shards / "00002.tar").read_bytes()
    (shards / "00002.tar").write_bytes(good[: len(good) // 2])
    with pytest.raises(CorruptFile, match="again, then run the same command: it goes on"):
        coyo_tools.score(shards, tmp_path / "out", settings(workers=1))
    (shards / "00002.tar").write_bytes(good)
    first = write_tar(tmp_path / "other.tar", [sample(n, caption="other") for n in range(3)])
    kept = (shards / "00000.tar").read_bytes()
    first.replace(shards / "00000.tar")
    with pytest.raises(SettingsConflict, match=r"input 00000\.tar differs"):
        coyo_tools.score(shards, tmp_path / "out", settings())
    (shards / "00000.tar").write_bytes(kept)
    result = coyo_tools.score(shards, tmp_path / "out", settings())
    assert result.rows_now < 12
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


@pytest.mark.usefixtures("in_this_process")
def test_killed_between_shards_it_computes_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_shards(tmp_path / "shards", 4, 3)
    coyo_tools.score(shards, tmp_path / "whole", settings())

    class Killed(BaseException):
        """Stands for the process's end."""

    def kill(step: Progress) -> None:
        if step.done == 2:
            raise Killed

    with pytest.raises(Killed):
        coyo_tools.score(shards, tmp_path / "out", settings(), progress=kill)
    opened = []
    original = shard_stream.read_shard
    monkeypatch.setattr(
        shard_stream, "read_shard", lambda shard: opened.append(shard.name) or original(shard)
    )
    result = coyo_tools.score(shards, tmp_path / "out", settings())
    assert opened == ["00002.tar", "00003.tar"]
    assert result.rows_now == 6
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_the_time_of_each_column_is_told_but_not_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_running, "_SMALL_BYTES", 0)  # start processes, small as it is
    shards = write_shards(tmp_path / "shards", 3, 4)
    result = coyo_tools.score(shards, tmp_path / "out", settings(workers=2))
    assert set(result.seconds_by_column) == {"decode", *LIGHT}
    assert all(seconds > 0 for seconds in result.seconds_by_column.values())
    assert result.to_dict()["seconds_by_column"] == result.seconds_by_column
    (line,) = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["seconds_by_column"] == result.seconds_by_column
    assert "seconds" not in (tmp_path / "out" / "manifest.json").read_text()
    again = coyo_tools.score(shards, tmp_path / "out", settings())
    assert again.seconds_by_column == {}


def test_a_complete_folder_is_left_alone(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 1, 3)
    first = coyo_tools.score(shards, tmp_path / "out", settings())
    before = (tmp_path / "out" / "00000.parquet").stat().st_mtime_ns
    again = coyo_tools.score(shards, tmp_path / "out", settings(batch_size=1, device="cpu"))
    assert (tmp_path / "out" / "00000.parquet").stat().st_mtime_ns == before
    assert (again.rows, again.rows_now, again.rows_per_s) == (3, 0, None)
    assert again.columns == first.columns


def test_shards_of_one_flattened_name_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("a/b.tar", "a__b.tar", "c.tar")):
        write_tar(tmp_path / "shards" / name, [sample(number)])
    with pytest.raises(SourceError, match=r"shards: two of its files would be named a__b\.tar; re"):
        coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings("word_count"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "shards" / "a__b.tar").rename(tmp_path / "shards" / "d.tar")
    result = coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings("word_count"))
    assert (result.rows, result.units) == (3, 3)


def test_other_settings_or_shards_are_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 1, 3)
    coyo_tools.score(shards, tmp_path / "out", settings("word_count"))
    with pytest.raises(SettingsConflict, match="columns was"):
        coyo_tools.score(shards, tmp_path / "out", settings("text_length"))
    write_tar(shards / "00000.tar", [sample(n, caption="other") for n in range(3)])
    with pytest.raises(SettingsConflict, match=r"input 00000\.tar differs"):
        coyo_tools.score(shards, tmp_path / "out", settings("word_count"))
    coyo_tools.score(shards, tmp_path / "out", settings("word_count"), overwrite=True)
    assert rows_of(tmp_path / "out")[0]["word_count"] == 1


@pytest.mark.usefixtures("in_this_process")
def test_each_tar_is_read_once_for_all_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the whole verb, beside 64 KiB at either end, which the manifest knows it by."""
    from coyo_tools.pieces import shard_reader
    from coyo_tools.stages import score_table as stage

    shards = write_shards(tmp_path / "shards", 19, 4)
    large = sample(99, data=picture(99, "BMP", (400, 300)), extension="bmp")
    write_tar(shards / "00019.tar", [large])
    paths = [str(path) for path in sorted(shards.iterdir())]
    opened: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    decoded = []

    class Counted(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            taken[str(self.name)] += len(data)
            return data

    real, decode, decode_grey = shard_reader.open_shard, stage.decode, stage.decode_grey
    monkeypatch.setattr(shard_reader, "open_shard", lambda shard: Counted(real(shard).detach()))
    monkeypatch.setattr(stage, "decode", lambda *a: decoded.append(1) or decode(*a))
    monkeypatch.setattr(stage, "decode_grey", lambda *a: decoded.append(1) or decode_grey(*a))
    with opens(opened):
        coyo_tools.score(shards, tmp_path / "out", settings())
    sizes = [os.stat(path).st_size for path in paths]
    assert max(sizes) > 1 << 18
    assert [opened[path] for path in paths] == [2] * 20
    assert [taken[path] for path in paths] == [size + min(size, 1 << 17) for size in sizes]
    assert len(decoded) == 77


@contextlib.contextmanager
def opens(counts: Counter[str]) -> Iterator[None]:
    """Count what this process opens, by whatever means, by path."""
    listening = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open":
            counts[str(arguments[0])] += 1

    sys.addaudithook(hear)  # which cannot be taken away again
    yield
    listening = False


def test_pictures_are_not_decoded_for_text_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coyo_tools.stages import score_table as stage

    shards = write_shards(tmp_path / "shards", 1, 2)
    for name in ("decode", "decode_grey"):
        monkeypatch.setattr(stage, name, lambda *_: pytest.fail("decoded"))
    result = coyo_tools.score(shards, tmp_path / "out", settings(*TEXT))
    assert result.rows == 2


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        coyo_tools.score(tmp_path / "absent", tmp_path / "out", settings())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFound, match="holds neither tar shards nor parquet; name the fold"):
        coyo_tools.score(tmp_path / "empty", tmp_path / "out", settings())


@pytest.mark.usefixtures("in_this_process")
def test_shards_and_scores_may_be_remote(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    shards = write_shards(tmp_path / "shards", 2, 3)
    coyo_tools.score(shards, tmp_path / "local", settings())
    memory.put(str(shards), "/remote/shards", recursive=True)
    result = coyo_tools.score("memory://remote/shards", "memory://remote/scores", settings())
    again = coyo_tools.score("memory://remote/shards", "memory://remote/scores", settings())
    assert (result.rows_now, again.rows_now) == (6, 0)
    for name in ("00000.parquet", "00001.parquet", "manifest.json"):
        assert memory.cat_file(f"/remote/scores/{name}") == (tmp_path / "local" / name).read_bytes()
    before = memory.find("/remote/shards")
    with pytest.raises(SettingsError, match="lies inside the source memory://remote/shards"):
        coyo_tools.score(
            "memory://remote/shards", "memory://remote/shards/", settings(), overwrite=True
        )
    assert memory.find("/remote/shards") == before
    memory.rm("/remote", recursive=True)


def test_width_and_height_are_those_of_the_original(tmp_path: Path) -> None:
    noted = {"id": FIRST_ID, "original_width": 1200, "original_height": 800, "width": 64}
    shard = [sample(0, row=noted), sample(1), sample(2, data=b"bad", row=noted)]
    write_tar(tmp_path / "shards" / "00000.tar", shard)
    coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings("height", "width"))
    rows = rows_of(tmp_path / "out")
    assert [(row["width"], row["height"]) for row in rows] == [
        (1200, 800),
        (None, None),
        (1200, 800),
    ]
    assert [row["error"] for row in rows] == [None, None, None]
    metadata(tmp_path / "meta" / "p.parquet", ["a"])
    with pytest.raises(SourceError, match="width needs the pictures; run first"):
        coyo_tools.score(tmp_path / "meta", tmp_path / "none", settings("width"))


def test_progress_counts_rows_and_shards(tmp_path: Path) -> None:
    steps: list[Progress] = []
    shards = write_shards(tmp_path / "shards", 2, 40)
    coyo_tools.score(shards, tmp_path / "out", settings("word_count"), progress=steps.append)
    assert (steps[-1].done, steps[-1].total, steps[-1].unit) == (2, 2, "shards")
    assert steps[-1].counts["rows"] == 80
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_a_worker_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_running, "_SMALL_BYTES", 0)  # start processes, small as it is
    shards = write_shards(tmp_path / "shards", 6, 40)
    coyo_tools.score(shards, tmp_path / "whole", settings())
    killed: list[int] = []

    def kill(step: Progress) -> None:
        if not killed and step.counts["rows"] > 0:
            found = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
            killed.append(int(found.split()[0]))
            os.kill(killed[0], signal.SIGKILL)

    result = coyo_tools.score(shards, tmp_path / "out", settings(workers=2), progress=kill)
    assert killed
    assert result.rows == 240
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_columns_that_want_every_pixel_refuse_scaled_decoding(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 1, 1)
    asked = settings("image_phash", scaled_decoding=True)
    with pytest.raises(SettingsError, match="--scaled-decoding: image_phash wants every pixel"):
        coyo_tools.score(shards, tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()
