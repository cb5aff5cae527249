"""Settings: one frozen dataclass a verb, declared once, as `coyo_tools.words.options` says.

Those of other verbs than these lie in modules beside this one and are to be had here as well: a
command makes only the classes it needs, because to make one takes Python up to 1.5 ms.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coyo_tools.words.errors import SettingsError
from coyo_tools.words.options import Option as Option
from coyo_tools.words.options import as_json as as_json
from coyo_tools.words.options import check_ranges as check_ranges
from coyo_tools.words.options import documented, limit_files_option, schema_option, workers_option
from coyo_tools.words.options import option as option
from coyo_tools.words.options import options_of as options_of

if TYPE_CHECKING:
    from coyo_tools.words.config_download import CensusSettings as CensusSettings
    from coyo_tools.words.config_download import DownloadSettings as DownloadSettings
    from coyo_tools.words.config_findings import CompareSettings as CompareSettings
    from coyo_tools.words.config_findings import DiffSettings as DiffSettings
    from coyo_tools.words.config_findings import OverlapSettings as OverlapSettings
    from coyo_tools.words.config_findings import PushSettings as PushSettings
    from coyo_tools.words.config_findings import ReportSettings as ReportSettings
    from coyo_tools.words.config_score import ScoreSettings as ScoreSettings

_BESIDE = {
    "CensusSettings": "config_download",
    "DownloadSettings": "config_download",
    "ScoreSettings": "config_score",
    "OverlapSettings": "config_findings",
    "DiffSettings": "config_findings",
    "CompareSettings": "config_findings",
    "ReportSettings": "config_findings",
    "PushSettings": "config_findings",
}
_REMOTE = "COYO_REMOTE_"
DEFAULT_SOURCE = "hf://datasets/kakaobrain/coyo-700m"


def __getattr__(name: str) -> Any:
    if name not in _BESIDE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"coyo_tools.words.{_BESIDE[name]}"), name)
    globals()[name] = found
    return found


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
