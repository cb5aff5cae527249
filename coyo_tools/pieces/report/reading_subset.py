"""A subset read into its funnel and its columns before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.pieces.report import evidence
from coyo_tools.pieces.report.charts import Mark
from coyo_tools.pieces.report.histograms import Sample, sample
from coyo_tools.pieces.report.part_about import source_url
from coyo_tools.pieces.report.reading import column_view, numeric_columns, open_some, sampled
from coyo_tools.pieces.report.views import Output, SubsetView
from coyo_tools.pieces.rules import KINDS, RuleKind
from coyo_tools.pieces.source import OpenPart, find
from coyo_tools.words.errors import CoyoError


def read_subset(output: Output, max_rows: int) -> SubsetView:
    """The funnel from the manifest; columns sampled here and, where still there, in the source."""
    assert output.manifest is not None
    result = output.manifest.result
    parts = open_some(output)
    names = numeric_columns(parts)
    after = replace(sample(parts, names, max_rows), rows=int(result["rows_out"]))
    before, why = _before(output.manifest, names, max_rows)
    sides = [("before", "source", before)] if before else []
    sides.append(("after", "kept", after))
    marks = marks_of(output.manifest.settings.get("rules") or ())
    return SubsetView(
        output,
        rows_in=int(result["rows_in"]),
        rows_out=int(result["rows_out"]),
        bytes_out=int(result["bytes_out"]),
        steps=evidence.steps(result),
        columns=tuple(column_view(name, _with(sides, name), marks.get(name, ())) for name in names),
        sampled=f"{sampled([(label, read) for _, label, read in sides])} {why}".strip(),
    )


def _with(sides: Sequence[tuple[str, str, Sample]], name: str) -> list[tuple[str, str, Sample]]:
    return [side for side in sides if name in side[2].columns]


def _before(manifest: Manifest, names: Sequence[str], max_rows: int) -> tuple[Sample | None, str]:
    """The source's columns, or None and why not."""
    url = source_url(manifest.result)
    if url is None:
        return None, "The manifest does not name the source, so only what was kept is drawn."
    settings = manifest.settings
    try:
        found = find(url, schema=str(settings.get("schema", "auto")))
        parts = found.first(settings.get("limit_files")).open_all()
        if not _is_the_same(parts, manifest.inputs):
            return None, f"{url} has changed since, so only what was kept is drawn."
        present = [n for n in names if any(n in part.binding.columns for part in parts)]
        return sample(parts, present, max_rows), ""
    except (CoyoError, OSError):
        return None, f"{url} cannot be read from here, so only what was kept is drawn."


def _is_the_same(parts: Sequence[OpenPart], inputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the files are those the run read: by name, size and footer."""
    return [_identity(part.identity()) for part in parts] == [_identity(i) for i in inputs]


def _identity(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in ("name", "bytes", "rows", "footer_sha256"))


def marks_of(rules: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Mark, ...]]:
    """The bounds that rules set on single columns, by column; of one kind the last one given.

    A shorter side of at least N is a width and a height of at least N; a bound on the aspect
    ratio is none on either.
    """
    found: dict[tuple[str, str], Mark] = {}
    for name, bound in (item for rule in rules for item in rule.items()):
        kind = KINDS.get(name)
        if kind is None or not kind.takes_number or not _is_of_each_column(kind):
            continue
        keeps = "above" if kind.operator == ">=" else "below"
        sign = "\u2265" if keeps == "above" else "\u2264"
        for column in kind.columns:
            found[column, keeps] = Mark(float(bound), keeps, f"{sign} {_bound(bound)}")
    return {
        column: tuple(mark for (name, _), mark in found.items() if name == column)
        for column, _ in found
    }


def _is_of_each_column(kind: RuleKind) -> bool:
    return (kind.combine, kind.operator) in (
        ("", ">="),
        ("", "<="),
        ("shorter", ">="),
        ("longer", "<="),
    )


def _bound(bound: float) -> str:
    return f"{bound:,}".replace("-", "\u2212", 1)
