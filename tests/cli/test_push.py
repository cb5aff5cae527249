"""`coyo push` as a process: options, output, exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import coyo_tools
from tests.metadata import metadata, write_parts
from tests.servers.hub_writes import WritableHub


@pytest.fixture
def subset(tmp_path):
    write_parts(tmp_path / "meta", [metadata(500)])
    coyo_tools.filter(tmp_path / "meta", tmp_path / "subset", min_clip_l14=0.25)
    return tmp_path / "subset"


def push(*arguments, **env):
    full = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "writer", **env}
    return subprocess.run(
        [sys.executable, "-m", "coyo_tools", "push", *map(str, arguments)],
        env=full, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_it_says_what_was_sent_and_what_comes_next(subset, tmp_path):
    (tmp_path / "hub").mkdir()
    with WritableHub(tmp_path / "hub") as hub:
        first = push(subset, "me/mine", "--private", HF_ENDPOINT=hub.base_url)
        again = push(subset, "me/mine", "--json", HF_ENDPOINT=hub.base_url)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("4 files sent, ")
    assert first.stdout.splitlines()[0].endswith("in 1 commit; 0 there already")
    assert f'{hub.base_url}/datasets/me/mine   next: datasets.load_dataset("me/mine")' in (
        first.stdout
    )
    assert first.stderr == ""
    assert json.loads(again.stdout)["unchanged"] == 4
    assert hub.private


def test_a_dry_run_prints_the_card_and_the_files(subset):
    done = push(subset, "me/mine", "--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("---\npretty_name: mine\n")
    assert "data/part-0.parquet" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing was sent: 4 files, ")


def test_an_error_is_one_sentence_and_status_1(subset):
    done = push(subset, "me/mine", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("coyo: http://127.0.0.1:9/datasets/me/mine: cannot be written")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
