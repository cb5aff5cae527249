"""Settings of `score`, declared as `coyo_tools.words.options` says."""

from __future__ import annotations

from dataclasses import dataclass

from coyo_tools.words.errors import SettingsError
from coyo_tools.words.options import check_ranges, documented, option, schema_option


@documented
@dataclass(frozen=True)
class ScoreSettings:
    """Which columns `score` recomputes, and with what."""

    columns: tuple[str, ...] = option(
        (),
        "Column to compute; repeatable. `coyo score --list` prints them all.",
        flag="--column",
        multiple=True,
        metavar="COLUMN",
    )
    boxes: bool = option(
        False,
        "Count faces and keep where they are: -c num_faces -c face_boxes.",
        affects_result=False,  # the columns say it
    )
    model: tuple[str, ...] = option(
        (),
        "Model of a column that has several, such as clip_similarity; COLUMN=NAME where more than "
        "one column takes a model; repeatable, a column each. `coyo score --list` suggests some.",
        multiple=True,
        metavar="[COLUMN=]NAME",
    )
    pretrained: tuple[str, ...] = option(
        (),
        "Weights of that model, by open_clip's name for them; one for each --model.",
        multiple=True,
        metavar="[COLUMN=]NAME",
    )
    weights: tuple[str, ...] = option(
        (),
        "Weights for a column, instead of the usual download: a file, or a folder where several "
        "files belong together; repeatable.",
        multiple=True,
        metavar="COLUMN=PATH",
    )
    embeddings: str | None = option(
        None,
        "Folder for the embeddings of pictures and captions too, float16, in the layout that "
        "clip-retrieval reads; below the model's name where several run.",
        metavar="DIR",
        affects_result=False,  # of the scores; the folder has a manifest of its own
    )
    precision: str = option(
        "fp32",
        "Arithmetic of the models that torch runs: all but nsfw_score_opennsfw2 and num_faces. How "
        "far others are from fp32 is measured and said.",
        choices=("fp32", "fp16", "bf16"),
    )
    resize_on_device: bool = option(
        False,
        "Shrink pictures for CLIP models where these run, not with Pillow as open_clip does.",
    )
    scaled_decoding: bool = option(
        False,
        "Decode JPEGs at a half, a quarter or an eighth where that leaves twice the side that the "
        "CLIP model sees. For columns of CLIP models alone.",
    )
    compile: bool = option(
        False,
        "Compile CLIP models (torch.compile): slower to start; floats may move in the last digits.",
        affects_result=False,
    )
    schema: str = schema_option()
    device: str = option(
        "auto",
        "Where models run: auto (the first GPU if there is one), cpu, cuda, or a list such as "
        "cuda:0,cuda:1 with a worker each.",
        affects_result=False,
    )
    batch_size: str | int = option(
        "auto",
        "Pictures a model sees at once, halved where the device's memory ends. auto: as many as a "
        "GPU's memory holds, up to 256; 8 on a CPU, where each core has a batch of its own. Like "
        "the device it may move floats in the last digits.",
        minimum=1,
        metavar="N|auto",
        affects_result=False,
    )
    workers: int | None = option(
        None,
        "Threads or processes that decode; default one a core.",
        minimum=1,
        affects_result=False,
    )
    decode_in: str = option(
        "auto",
        "What decodes beside a model. auto: processes where it runs on a GPU, more than 4 cores "
        "decode for it and there are 64 MB of pictures, else threads. The values are the same.",
        choices=("auto", "threads", "processes"),
        affects_result=False,
    )

    @property
    def shortcuts(self) -> bool:
        """Whether values may differ from those of float32, full decoding and Pillow's resizing."""
        return self.precision != "fp32" or self.resize_on_device or self.scaled_decoding

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", _batch_size(self.batch_size))
        check_ranges(self)
        if self.boxes:
            object.__setattr__(self, "columns", (*self.columns, "num_faces", "face_boxes"))
        if not self.columns:
            raise SettingsError(
                "no column named", where="score", todo="add -c COLUMN; `coyo score --list` has them"
            )
        object.__setattr__(self, "columns", tuple(dict.fromkeys(self.columns)))


def _batch_size(value: str | int) -> str | int:
    """`auto` or a number. Raises SettingsError."""
    if not isinstance(value, str) or value == "auto":
        return value
    if not value.strip().isdecimal():
        raise SettingsError(f"{value!r} is neither auto nor a number", where="--batch-size")
    return int(value)
