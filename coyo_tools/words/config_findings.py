"""Settings of verbs that look at what others made, declared as `coyo_tools.words.options` says."""

from __future__ import annotations

from dataclasses import dataclass

from coyo_tools.words.options import (
    check_ranges,
    documented,
    limit_files_option,
    option,
    schema_option,
    workers_option,
)


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
