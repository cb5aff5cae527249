"""What a report shows of a set of folders, read."""

from __future__ import annotations

from collections.abc import Sequence

from coyo_tools.pieces.report import evidence
from coyo_tools.pieces.report.reading import read_comparison, read_gallery, read_scores, read_shards
from coyo_tools.pieces.report.reading_subset import read_subset
from coyo_tools.pieces.report.views import Output, ReportView
from coyo_tools.words.config import ReportSettings


def gather(folders: Sequence[str], settings: ReportSettings, version: str) -> ReportView:
    """Everything the page shows. Raises SourceError, SettingsError of the first bad folder."""
    outputs = tuple(evidence.recognise(folder) for folder in folders)
    of = {command: _of(outputs, command) for command in evidence.DRAWN}
    rows = settings.max_rows
    return ReportView(
        outputs,
        subsets=tuple(read_subset(output, rows) for output in of["filter"]),
        shards=tuple(read_shards(output, rows) for output in of["download"]),
        scores=tuple(read_scores(output, rows) for output in of["score"]),
        comparisons=tuple(read_comparison(output) for output in of["compare"]),
        galleries=tuple(
            read_gallery(output, of["score"], settings.gallery) for output in of["download"]
        ),
        version=version,
    )


def _of(outputs: Sequence[Output], command: str) -> list[Output]:
    return [output for output in outputs if output.command == command]
