"""A finished folder whose files are not as they were."""

from __future__ import annotations

import os

import pytest

from coyo_tools.verbs.download import download
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import data_files, settings


@pytest.mark.parametrize("cut", ["00001.parquet", "00002.tar", "placeholders.pq"])
def test_a_file_of_a_finished_folder_that_was_cut_is_made_again(tmp_path, cut):
    chosen = settings(verify_phash=True)
    with PictureServer() as counting:
        write_parts(tmp_path / "in", coyo_table(counting.urls(30)), 1)
        download(tmp_path / "in", tmp_path / "out", chosen)
        before = data_files(tmp_path / "out") | {cut: (tmp_path / "out" / cut).read_bytes()}
        manifest = (tmp_path / "out/manifest.json").read_bytes()
        (tmp_path / "out/note.parquet").write_bytes(b"beside them")
        counting.hits.clear()
        os.truncate(tmp_path / "out" / cut, 100)
        download(tmp_path / "in", tmp_path / "out", chosen)
        assert sum(counting.hits.values()) == (0 if cut == "placeholders.pq" else 10)
        (tmp_path / "out/note.parquet").unlink()
        assert data_files(tmp_path / "out") | {cut: (tmp_path / "out" / cut).read_bytes()} == before
        assert (tmp_path / "out/manifest.json").read_bytes() == manifest
        counting.hits.clear()
        download(tmp_path / "in", tmp_path / "out", chosen)
        assert not counting.hits
