"""No command removes or writes over what it reads, however the two folders are spelled."""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools.cli import COMMANDS
from coyo_tools.words.config import DownloadSettings, ScoreSettings
from tests.metadata import write_parts
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table

CLIP = "-c clip_similarity_vitb32"
INSIDE, INPUT = "lies inside the source", "which is input of this run"
# A command to a line, and how it is refused. m: plain metadata; sub, sh, sc, st: of it `filter`,
# `download`, `score` and `stats` made; im: sh as img2dataset leaves it; link and one.parquet:
# links to sub and its first part.
REFUSED = {
    "filter sub -o sub --min-side 10": INSIDE,
    "filter sub/*.parquet -o sub --min-side 10": INSIDE,
    "filter sub/part-[01].parquet -o link --min-side 10": INSIDE,
    "filter file://{here}/sub/*.parquet -o sub --min-side 10": INSIDE,
    "filter sub/part-1.parquet -o sub --min-side 10": INPUT,
    "filter one.parquet -o sub --min-side 10": INPUT,
    "filter sub -o st --stats st --top 50% --by width": "--stats st: is the folder of -o",
    "filter sub -o other --stats sub/../other --top 50% --by width": "is the folder of -o",
    "filter sub -o other --stats sub --top 50% --by width": "holds no finished `coyo stats`",
    "filter m -o m/new --min-side 10": INSIDE,
    "filter m/**/part-*.parquet -o m/new --min-side 10": INSIDE,
    "download sub -o sub": INSIDE,
    "download sh -o sh/../sh": INSIDE,
    "download sh/*.parquet -o sh": INSIDE,
    "download m -o m/new": INSIDE,
    "download --census 5 sub -o sub": INSIDE,
    "download --census 5 m -o m/new": INSIDE,
    "score sh -o sh -c text_length": INSIDE,
    "score file://{here}/sh -o sh -c text_length": INSIDE,
    "score sh/00000.tar -o sh -c text_length": INPUT,
    "score sub -o sub -c word_count": INSIDE,
    "score sub -o file://{here}/sub -c word_count": INSIDE,
    "score link -o sub -c word_count": INSIDE,
    "score sub -o link/ -c word_count": INSIDE,
    "score sub/*.parquet -o sub -c word_count": INSIDE,
    "score m -o m/new -c word_count": INSIDE,
    "score im -o im/new -c text_length": INSIDE,
    f"score im -o other --embeddings im/new {CLIP}": INSIDE,
    f"score sh -o other --embeddings sh {CLIP}": "a folder beside it with --embeddings",
    f"score sh -o sc --embeddings link/../sh {CLIP}": INSIDE,
    f"score sh -o other --embeddings sub/../other {CLIP}": "is the folder of -o, other",
    "compare sc m -o sc": INSIDE,
    "compare sc/*.parquet m -o sc": INSIDE,
    "compare sc sub -o sub": INSIDE,
    "compare sc link/*.parquet -o sub": INSIDE,
    "compare sc m -o m/new": INSIDE,
    "diff sub m -o sub": INSIDE,
    "diff m sub/*.parquet -o sub": INSIDE,
    "stats sub -o sub": INSIDE,
    "stats sub/*.parquet -o sub": INPUT,
    "stats sub -o link --of width*height": INSIDE,
    "run filter.yaml -o . --source subset": "subset: lies inside",
    "run download.yaml -o new --source new/shards": INSIDE,
    "run sc/manifest.json -o sub --source sub": INSIDE,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("made")
    with PictureServer() as server:
        table = coyo_table(server.urls(12))
        write_parts(here / "m", [table.slice(0, 7), table.slice(7)])
        coyo_tools.filter(here / "m", here / "sub", min_side=1)
        local = DownloadSettings(allow_private_addresses=True, processes=1)
        coyo_tools.download(here / "sub", here / "sh", local)
        coyo_tools.download(here / "sub", here / "new" / "shards", local)
    coyo_tools.score(here / "sub", here / "sc", ScoreSettings(columns=("text_length",)))
    shutil.copytree(here / "sh", here / "im", ignore=lambda *_: ["manifest.json", "runs.jsonl"])
    coyo_tools.stats(here / "sub", here / "st")
    coyo_tools.filter(here / "m", here / "subset", min_side=1)
    (here / "filter.yaml").write_text("filter: [{min_side: 1}]\n")
    (here / "download.yaml").write_text("download: {image_size: 64}\n")
    return here


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "one.parquet").symlink_to(tmp_path / "sub" / "part-0.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
@pytest.mark.parametrize("line", REFUSED)
def test_an_output_in_place_of_the_input_is_refused(coyo, here, line, overwrite):
    before = contents(here)
    status, _, said = coyo(*line.format(here=here).split(), *overwrite)
    assert (status, contents(here) == before) == (1, True), said
    assert re.search(REFUSED[line], said), said


def test_every_command_that_overwrites_is_among_them():
    commands = {name: import_module(f"coyo_tools.cli.{name}").command for name in COMMANDS}
    overwriting = {
        name for name, each in commands.items() if "overwrite" in {p.name for p in each.params}
    }
    assert {line.split()[0] for line in REFUSED} == overwriting - {"push"}  # which writes no folder


@pytest.mark.parametrize(
    "line",
    [
        "filter m/*.parquet -o m/new --min-side 10",  # the pattern does not find what is below
        "score sc/../sh -o sh/new -c text_length",  # shards are tars
        "score sub -o sub/new -c text_length",  # its manifest lists what is input
        "compare sc sub -o sc/new",
        "stats m -o m/new",  # no parquet
        "score m/part-0.parquet -o new2 -c text_length",
    ],
)
def test_a_folder_below_that_is_no_input_is_written_again_and_again(coyo, here, line):
    before = contents(here)
    for again in ((), (), ("--overwrite",), ()):
        status, _, said = coyo(*line.split(), *again)
        assert status == 0, said
    assert before.items() <= contents(here).items()
