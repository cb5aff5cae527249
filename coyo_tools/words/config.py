"""Settings: one frozen dataclass a verb, declared once, as `coyo_tools.words.options` says."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coyo_tools.words.config_download import CensusSettings as CensusSettings
from coyo_tools.words.config_download import DownloadSettings as DownloadSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.options import Option as Option
from coyo_tools.words.options import as_json as as_json
from coyo_tools.words.options import check_ranges as check_ranges
from coyo_tools.words.options import documented, limit_files_option, schema_option, workers_option
from coyo_tools.words.options import option as option
from coyo_tools.words.options import options_of as options_of

_REMOTE = "COYO_REMOTE_"
DEFAULT_SOURCE = "hf://datasets/kakaobrain/coyo-700m"


@documented
@dataclass(frozen=True)
class RemoteSettings:
    """How files of web servers and hubs are read. No command line option: the environment sets them
    for every command, by the name with `COYO_REMOTE_` before it, such as `COYO_REMOTE_ATTEMPTS`.
    """

    attempts: int = option(
        8, "Tries of a request that gets no further, before the run ends.", minimum=1
    )
    patience_s: float = option(300.0, "Longest time to go on trying it.", minimum=0)
    pause_s: float = option(
        0.5, "Pause before the second try, about; it doubles with every try.", minimum=0
    )
    timeout_s: float = option(30.0, "Longest silence of a connection.", minimum=0.01)
    connections: int = option(16, "Requests in flight at once.", minimum=1)

    def __post_init__(self) -> None:
        check_ranges(self, _REMOTE)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> RemoteSettings:
        """What the environment says, the defaults elsewhere. Raises SettingsError."""
        given: dict[str, Any] = {}
        for each in dataclasses.fields(cls):
            name = _REMOTE + each.name.upper()
            if text := environment.get(name, "").strip():
                kind: type[Any] = type(each.default)
                try:
                    given[each.name] = kind(text)
                except ValueError as error:
                    raise SettingsError(
                        f"{text!r} is no {'whole ' * (kind is int)}number", where=name
                    ) from error
        return cls(**given)


@documented
@dataclass(frozen=True)
class FilterSettings:
    """What `filter` keeps.

    rules: in order, each a mapping of one rule to its value as a recipe writes it, such as
    `{"min_clip_l14": 0.25}` or `{"top": "30%", "by": "width"}`; `help(coyo_tools.filter)` lists
    them.
    """

    rules: tuple[Mapping[str, Any], ...] = ()
    columns: tuple[str, ...] | None = option(
        None, "Write only these columns, comma-separated, in this order.", metavar="A,B"
    )
    limit_files: int | None = option(
        None,
        "Read only the first N files of the source; with --plan N drawn by a hash of their names.",
        minimum=1,
        metavar="N",
    )
    schema: str = schema_option()
    statistics: bool = option(
        True,
        "Leave row groups unread in which, by their statistics, a rule keeps nothing.",
        negative_flag="--no-statistics",
    )
    stats: str | None = option(
        None,
        "Folder that `coyo stats` made of the same source: spares --top its first pass. Where it "
        "is absent, --top makes it; left out, SOURCE.stats is looked for.",
        metavar="DIR",
        affects_result=False,
    )
    workers: int | None = workers_option(
        "Parts whose rows are judged at once; each is decoded on all cores. Default one for two "
        "cores, at most 4."
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class PlanSettings:
    """What `plan` says beside the funnel."""

    image_size: int = option(384, "With --plan: disk for pictures of this size, px.", minimum=1)
    census: str | None = option(
        None,
        "With --plan: folder or file of a census, for bytes and hours; default the newest "
        "census.json beside the source or in the working directory.",
        metavar="DIR",
    )
    uniques: bool = option(
        True,
        "With --plan: count different urls, hashes and texts among the kept rows.",
        negative_flag="--no-uniques",
    )
    disk: bool = option(
        True,
        "With --plan: read width and height of the kept rows, for the disk that pictures need.",
        negative_flag="--no-disk",
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class StatsSettings:
    """What `stats` looks at."""

    limit_files: int | None = limit_files_option()
    schema: str = schema_option()
    of: tuple[str, ...] = option(
        (),
        "Look at this column, or SQL that gives a number, alone; repeatable. Default every "
        "numeric column.",
        multiple=True,
        metavar="COLUMN|SQL",
    )
    workers: int | None = workers_option("Parts read at once; default one a core, at most 4.")

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class OverlapSettings:
    """Of what `compare_presets` counts the rows, and how."""

    limit_files: int | None = limit_files_option()
    schema: str = schema_option()
    workers: int | None = workers_option("Parts read at once; default one a core, at most 4.")
    per_part: bool | None = option(
        None,
        "Take every top of each part by itself, or of the whole source; default as the preset "
        "or recipe says.",
        negative_flag="--global",
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class DiffSettings:
    """Where `diff` looks."""

    source: str | None = option(
        None,
        "Metadata in which to look up rows whose columns a side did not keep; default what the "
        "other side's manifest names.",
        metavar="SOURCE",
    )
    schema: str = schema_option()

    def __post_init__(self) -> None:
        check_ranges(self)


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


@documented
@dataclass(frozen=True)
class CompareSettings:
    """What `compare` looks at."""

    columns: tuple[str, ...] = option(
        (),
        "Compare only these; default every column both sides have.",
        flag="--column",
        multiple=True,
        metavar="COLUMN",
    )
    schema: str = schema_option()
    max_mean_difference: float | None = option(
        None,
        "End with status 1 where the mean absolute difference of a column of numbers is larger.",
        minimum=0,
        metavar="X",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class ReportSettings:
    """What `report` draws."""

    gallery: int = option(60, "Pictures in the gallery.", minimum=0, maximum=2000)
    max_rows: int = option(
        1_000_000, "Rows read for the histograms; more are sampled by row group.", minimum=1
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class PushSettings:
    """How `push` publishes a folder."""

    private: bool = option(False, "Make the dataset private where it is made.")
    revision: str = option("main", "Branch to write; made where it is absent.", metavar="BRANCH")
    message: str | None = option(
        None, "First line of the commit; the default names the rows.", metavar="TEXT"
    )
    license: str | None = option(
        None,
        "Licence of the metadata, as the hub writes it (cc-by-4.0, other ...); the default is "
        "COYO's where the rows are COYO's, else unknown.",
        metavar="NAME",
    )
    token_env: str | None = option(
        None,
        "Environment variable that holds the token; default HF_TOKEN, then what `hf auth login` "
        "keeps.",
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
