"""The shards beside those img2dataset 1.47.0 writes for the same rows and server.

docs/img2dataset.md lists the differences; this test knows them as constants, so that neither
can change alone.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from coyo_tools.verbs.download import download
from coyo_tools.words.config import DownloadSettings
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts

pytest.importorskip("img2dataset", reason="the img2dataset extra is not installed")
pytestmark = pytest.mark.slow

ROWS = 2000
PER_SHARD = 500
ADDITIONAL = ["id", "image_phash", "clip_similarity_vitl14", "num_faces", "watermark_score"]
ONLY_THEIRS = {"exif"}
ONLY_OURS = {"error", "metadata_width", "metadata_height"}
OTHER_VALUES = {"key", "error_message"}  # and sha256, null with them where a fetch failed


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, Path]:
    """Our shards and theirs."""
    root = tmp_path_factory.mktemp("both")
    with PictureServer() as server:
        source = write_parts(root / "in", coyo_table(server.urls(ROWS)), parts=1)
        settings = DownloadSettings(
            image_size=96,
            keep_original_bytes=False,
            samples_per_shard=PER_SHARD,
            processes=2,
            allow_private_addresses=True,
        )
        download(source, root / "ours", settings)
        theirs = [
            *(sys.executable, "-c", "from img2dataset import main; main()"),
            *(f"--url_list={source}", "--input_format=parquet", "--url_col=url"),
            *("--caption_col=text", "--output_format=webdataset", "--image_size=96"),
            *(f"--output_folder={root / 'theirs'}", "--processes_count=2", "--thread_count=16"),
            *("--resize_mode=keep_ratio", "--resize_only_if_bigger=True", "--encode_quality=95"),
            *("--enable_wandb=False", f"--number_sample_per_shard={PER_SHARD}"),
            f"--save_additional_columns={json.dumps(ADDITIONAL)}",
        ]
        quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
        subprocess.run(theirs, env=os.environ | quiet, check=True, capture_output=True, timeout=300)
    return root / "ours", root / "theirs"


def rows_of(folder: Path) -> dict[int, dict]:
    """Rows by id; img2dataset writes them as they come in."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return {row["id"]: row for row in pa.concat_tables(tables).to_pylist()}


def test_both_write_the_same_files(both):
    ours, theirs = ({p.name for p in folder.glob("0*")} for folder in both)
    assert ours == theirs
    assert len(ours) == 3 * ROWS // PER_SHARD


def test_every_field_they_write_is_the_same_but_for_what_the_docs_list(both):
    ours, theirs = (rows_of(folder) for folder in both)
    assert ours.keys() == theirs.keys()
    others = set(coyo_table(["u"]).column_names) - set(ADDITIONAL)
    for row_id, their_row in theirs.items():
        our_row = ours[row_id]
        assert set(their_row) - set(our_row) == ONLY_THEIRS
        assert set(our_row) - set(their_row) - others == ONLY_OURS
        for name in set(their_row) - ONLY_THEIRS - OTHER_VALUES - {"sha256"}:
            assert our_row[name] == their_row[name], (row_id, name)
        if their_row["sha256"] is not None:
            assert our_row["sha256"] == their_row["sha256"]
        assert (our_row["error_message"] is None) == (their_row["error_message"] is None)


def test_types_are_the_same(both):
    ours, theirs = (pq.read_schema(next(iter(folder.glob("*.parquet")))) for folder in both)
    for field in theirs:
        if field.name not in ONLY_THEIRS:
            assert ours.field(field.name).type == field.type, field.name


def test_rows_are_in_the_same_shards(both):
    for path in both[0].glob("*.parquet"):
        ids = [pq.read_table(f / path.name, columns=["id"]).column(0).to_pylist() for f in both]
        assert sorted(ids[1]) == ids[0]


def test_the_stats_count_the_same(both):
    for path in both[0].glob("*_stats.json"):
        ours, theirs = (json.loads((folder / path.name).read_text()) for folder in both)
        assert set(theirs) <= set(ours)
        for name in ("count", "successes", "failed_to_download", "failed_to_resize"):
            assert ours[name] == theirs[name]
        assert ours["status_dict"]["success"] == theirs["status_dict"]["success"]


def members(folder: Path) -> dict[int, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    ids = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, kind = info.name.split(".", 1)
                found.setdefault(key, {})[kind] = tar.extractfile(info).read()
    for files in found.values():
        ids[json.loads(files["json"])["id"]] = files
    return ids


def test_the_tars_hold_the_same_samples(both):
    ours, theirs = (members(folder) for folder in both)
    assert ours.keys() == theirs.keys()
    errors = []
    for row_id, files in theirs.items():
        assert set(files) == set(ours[row_id]) == {"jpg", "txt", "json"}
        assert files["txt"] == ours[row_id]["txt"]
        a, b = (np.asarray(Image.open(io.BytesIO(f["jpg"]))) for f in (files, ours[row_id]))
        assert a.shape == b.shape
        errors.append(float(np.mean((a.astype(float) - b.astype(float)) ** 2)))
        record, their_record = json.loads(ours[row_id]["json"]), json.loads(files["json"])
        for name in set(their_record) - ONLY_THEIRS - OTHER_VALUES:
            assert record[name] == their_record[name], name
    assert 10 * np.log10(255**2 / np.mean(errors)) > 40  # dB, after both have encoded
