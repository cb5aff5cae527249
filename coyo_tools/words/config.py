"""Settings: one frozen dataclass a verb, declared once.

A field made with `option()` carries its help, range and flag. The command line, the
environment variables, the manifest and docs/cli.md are all read from these declarations. A
setting with `affects_result=False` (how many processes, which device ...) may change between a
run and its continuation; every other one belongs to the folder it wrote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from coyo_tools.words.errors import SettingsError

Settings = TypeVar("Settings")

DEFAULT_SOURCE = "hf://datasets/kakaobrain/coyo-700m"


@dataclass(frozen=True)
class Option:
    """What the command line and the docs need to know of one setting."""

    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    flag: str | None = None  # where it is not the field's name with dashes
    negative_flag: str | None = None  # for booleans: --honor-opt-out/--ignore-opt-out
    multiple: bool = False
    metavar: str | None = None
    affects_result: bool = True


def option(default: Any, help: str, **rest: Any) -> Any:
    """A dataclass field that is also a command line option; see `Option` for `rest`."""
    return field(default=default, metadata={"option": Option(help, **rest)})


def options_of(settings: type[Any]) -> dict[str, Option]:
    """The options a settings class declares, by field name, in order."""
    return {
        f.name: f.metadata["option"] for f in dataclasses.fields(settings) if "option" in f.metadata
    }


def documented(settings: type[Settings]) -> type[Settings]:
    """Add every field's help, default and range to a settings class's docstring."""
    defaults = {f.name: f.default for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    lines = [
        f"{name} ({_brief(defaults[name], spec)}): {spec.help}"
        for name, spec in options_of(settings).items()
    ]
    settings.__doc__ = "\n\n".join([inspect.cleandoc(settings.__doc__ or ""), *lines])
    return settings


def _brief(default: Any, spec: Option) -> str:
    """Default, choices and range of an option, as the docstring shows them."""
    parts = [f"default {default!r}"]
    parts += [f"one of {', '.join(spec.choices)}"] if spec.choices else []
    parts += [f"at least {spec.minimum:g}"] if spec.minimum is not None else []
    parts += [f"at most {spec.maximum:g}"] if spec.maximum is not None else []
    return "; ".join(parts)


def check_ranges(settings: Any) -> None:
    """Raise SettingsError where a value lies outside the range its option declares."""
    for name, spec in options_of(type(settings)).items():
        _check_value(spec.flag or "--" + name.replace("_", "-"), getattr(settings, name), spec)


def _check_value(flag: str, value: Any, spec: Option) -> None:
    if spec.choices and not spec.multiple and value is not None and value not in spec.choices:
        raise SettingsError(f"{value!r} is none of {', '.join(spec.choices)}", where=flag)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if value != value:
        raise SettingsError("is not a number", where=flag)
    if spec.minimum is not None and value < spec.minimum:
        raise SettingsError(f"{value} is below {spec.minimum:g}, the smallest allowed", where=flag)
    if spec.maximum is not None and value > spec.maximum:
        raise SettingsError(f"{value} is above {spec.maximum:g}, the largest allowed", where=flag)


def _check_header(flag: str, text: str | None) -> None:
    """Raise SettingsError where a text cannot be part of a request's header."""
    if text is not None and not (text.strip() and text.isascii() and text.isprintable()):
        raise SettingsError(f"{text!r} is not of printable ASCII characters", where=flag)


def _check_server(text: str) -> None:
    """Raise SettingsError where a text is no address, with or without a port."""
    import ipaddress

    bare, colon, port = text.rpartition(":")
    spelled = [text] if not colon or not port.isdigit() else [text, bare.strip("[]")]
    for each in spelled:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(each)
            return
    raise SettingsError(f"{text!r} is no address or ADDRESS:PORT", where="--name-server")


def as_json(settings: Any, *, result_only: bool = True) -> dict[str, Any]:
    """Plain data for the manifest. result_only: leave out what cannot change the result."""
    specs = options_of(type(settings))
    return {
        f.name: _plain(getattr(settings, f.name))
        for f in dataclasses.fields(settings)
        if not result_only or f.name not in specs or specs[f.name].affects_result
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


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
        check_ranges(self)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> RemoteSettings:
        """What the environment says, the defaults elsewhere. Raises SettingsError."""
        given: dict[str, Any] = {}
        for each in dataclasses.fields(cls):
            name = f"COYO_REMOTE_{each.name.upper()}"
            if text := environment.get(name, "").strip():
                kind: type[Any] = type(each.default)
                try:
                    given[each.name] = kind(text)
                except ValueError as error:
                    raise SettingsError(
                        f"{text!r} is no {'whole ' * (kind is int)}number", where=name
                    ) from error
        return cls(**given)


SCHEMA_CHOICES = ("auto", "coyo", "laion", "datacomp", "coyo-labeled")
_SCHEMA_HELP = "Whose column names the source has; auto recognises them."


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
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
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
    workers: int | None = option(
        None,
        "Parts filtered at once; default one a core, at most 4.",
        minimum=1,
        metavar="N",
        affects_result=False,
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

    limit_files: int | None = option(
        None, "Read only the first N files of the source.", minimum=1, metavar="N"
    )
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
    of: tuple[str, ...] = option(
        (),
        "Look at this column, or SQL that gives a number, alone; repeatable. Default every "
        "numeric column.",
        multiple=True,
        metavar="COLUMN|SQL",
    )
    workers: int | None = option(
        None,
        "Parts read at once; default one a core, at most 4.",
        minimum=1,
        metavar="N",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class OverlapSettings:
    """Of what `compare_presets` counts the rows, and how."""

    limit_files: int | None = option(
        None, "Read only the first N files of the source.", minimum=1, metavar="N"
    )
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
    workers: int | None = option(
        None,
        "Parts read at once; default one a core, at most 4.",
        minimum=1,
        metavar="N",
        affects_result=False,
    )
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
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)

    def __post_init__(self) -> None:
        check_ranges(self)


@documented
@dataclass(frozen=True)
class DownloadSettings:
    """How `download` fetches, resizes and packs. Sizes in px or bytes, times in seconds."""

    image_size: int = option(384, "Target size, px.", minimum=1)
    resize: str = option(
        "keep_ratio",
        "keep_ratio: the shorter side becomes --image-size; keep_ratio_largest: the longer; "
        "center_crop and border: square; no: as fetched.",
        choices=("keep_ratio", "keep_ratio_largest", "center_crop", "border", "no"),
    )
    only_shrink: bool = option(
        True,
        "Leave pictures that are smaller than the target as they are.",
        negative_flag="--always-resize",
    )
    interpolation: str = option(
        "area",
        "How pixels are averaged when shrinking.",
        choices=("area", "nearest", "linear", "cubic", "lanczos"),
    )
    format: str = option("jpg", "Format of the stored pictures.", choices=("jpg", "png", "webp"))
    quality: int = option(
        95, "JPEG and WebP quality; for PNG the effort, 0 to 9.", minimum=0, maximum=100
    )
    keep_original_bytes: bool = option(
        False, "Store the fetched bytes untouched where no resize is needed."
    )
    samples_per_shard: int = option(10_000, "Rows a shard.", minimum=1)
    timeout_s: float = option(
        10.0,
        "Deadline of a whole request, redirects and body included.",
        flag="--timeout",
        minimum=0.1,
        metavar="SECONDS",
        affects_result=False,
    )
    retries: int = option(
        1,
        "Further tries of a row whose failure may pass; four times as many after 429 and 503.",
        minimum=0,
        affects_result=False,
    )
    max_bytes: int = option(50_000_000, "Largest answer that is read.", minimum=1)
    max_pixels: int = option(
        100_000_000, "Largest picture that is decoded, from its header.", minimum=1
    )
    user_agent: str | None = option(
        None,
        "User-Agent sent; the default names this tool and its version.",
        metavar="TEXT",
        affects_result=False,
    )
    contact: str | None = option(
        None,
        "Where those whose servers are asked can reach you: a page or an e-mail address, told in "
        "the User-Agent.",
        metavar="URL",
        affects_result=False,
    )
    honor_opt_out: bool = option(
        True,
        "Record, but do not store, pictures whose X-Robots-Tag says noai, noimageai, noindex "
        "or noimageindex.",
        negative_flag="--ignore-opt-out",
    )
    robots: bool = option(False, "Obey each host's robots.txt.", negative_flag="--no-robots")
    allow_private_addresses: bool = option(
        False, "Also fetch from private, loopback and link-local addresses (a local mirror)."
    )
    block_list: str | None = option(
        None,
        "A file of hosts, urls and sha256 or image_phash values, one a line, never to be stored.",
        metavar="FILE",
    )
    verify_phash: bool = option(
        False,
        "Hash each fetched original: adds image_phash_now, phash_distance and drift "
        "(same, drifted, replaced), and at the end marks placeholders beside the shards.",
    )
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
    processes: int | None = option(
        None, "Worker processes; default one a core.", minimum=1, affects_result=False
    )
    connections: int = option(
        128, "Connections a process keeps busy.", minimum=1, affects_result=False
    )
    per_host: int = option(
        32,
        "Connections to one host, of all processes together; at least one of each.",
        minimum=1,
        affects_result=False,
    )
    per_host_rate: float | None = option(
        None,
        "Requests a second to one host, of all processes together; 0: no limit. Default 20, and no "
        "limit for hosts spelled as private addresses (a local mirror).",
        minimum=0,
        metavar="R",
        affects_result=False,
    )
    engine: str = option(
        "coyo",
        "What fetches and resizes: this tool, or img2dataset (extra [img2dataset]) in processes of "
        "its own, without what docs/img2dataset.md lists.",
        choices=("coyo", "img2dataset"),
    )
    name_servers: tuple[str, ...] = option(
        (),
        "DNS server to ask, an address or ADDRESS:PORT; repeatable. Default the system's.",
        flag="--name-server",
        multiple=True,
        metavar="ADDRESS",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        _check_header("--user-agent", self.user_agent)
        _check_header("--contact", self.contact)
        for each in self.name_servers:
            _check_server(each)
        if self.format == "png" and self.quality > 9:
            object.__setattr__(self, "quality", 6)


@documented
@dataclass(frozen=True)
class CensusSettings:
    """How many urls `census` asks, and which."""

    urls: int = option(
        10_000,
        "Ask N urls of SUBSET, drawn at random, and say what fetching all of them would come to; "
        "no shards.",
        flag="--census",
        minimum=1,
        metavar="N",
    )
    seed: int = option(
        0, "Of --census: another seed draws other urls.", flag="--census-seed", minimum=0
    )

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
    weights: tuple[str, ...] = option(
        (),
        "Weights file for a column, instead of the usual download; repeatable.",
        multiple=True,
        metavar="COLUMN=PATH",
    )
    precision: str = option(
        "fp32", "Arithmetic of the CLIP models.", choices=("fp32", "fp16", "bf16")
    )
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
    device: str = option(
        "auto",
        "Where models run: auto (the first GPU if there is one), cpu, cuda, or a list such as "
        "cuda:0,cuda:1 with a worker each.",
        affects_result=False,
    )
    batch_size: int = option(
        32,
        "Pictures a model sees at once. Like the device it may move floats in the last digits.",
        minimum=1,
        affects_result=False,
    )
    workers: int | None = option(
        None,
        "Threads or processes that decode; default one a core.",
        minimum=1,
        affects_result=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.columns:
            raise SettingsError(
                "no column named", where="score", todo="add -c COLUMN; `coyo score --list` has them"
            )
        object.__setattr__(self, "columns", tuple(dict.fromkeys(self.columns)))


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
    schema: str = option("auto", _SCHEMA_HELP, choices=SCHEMA_CHOICES)
    max_mean_difference: float | None = option(
        None,
        "End with status 1 where a column's mean absolute difference is larger.",
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
