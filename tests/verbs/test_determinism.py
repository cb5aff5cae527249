"""The same inputs and settings give the same bytes: on any number of workers, however the source is
named and its files are ordered, killed after any part, with parts deleted."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings, StatsSettings
from tests.metadata import bytes_of, cut, nasty, parts_of, write_parts
from tests.servers.folder import FolderServer

PARTS = 4
RECIPES = {
    "values": ({"max_watermark": 0.3}, {"where": "width > 300"}, {"text_excludes": "dog"}),
    "top": ({"top": "50%", "by": "watermark_score"}, {"max_faces": 2}, {"top": 90, "by": "width"}),
    "sample": ({"max_faces": 2}, {"sample": "70%", "seed": 3}, {"sample": 100, "seed": 1}),
    "everything": (),
}
pytestmark = pytest.mark.usefixtures("in_small_bites")
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "m"
    write_parts(folder, cut(nasty(1200, 5), 400, 1, 500), row_group_size=64)
    return folder


def data_of(folder: Path) -> dict[str, str]:
    """The parts alone: the manifest names the source as it was written."""
    return {name: digest for name, digest in bytes_of(folder).items() if name.startswith("part-")}


@every_recipe
def test_one_two_and_four_workers(source, tmp_path, recipe):
    written = []
    for workers in (1, 2, 4):
        out = tmp_path / str(workers)
        coyo_tools.filter(source, out, FilterSettings(rules=recipe, workers=workers))
        written.append(bytes_of(out))
    assert written[0] == written[1] == written[2]
    assert set(written[0]) == {"manifest.json", *(f"part-{n}.parquet" for n in range(PARTS))}


def test_stats_on_one_two_and_four_workers(source, tmp_path):
    for workers in (1, 2, 4):
        coyo_tools.stats(source, tmp_path / str(workers), StatsSettings(workers=workers))
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2") == bytes_of(tmp_path / "4")


@every_recipe
def test_however_the_source_is_named_and_wherever_it_lies(source, tmp_path, monkeypatch, recipe):
    elsewhere = tmp_path / "m"
    elsewhere.mkdir()
    for path in sorted(source.iterdir(), reverse=True):  # listed in another order, maybe
        shutil.copy(path, elsewhere / path.name)
    monkeypatch.chdir(source.parent)
    with FolderServer(source) as server:
        places = [source, elsewhere, f"{source}/*.parquet", f"{source}/part-[0-3].parquet", "m",
                  f"file://{source}/", f"{server.base_url}/*.parquet"]  # fmt: skip
        results = [
            coyo_tools.filter(place, tmp_path / f"{n}", FilterSettings(rules=recipe))
            for n, place in enumerate(places)
        ]
    for n, result in enumerate(results):
        assert data_of(tmp_path / f"{n}") == data_of(tmp_path / "0"), places[n]
        assert (result.funnel, result.digest) == (results[0].funnel, results[0].digest)
    manifests = [json.loads((tmp_path / f"{n}" / "manifest.json").read_text()) for n in range(2)]
    assert [each["result"].pop("source") for each in manifests] == [str(source), str(elsewhere)]
    assert manifests[0] == manifests[1]


@every_recipe
def test_shuffled_files_give_the_same_rows_and_digest(source, tmp_path, recipe):
    """The same parts under each other's names: in another order, and nothing else."""
    names = sorted(path.name for path in source.iterdir())
    shuffled = random.Random(1).sample(names, len(names))
    assert shuffled != names
    (tmp_path / "m").mkdir()
    for name, other in zip(names, shuffled, strict=True):
        shutil.copy(source / name, tmp_path / "m" / other)
    one = coyo_tools.filter(source, tmp_path / "one", FilterSettings(rules=recipe))
    two = coyo_tools.filter(tmp_path / "m", tmp_path / "two", FilterSettings(rules=recipe))
    assert (one.funnel, one.digest, one.rows_out) == (two.funnel, two.digest, two.rows_out)
    for name, other in zip(names, shuffled, strict=True):
        kept, again = (pq.read_table(tmp_path / f) for f in (f"one/{name}", f"two/{other}"))
        assert kept["id"].equals(again["id"])


def test_rules_in_any_order_keep_the_same_rows(source, tmp_path):
    rules = ({"max_watermark": 0.6}, {"max_faces": 2}, {"sample": "80%", "seed": 1})
    kept = []
    for n, order in enumerate(itertools.permutations(rules)):
        result = coyo_tools.filter(source, tmp_path / f"{n}", FilterSettings(rules=order))
        kept.append((result.digest, parts_of(tmp_path / f"{n}")["id"].to_pylist()))
    assert all(each == kept[0] for each in kept)


DYING = """
import contextlib, json, os, sys
import coyo_tools
from coyo_tools.machinery.storage import LocalFolder
stage = LocalFolder.stage
@contextlib.contextmanager
def stage_and_die(folder, name):
    with stage(folder, name) as path:
        yield path
    if name.startswith("part-"):
        os._exit(9)  # as a kill: nothing is tidied up
LocalFolder.stage = stage_and_die
source, out, rules = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
coyo_tools.filter(source, out, coyo_tools.FilterSettings(rules=tuple(rules), workers=1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPES["values"], RECIPES["top"]], ids=["values", "top"])
def test_killed_after_each_part_it_ends_as_if_undisturbed(source, tmp_path, recipe):
    coyo_tools.filter(source, tmp_path / "whole", FilterSettings(rules=recipe))
    out = tmp_path / "out"
    command = [sys.executable, "-c", DYING, str(source), str(out), json.dumps(recipe)]
    there = 0
    while there < PARTS:
        done = subprocess.run(command, timeout=60, capture_output=True)
        assert done.returncode == 9, done.stderr
        there, before = len(list(out.glob("part-*.parquet"))), there
        assert there > before
        assert json.loads((out / "manifest.json").read_text())["complete"] is False
    coyo_tools.filter(source, out, FilterSettings(rules=recipe, workers=2))
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
    assert sorted(os.listdir(out)) == sorted(os.listdir(tmp_path / "whole"))  # hidden ones too


@every_recipe
@pytest.mark.parametrize("columns", [None, ("url",)])
def test_any_parts_deleted_are_made_again(source, tmp_path, recipe, columns):
    asked = FilterSettings(rules=recipe, columns=columns)
    first = coyo_tools.filter(source, tmp_path / "s", asked)
    before = bytes_of(tmp_path / "s")
    for gone in ([0], [1, 3], range(PARTS)):
        for number in gone:
            (tmp_path / "s" / f"part-{number}.parquet").unlink()
        again = coyo_tools.filter(source, tmp_path / "s", asked)
        assert (again.digest, again.funnel) == (first.digest, first.funnel)
        assert bytes_of(tmp_path / "s") == before


def test_the_layout_of_the_source_shows_in_no_row(source, tmp_path):
    """Other row groups, pages and codecs: the same rows, hence the same digest."""
    rows = pa.concat_tables([pq.read_table(path) for path in sorted(source.iterdir())])
    write_parts(tmp_path / "m", [rows], row_group_size=1200, compression="zstd", data_page_size=512)
    asked = FilterSettings(rules=RECIPES["top"], statistics=False)  # they belong to the layout
    one = coyo_tools.filter(source, tmp_path / "a", asked)
    two = coyo_tools.filter(tmp_path / "m", tmp_path / "b", asked)
    assert (one.digest, one.funnel) == (two.digest, two.funnel)
    assert parts_of(tmp_path / "a")["id"].equals(parts_of(tmp_path / "b")["id"])
