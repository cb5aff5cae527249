"""What the page shows, as plain data: gathered by the stage, drawn by the parts of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.pieces.report.charts import Mark
from coyo_tools.pieces.report.gallery import Picture
from coyo_tools.pieces.report.histograms import Histogram, Summary


@dataclass(frozen=True)
class Output:
    """One folder the report was given. command: what wrote it. manifest: None for img2dataset's."""

    url: str
    command: str
    manifest: Manifest | None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.url.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Step:
    """One line of the funnel, as the manifest has it. The first line is all rows."""

    rule: str
    dropped: int | None
    dropped_alone: int | None
    null: int
    left: int
    note: str


@dataclass(frozen=True)
class Side:
    """One outline of a column's chart. kind: "before", "after", ... label: as the key says it."""

    kind: str
    label: str
    summary: Summary


@dataclass(frozen=True)
class ColumnView:
    """One numeric column: its sides in the order drawn, their common histogram, a rule's bounds."""

    name: str
    meaning: str
    sides: tuple[Side, ...]
    histogram: Histogram | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class SubsetView:
    """A folder of `filter`. sampled: how the charts' rows were read, one sentence."""

    output: Output
    rows_in: int
    rows_out: int
    bytes_out: int
    steps: tuple[Step, ...]
    columns: tuple[ColumnView, ...]
    sampled: str


@dataclass(frozen=True)
class ShardsView:
    """A shard folder. errors: failure class (or img2dataset's message) to rows. drift: likewise.

    placeholders: as the manifest has them; empty where it has none.
    """

    output: Output
    rows: int
    successes: int
    errors: Mapping[str, int]
    sizes: tuple[ColumnView, ...]
    drift: Mapping[str, int]
    placeholders: Mapping[str, Any]
    sampled: str


@dataclass(frozen=True)
class ScoresView:
    """A folder of `score`. errors: failure class to rows."""

    output: Output
    rows: int
    errors: Mapping[str, int]
    columns: tuple[ColumnView, ...]
    sampled: str


@dataclass(frozen=True)
class ComparisonView:
    """A folder of `compare`. columns: the entries of compare.json."""

    output: Output
    columns: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class GalleryView:
    """Pictures of one shard folder, and how many were asked for but could not be shown."""

    output: Output
    pictures: tuple[Picture, ...]
    unreadable: int = 0


@dataclass(frozen=True)
class ReportView:
    """Everything on the page."""

    outputs: tuple[Output, ...]
    subsets: tuple[SubsetView, ...]
    shards: tuple[ShardsView, ...]
    scores: tuple[ScoresView, ...]
    comparisons: tuple[ComparisonView, ...]
    galleries: tuple[GalleryView, ...]
    version: str
