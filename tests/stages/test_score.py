"""The stage of `score`: batches, order, failures, and what a worker reads."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from coyo_tools.pieces.scores.base import GREY, IMAGE, TEXT, Sample, Score, ScoreColumn
from coyo_tools.pieces.scores.lanes import Lane, load_lanes
from coyo_tools.stages import score as stage
from coyo_tools.stages import score_table
from coyo_tools.stages.batch_size import BatchSizes
from coyo_tools.stages.crew import Crew
from coyo_tools.words.errors import EngineError, SettingsError
from coyo_tools.words.failures import Failure
from tests.tars import picture


class Recorder:
    """A score that keeps the batches it is given; `prepare` may fail as it is told."""

    def __init__(self, fails: dict[str, Any] | None = None) -> None:
        self.batches: list[list[str]] = []
        self.fails = fails or {}

    def prepare(self, sample: Sample) -> Any:
        found = self.fails.get(sample.key, sample.key)
        if isinstance(found, Exception):
            raise found
        return found

    def score(self, prepared: Sequence[str]) -> Sequence[Any]:
        self.batches.append(list(prepared))
        return ([f"scored {key}" for key in prepared],)


def panel_of(scorer: Any, batch_size: int, inputs: tuple[str, ...] = (IMAGE,)) -> score_table.Panel:
    declared = Score(
        name="test",
        columns=(ScoreColumn("test", "string", "a test"),),
        inputs=inputs,
        model="none",
        licence="none",
        load=lambda _: scorer,
        exact=True,
    )
    lanes = [Lane((declared,), scorer)]
    return score_table.Panel(lanes, ("test",), BatchSizes(batch_size))


def gathered(
    panel: score_table.Panel,
    keys: Sequence[str],
    threads: int = 1,
    pictures: Mapping[str, bytes] | None = None,
) -> pa.Table:
    pictures = pictures or {}
    with Crew(threads, None) as crew:
        found = score_table.Gathered(panel, crew)
        for number, key in enumerate(keys):
            found.add(panel.prepare(score_table.Row(key, number, "caption", pictures.get(key))))
        found.end()
        return found.table()


def test_batches_are_full_but_the_last_and_values_stay_in_their_rows() -> None:
    scorer = Recorder()
    table = gathered(panel_of(scorer, 4), list("abcdefghij"))
    assert [len(batch) for batch in scorer.batches] == [4, 4, 2]
    assert table.column("test").to_pylist() == [f"scored {key}" for key in "abcdefghij"]
    assert table.column("id").to_pylist() == list(range(10))
    assert table.column_names == ["id", "key", "test", "error"]


def test_rows_without_a_value_and_failed_rows_take_no_place_in_a_batch() -> None:
    scorer = Recorder({"b": None, "c": Failure("corrupt_image"), "e": ValueError("odd mode")})
    lab = io.BytesIO()
    Image.new("LAB", (8, 8)).save(lab, "TIFF")  # which Pillow converts to colours, not to grey
    pictures = {"e": lab.getvalue()}
    table = gathered(panel_of(scorer, 2, (IMAGE, TEXT)), list("abcdef"), pictures=pictures)
    assert scorer.batches == [["a", "d"], ["f"]]
    assert table.column("test").to_pylist() == [
        "scored a",
        None,
        None,
        "scored d",
        None,
        "scored f",
    ]
    assert table.column("error").to_pylist() == [
        None,
        None,
        "corrupt_image",
        None,
        "corrupt_image",
        None,
    ]


class Seen(Recorder):
    """A score that keeps what it is shown of pictures."""

    def prepare(self, sample: Sample) -> Any:
        self.batches.append([sample.image, sample.grey])  # type: ignore[list-item]
        return sample.key

    def score(self, prepared: Sequence[str]) -> Sequence[Any]:
        return (prepared,)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("beside", [False, True])
def test_who_looks_at_the_picture_without_its_colours_gets_pillows_conversion(beside: bool) -> None:
    """beside: whether another score wants the colours."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    pictures = {
        "jpeg": encoded(noise, "JPEG"),
        "png": encoded(noise.convert("RGBA"), "PNG"),
        "broken": encoded(noise, "JPEG")[:900],
        "lab": encoded(Image.new("LAB", (8, 8)), "TIFF"),  # converts to colours, not to grey
        "empty": b"",
    }
    seen = Seen()
    panel = panel_of(seen, 2, (GREY,))
    if beside:
        (lane,) = panel_of(Seen(), 2).lanes
        named = dataclasses.replace(lane.scores[0], columns=(ScoreColumn("own", "string", ""),))
        lanes = [Lane((named,), lane.scorer), *panel.lanes]
        panel = dataclasses.replace(panel, lanes=lanes, columns=("own", "test"))
    table = gathered(panel, list(pictures), pictures=pictures)
    errors = [None, None, "corrupt_image", "corrupt_image", "empty"]
    assert table.column("error").to_pylist() == errors
    assert table.column("test").to_pylist() == ["jpeg", "png", None, None, None]
    if beside:  # who looks at colours has them where there is no grey
        assert table.column("own").to_pylist() == ["jpeg", "png", None, "lab", None]
    assert len(seen.batches) == 2
    for key, (image, grey) in zip(pictures, seen.batches, strict=False):
        assert (image is not None) == beside
        expected = np.asarray(Image.open(io.BytesIO(pictures[key])).convert("L"))
        assert np.array_equal(grey, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", [(TEXT,), (IMAGE,)])
def test_an_error_that_no_picture_explains_names_the_score(inputs: tuple[str, ...]) -> None:
    panel = panel_of(Recorder({"a": ValueError("a bug\nin lines")}), 2, inputs)
    said = "test: the score failed on a: ValueError: a bug; --debug shows where"
    with pytest.raises(EngineError, match=f"^{said}$") as raised:
        gathered(panel, ["a"], pictures={"a": picture()})
    assert "in prepare" in raised.value.details


class Given:
    """A score that gives what it is made with, whatever the batch."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def prepare(self, sample: Sample) -> str:
        return sample.key

    def score(self, _: Sequence[str]) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((["a"],), "the score gave 1 values for 2 rows"),
        ((["a", "b"], ["c", "d"]), "the score gave 2 columns, not 1"),
        (([1, 2],), "the score gave a value that is no string: Expected bytes, got a 'int'"),
        (LookupError("none"), "the score failed in a batch: LookupError: none; --debug shows"),
        (None, "the score failed in a batch: TypeError: 'NoneType'"),
    ],
)
def test_what_a_score_gives_wrongly_names_it(found: Any, said: str) -> None:
    with pytest.raises(EngineError) as raised:
        gathered(panel_of(Given(found), 2, (TEXT,)), ["a", "b"])
    assert str(raised.value).startswith(f"test: {said}")


def test_a_score_that_does_not_load_is_named() -> None:
    def load(_: Any) -> Any:
        raise OSError("no licence found")

    declared = Score("odd", (ScoreColumn("odd", "string", "a test"),), (TEXT,), "", "", load)
    with pytest.raises(EngineError, match="odd: the score failed to load: OSError: no licence"):
        load_lanes([declared], "cpu", "fp32", {})


def test_devices() -> None:
    torch = pytest.importorskip("torch", reason="needs the score extra")
    assert stage.pick_device("cpu") == "cpu"
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert stage.pick_device("auto") == expected
    with pytest.raises(SettingsError, match="cuda:99 is not there"):
        stage.pick_device("cuda:99")


@pytest.fixture
def tf32() -> Iterator[list[Any]]:
    """Where torch is told whether to use it, switched on; afterwards as it was."""
    import torch

    switches: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = True
    yield switches
    for switch, was in zip(switches, before, strict=True):
        switch.allow_tf32 = was


def test_float32_is_float32_on_a_gpu_too(tf32: list[Any]) -> None:
    """No GPU is needed to see which arithmetic torch is told to use there."""
    work = stage.ScoreWork("out", (), device="cuda:0", batch_size=1)
    work._panel([], (), "cpu")
    assert [switch.allow_tf32 for switch in tf32] == [True, True]
    work._panel([], (), "cuda:0")
    assert [switch.allow_tf32 for switch in tf32] == [False, False]


def test_output_names() -> None:
    from coyo_tools.pieces.shard_reader import Shard
    from coyo_tools.pieces.source import Part

    assert stage.output_name(Shard("x/00000.tar", "00000.tar", 1)) == "00000.parquet"
    assert stage.output_name(Part("x/part-0.parquet", "part-0.parquet", 1)) == "part-0.parquet"


def test_keys_of_metadata_are_those_download_makes() -> None:
    assert stage._key(2680060225205) == "0002680060225205"
    assert stage._key(None) is None
