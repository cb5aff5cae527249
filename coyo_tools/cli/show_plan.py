"""A plan as text: the funnel, what each rule leaves as bars, files, urls, bytes, hours, disk."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show

if TYPE_CHECKING:
    from coyo_tools.pieces.clusters import Estimate
    from coyo_tools.pieces.distinct import Count
    from coyo_tools.pieces.expected import Disk
    from coyo_tools.verbs.plan import FilterPlan, KeptOfFile

_FEW = 8  # files that are shown one by one
_FAR = 3.0  # an outlier: this many interquartile ranges beyond the quartiles (Tukey's far out)
_NAMED = 5  # outliers
_NARROWEST = 10  # characters of a bar


def tell_plan(plan: FilterPlan) -> None:
    """Print it; notes go to stderr."""
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(_funnel(plan))
    click.echo()
    click.echo(_chart(plan))
    click.echo()
    click.echo("\n".join(f"{head:<9} {text}".rstrip() for head, text in _facts(plan)))
    less = " and --limit-files" if plan.sampled else ""
    click.echo(
        f"nothing was written, {show.seconds(plan.seconds)}   "
        f"next: the same without --plan{less}, with -o subset"
    )


def _funnel(plan: FilterPlan) -> str:
    """As `filter` prints it, with unique kills; of a sample also what is left of the whole."""
    nulls = any(each.step.null for each in plan.funnel)
    head = ["rule", "dropped", "dropped alone", "unique kills", *(["null"] if nulls else []),
            "left", *(["left of all files, 95 %"] if plan.sampled else []), ""]  # fmt: skip
    whole = [show.count(plan.rows)] if plan.sampled else []
    first = ["all rows", "", "", "", *([""] if nulls else []), show.count(plan.rows_in), *whole, ""]
    rows = [
        [
            show.rule(each.step.rule),
            show.count(each.step.dropped),
            show.count(each.step.dropped_alone),
            show.count(each.unique_kills),
            *([show.count(each.step.null)] if nulls else []),
            show.count(each.step.left),
            *([_rows(each.whole["left"])] if plan.sampled else []),
            each.step.note,
        ]
        for each in plan.funnel
    ]
    return show.table(head, [first, *rows], left=(0, len(head) - 1))


def _chart(plan: FilterPlan) -> str:
    """A bar for what each rule leaves, as wide as the line allows."""
    left = [
        ("all rows", plan.rows_in),
        *((show.rule(s.step.rule), s.step.left) for s in plan.funnel),
    ]
    labels = max(len(label) for label, _ in left)
    labels = min(labels, max(show.columns() // 2, 1))
    room = max(show.columns() - labels - len("  100.00 %  "), _NARROWEST)
    lines = []
    for label, rows in left:
        share = rows / plan.rows_in if plan.rows_in else 0.0
        bar = show.bar(share, room)
        lines.append(f"{_short(label, labels):<{labels}}  {100 * share:6.2f} %  {bar}".rstrip())
    return "\n".join(lines)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _facts(plan: FilterPlan) -> Iterator[tuple[str, str]]:
    """What is said below the chart: a word and a line each; a line that goes on has no word."""
    yield "kept", f"{_rows(plan.kept)} of {show.count(plan.rows)} rows{_percent(plan)}"
    yield from _headed("by file", list(_files(plan)))
    if plan.unique:
        where = " (in the files looked at)" if plan.sampled else ""
        counts = [f"{name} {_count(each)}" for name, each in plan.unique.items()]
        yield "unique", ", ".join(counts) + where
    yield from _headed("download", list(_download(plan)))
    if plan.disk:
        yield "disk", _disk(plan.disk)
    yield "columns", f"{', '.join(plan.columns) or 'none'}: no other was read"
    if plan.fetched:
        yield "", show.fetched(plan.fetched)


def _headed(word: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from zip([word, *[""] * len(lines)], lines, strict=False)


def _percent(plan: FilterPlan) -> str:
    if not plan.rows:
        return ""
    low, high = (100 * bound / plan.rows for bound in (plan.kept.low, plan.kept.high))
    wide = "" if plan.kept.exact else f" (95 %: {low:.2f} to {high:.2f} %)"
    return f", {100 * plan.kept.value / plan.rows:.2f} %{wide}"


def _rows(estimate: Estimate) -> str:
    """12,345, or 12,345 (12,000 to 13,000)."""
    value, low, high = (show.count(round(x)) for x in (estimate.value, estimate.low, estimate.high))
    return value if estimate.exact else f"{value} ({low} to {high})"


def _files(plan: FilterPlan) -> Iterator[str]:
    looked = plan.by_file
    if plan.sampled:
        yield (
            f"{len(looked)} of {plan.files} looked at, drawn by a hash of their names"
            + (": one alone says nothing of how they differ" if len(looked) == 1 else "")
        )
    if len(looked) <= _FEW:
        yield from show.table(
            ["file", "rows", "kept", "share"],
            [[f.name, show.count(f.rows), show.count(f.kept), _share(f.share)] for f in looked],
        ).splitlines()
        return
    ordered = sorted(looked, key=lambda file: file.share)
    middle = statistics.median(file.share for file in ordered)
    yield (
        f"{len(looked)} files keep {_share(ordered[0].share)} ({ordered[0].name}) to "
        f"{_share(ordered[-1].share)} ({ordered[-1].name}), the middle one {_share(middle)}"
    )
    if outliers := _outliers(ordered):
        named = ", ".join(f"{file.name} {_share(file.share)}" for file in outliers[:_NAMED])
        more = f" and {len(outliers) - _NAMED} more" if len(outliers) > _NAMED else ""
        yield f"unlike the others: {named}{more}"


def _outliers(ordered: Sequence[KeptOfFile]) -> list[KeptOfFile]:
    """Those far outside, the farthest first."""
    low, middle, high = statistics.quantiles([f.share for f in ordered], n=4, method="inclusive")
    far = [f for f in ordered if max(low - f.share, f.share - high) > _FAR * (high - low)]
    return sorted(far, key=lambda file: -abs(file.share - middle))


def _share(share: float) -> str:
    return f"{100 * share:.2f} %"


def _count(count: Count) -> str:
    shown = show.count(count.values)
    if count.exact:
        return f"{shown} (exact)"
    return f"about {shown} (HyperLogLog, standard error {100 * count.standard_error:.1f} %)"


def _download(plan: FilterPlan) -> Iterator[str]:
    download, counted = plan.download, "url" in plan.unique
    known = "urls, each once" if counted else "urls at most: how many differ was not counted"
    yield f"{_rows(download.urls)} {known}"
    if download.census is None:
        yield "bytes and hours are unknown without a census of some urls; to make one:"
        yield "coyo download SUBSET --census 10000 -o census"
        return
    assert download.pictures is not None
    assert download.bytes is not None
    hours = show.interval(download.hours, _hours) if download.hours else "unknown hours"
    size = show.interval(download.bytes, show.size)
    yield f"{_rows(download.pictures)} pictures, {size}, {hours}"
    census = download.census
    of = "" if census.is_of(plan.source) else f" of another source, {census.source},"
    yield f"by the census of {show.count(census.urls)} urls{of} in {census.place}"


def _disk(disk: Disk) -> str:
    whole, stored = show.interval(disk.bytes, show.size), ""
    if disk.stored:
        stored = f", {show.interval(disk.stored, show.size)} of those still there"
    return (
        f"{whole} at {disk.image_size} px if every picture is still there"
        f"{stored} ({disk.bytes_per_pixel:.2f} bytes a pixel)"
    )


def _hours(hours: float) -> str:
    return show.seconds(3600 * hours)
