"""`score --embeddings`: the layout that clip-retrieval reads, written with the scores or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.cli import main
from coyo_tools.machinery.manifest import digest_of_ids
from coyo_tools.pieces.scores.clip_similarity import declare
from coyo_tools.stages import embeddings as stage
from coyo_tools.words.config import ScoreSettings
from coyo_tools.words.errors import CorruptFile, SettingsConflict, SettingsError, StorageError
from coyo_tools.words.progress import Progress
from tests.files import few_files
from tests.pieces.scores.small_clip import KINDS, Made, made_small
from tests.tars import FIRST_ID, sample, write_tar

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's and open_clip's own
    pytest.mark.usefixtures("in_this_process"),
]
DATACOMP, DFN = KINDS[:2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with made_small(DATACOMP, tmp_path_factory.mktemp("datacomp")) as made:
        yield made


@pytest.fixture(scope="module")
def dfn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with made_small(DFN, tmp_path_factory.mktemp("dfn")) as made:
        yield made


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Of nine rows six have picture and caption; the second shard has none such."""
    url = {"id": FIRST_ID + 3, "url": "http://host/3.jpg"}
    shards = (
        [sample(0), sample(1, caption=None), sample(2, data=b"bad"), sample(3, row=url)],
        [sample(4, caption=None)],
        [sample(number) for number in range(5, 9)],
    )
    for number, samples in enumerate(shards):
        write_tar(tmp_path / "shards" / f"{number:05d}.tar", samples)
    return tmp_path / "shards"


KEPT = [0, 3, 5, 6, 7, 8]


def asked(out: Path | None, *made: Made, **rest: Any) -> ScoreSettings:
    return ScoreSettings(
        columns=("clip_similarity",),
        model=tuple(each.choice.model for each in made),
        pretrained=tuple(each.choice.pretrained for each in made),
        weights=tuple(f"{declare(each.choice).name}={each.weights}" for each in made),
        embeddings=str(out) if out else None,
        **rest,
    )


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("runs.jsonl", ".coyo.lock")
    }


def test_the_layout_and_what_is_in_it(clip: Made, shards: Path, tmp_path: Path) -> None:
    result = coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip, batch_size=3))
    name = declare(clip.choice).name
    assert sorted(files(tmp_path / "emb")) == [
        "00000_stats.json",
        "00001_stats.json",
        "00002_stats.json",
        "img_emb/img_emb_00000.npy",
        "img_emb/img_emb_00002.npy",
        "manifest.json",
        "metadata/metadata_00000.parquet",
        "metadata/metadata_00002.parquet",
        "text_emb/text_emb_00000.npy",
        "text_emb/text_emb_00002.npy",
    ]
    rows = pq.read_table(tmp_path / "emb" / "metadata" / "metadata_00000.parquet").to_pylist()
    assert rows[1] == {
        "image_path": f"{FIRST_ID + 3:016d}",
        "caption": "a caption",
        "id": FIRST_ID + 3,
        "key": f"{FIRST_ID + 3:016d}",
        "url": "http://host/3.jpg",
    }
    assert [row["id"] - FIRST_ID for row in rows] == [0, 3]
    assert set(result.seconds_by_column) == {"decode", name}
    counted = {"rows": 6, "left_out": 3, "dimensions": 64}
    assert result.embedded == {name: counted}
    manifest = json.loads((tmp_path / "emb" / "manifest.json").read_text())
    assert manifest["result"] == {"encoders": {name: counted}}
    digest = hashlib.sha256(clip.weights.read_bytes()).hexdigest()
    assert manifest["settings"]["encoders"] == {name: {name: f"sha256:{digest}"}}

    # The scores are the cosines of these very rows, and the same as without them.
    for stem in ("00000", "00002"):
        images = np.load(tmp_path / "emb" / "img_emb" / f"img_emb_{stem}.npy")
        texts = np.load(tmp_path / "emb" / "text_emb" / f"text_emb_{stem}.npy")
        assert images.dtype == texts.dtype == np.float16
        assert np.abs(np.linalg.norm(images.astype(np.float32), axis=1) - 1).max() < 1e-3
        scores = pq.read_table(tmp_path / "out" / f"{stem}.parquet").column(name).drop_null()
        cosines = (images.astype(np.float32) * texts.astype(np.float32)).sum(axis=1)
        assert np.abs(cosines - scores.to_numpy()).max() < 1e-3
    coyo_tools.score(shards, tmp_path / "alone", asked(None, clip, batch_size=3))
    assert files(tmp_path / "alone") == files(tmp_path / "out")


def test_clip_retrievals_reader_reads_it(clip: Made, shards: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("embedding_reader", reason="needs embedding-reader")
    coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    for kind in ("img_emb", "text_emb"):
        found = reader.EmbeddingReader(
            embeddings_folder=str(tmp_path / "emb" / kind),
            metadata_folder=str(tmp_path / "emb" / "metadata"),
            file_format="parquet_npy",
            meta_columns=["id", "caption"],
        )
        assert (found.count, found.dimension) == (6, 64)
        ids, vectors = [], []
        for batch, rows in found(batch_size=4, show_progress=False):
            ids += rows["id"].tolist()
            vectors += list(batch)
        assert [each - FIRST_ID for each in ids] == KEPT
        arrays = [np.load(p) for p in sorted((tmp_path / "emb" / kind).iterdir())]
        assert np.array_equal(np.stack(vectors), np.concatenate(arrays).astype(np.float32))


def test_killed_between_shards_it_goes_on_and_gives_the_same(
    clip: Made, shards: Path, tmp_path: Path
) -> None:
    coyo_tools.score(shards, tmp_path / "whole", asked(tmp_path / "whole_emb", clip))

    class Killed(BaseException):
        """Stands for the process's end."""

    def kill(step: Progress) -> None:
        if step.done == 1:
            raise Killed

    with pytest.raises(Killed):
        coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip), progress=kill)
    # A shard counts as done when both are there.
    (tmp_path / "emb" / "text_emb" / "text_emb_00000.npy").unlink()
    result = coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    assert 0 < result.rows_now <= 9  # the shard after the first may have ended meanwhile
    assert files(tmp_path / "emb") == files(tmp_path / "whole_emb")
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip)).rows_now == 0


@pytest.mark.parametrize("both", [False, True])
def test_overwriting_an_interrupted_run_leaves_nothing_of_it(
    clip: Made, dfn: Made, shards: Path, tmp_path: Path, both: bool
) -> None:
    for number in (3, 4):  # of other names than the run that follows has
        write_tar(shards / f"more-{number}.tar", [sample(20 + number)])
    broken = write_tar(shards / "z.tar", [sample(99)])
    broken.write_bytes(broken.read_bytes()[:700])
    made = (clip, dfn) if both else (clip,)
    with pytest.raises(CorruptFile):
        coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", *made, workers=1))
    assert len(list((tmp_path / "emb").rglob("*.npy"))) == (16 if both else 8)
    kept = tmp_path / "emb" / "mine" / "img_emb" / "img_emb_00000.npy"  # a folder of the user's
    kept.parent.mkdir(parents=True)
    kept.touch()

    for name in ("more-3.tar", "more-4.tar", "z.tar", "00000.tar"):
        (shards / name).unlink()
    coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip), overwrite=True)
    kept.unlink()
    coyo_tools.score(shards, tmp_path / "clean", asked(tmp_path / "clean_emb", clip))
    assert files(tmp_path / "emb") == files(tmp_path / "clean_emb")
    assert files(tmp_path / "out") == files(tmp_path / "clean")


def test_what_an_unfinished_shard_left_is_known_as_the_runs(
    clip: Made, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails in its first shard has no record of it, but files."""

    def full(*_: Any) -> None:
        raise StorageError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_write_table", full)
        with pytest.raises(StorageError):
            coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    assert (tmp_path / "emb" / "img_emb" / "img_emb_00000.npy").exists()
    (shards / "00000.tar").unlink()
    with pytest.raises(SettingsConflict, match="input had 3 files"):
        coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip), overwrite=True)
    arrays = sorted(path.name for path in (tmp_path / "emb").rglob("*.npy"))
    assert arrays == ["img_emb_00002.npy", "text_emb_00002.npy"]


@pytest.mark.parametrize("shortcut", ["resize_on_device", "scaled_decoding"])
def test_embeddings_of_two_kinds_are_not_mixed(
    clip: Made, shards: Path, tmp_path: Path, shortcut: str
) -> None:
    coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    other = asked(tmp_path / "emb", clip, **{shortcut: True})
    with pytest.raises(SettingsConflict, match=f"{shortcut} was null, is true"):
        coyo_tools.score(shards, tmp_path / "other", other)
    coyo_tools.score(shards, tmp_path / "other", other, overwrite=True)
    assert json.loads((tmp_path / "emb" / "manifest.json").read_text())["settings"][shortcut]


def test_a_broken_shard_may_be_fetched_again_with_embeddings_too(
    clip: Made, shards: Path, tmp_path: Path
) -> None:
    coyo_tools.score(shards, tmp_path / "whole", asked(tmp_path / "whole_emb", clip))
    good = (shards / "00002.tar").read_bytes()
    (shards / "00002.tar").write_bytes(good[:-6000])
    with pytest.raises(CorruptFile):
        coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip, workers=1))
    (shards / "00002.tar").write_bytes(good)
    result = coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    assert result.rows_now == 4
    assert files(tmp_path / "emb") == files(tmp_path / "whole_emb")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_embeddings_may_be_added_to_scores_that_are_there(
    clip: Made, shards: Path, tmp_path: Path
) -> None:
    coyo_tools.score(shards, tmp_path / "out", asked(None, clip))
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.parquet")}
    result = coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    assert result.rows_now == 9
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.parquet")} == before
    (tmp_path / "emb" / "img_emb" / "img_emb_00002.npy").unlink()
    again = coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip))
    assert again.rows_now == 4  # what someone removed is made again


def test_more_shards_than_files_may_be_open_at_once(clip: Made, tmp_path: Path) -> None:
    for number in range(80):
        write_tar(tmp_path / "shards" / f"{number:05d}.tar", [sample(number)])
    settings = asked(tmp_path / "emb", clip, workers=1)
    with few_files(60):
        coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings)
    kept = [FIRST_ID + number for number in range(80)]
    manifest = json.loads((tmp_path / "emb" / "manifest.json").read_text())
    assert manifest["digest"] == digest_of_ids([np.array(kept)])


def test_several_encoders_have_folders_of_their_own(
    clip: Made, dfn: Made, shards: Path, tmp_path: Path
) -> None:
    coyo_tools.score(shards, tmp_path / "out", asked(tmp_path / "emb", clip, dfn))
    for made in (clip, dfn):
        assert (tmp_path / "emb" / declare(made.choice).name / "img_emb").is_dir()
    with pytest.raises(SettingsConflict, match="belongs to a run with other settings: encoders"):
        coyo_tools.score(shards, tmp_path / "one", asked(tmp_path / "emb", clip))
    one = asked(tmp_path / "emb", clip)
    coyo_tools.score(shards, tmp_path / "one", one, overwrite=True)
    assert (tmp_path / "emb" / "img_emb" / "img_emb_00000.npy").exists()


def test_they_may_be_remote(clip: Made, shards: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    remote = "memory://emb"
    settings = replace(asked(None, clip), embeddings=remote)
    coyo_tools.score(shards, tmp_path / "out", settings)
    coyo_tools.score(shards, tmp_path / "local", asked(tmp_path / "emb", clip))
    for name in files(tmp_path / "emb"):
        assert memory.cat_file(f"/emb/{name}") == (tmp_path / "emb" / name).read_bytes()
    assert coyo_tools.score(shards, tmp_path / "out", settings).rows_now == 0
    memory.rm("/emb", recursive=True)


def test_the_command_says_what_it_kept(
    clip: Made, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = declare(clip.choice).name
    flags = ("--model", clip.choice.model, "--pretrained", clip.choice.pretrained)
    folders = ("-o", str(tmp_path / "out"), "--embeddings", str(tmp_path / "emb"))
    weights = ("--weights", f"{name}={clip.weights}")
    with pytest.raises(SystemExit) as end:
        main(["score", str(shards), "-c", "clip_similarity", *flags, *weights, *folders])
    assert end.value.code in (0, None)
    said = f"embeddings of {name}: 6 rows of 64 numbers, 3 without picture or caption left out: "
    assert said + str(tmp_path / "emb") in capsys.readouterr().out.splitlines()


def test_no_encoder_no_embeddings(shards: Path, tmp_path: Path) -> None:
    settings = ScoreSettings(columns=("word_count",), embeddings=str(tmp_path / "emb"))
    with pytest.raises(
        SettingsError, match="no column of this run has embeddings; add one of CLIP"
    ):
        coyo_tools.score(shards, tmp_path / "out", settings)
    assert not (tmp_path / "emb").exists()
    assert not (tmp_path / "out").exists()
