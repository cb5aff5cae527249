"""coyo diff"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option, overwrite_option, settings_from, settings_options
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import DiffSettings

if TYPE_CHECKING:
    from coyo_tools.pieces.changes import Changes
    from coyo_tools.verbs.diff import Difference, DiffSide, Missing


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "-o", "--out", metavar="DIR", help="Folder for the ids that one side lacks, as parquet."
)
@settings_options(DiffSettings)
@click.option("--exit-code", is_flag=True, help="End with status 1 where A and B differ.")
@overwrite_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    a: str,
    b: str,
    out: str | None,
    exit_code: bool,
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Say which rows subsets A and B share, by id, and which rule made each difference.

    What only A has is put to B's rules, and the other way round. "dropped" is by the first rule
    that drops a row, "dropped alone" by each rule. Example:

      coyo diff subset other-subset
    """
    from coyo_tools.verbs.diff import diff

    settings = settings_from(DiffSettings, values)
    found = diff(a, b, out, settings, overwrite=overwrite, progress=listener())
    if as_json:
        show.print_json(found.to_dict())
    else:
        tell(found)
    if exit_code and not found.same:
        ctx.exit(1)


def tell(found: Difference) -> None:
    """Print what is shared, what the runs differ in, and the rules that made the difference."""
    click.echo("\n".join(_lines(found)))


def _lines(found: Difference) -> Iterator[str]:
    a, b = found.a, found.b
    if not found.read:
        yield f"A  {a.place}\nB  {b.place}"
        yield f"the same {show.count(a.rows)} rows, by their digest {a.digest}; nothing was read"
    else:
        yield _sides(found)
    yield from _changes(found.changes)
    yield from _missing("A", "B", found.only_a)
    yield from _missing("B", "A", found.only_b)
    if found.fetched:
        yield f"\n{show.fetched(found.fetched)}"
    yield _ending(found)


def _sides(found: Difference) -> str:
    more = [
        (name, title)
        for name, title in (("repeated", "repeating an id"), ("without_id", "without id"))
        if getattr(found.a, name) or getattr(found.b, name)
    ]

    def row(name: str, side: DiffSide, only: int) -> list[str]:
        counts = [side.rows, *(getattr(side, field) for field, _ in more)]
        ids = [side.ids or 0, found.both or 0, only]
        return [name, side.place, *(show.count(number) for number in (*counts, *ids))]

    head = ["", "", "rows", *(title for _, title in more), "ids", "in both", "only here"]
    rows = [row("A", found.a, found.only_a.ids), row("B", found.b, found.only_b.ids)]
    return show.table(head, rows, left=(0, 1))


def _changes(changes: Changes | None) -> Iterator[str]:
    if changes is None:
        return
    rules = [f"  {sign} {line}" for sign, line in changes.recipe]
    if any(sign != " " for sign, _ in changes.recipe):
        yield "\n".join(["", "rules", *rules])
    elif rules:
        yield "\nrules: the same"
    pairs = {"command": changes.command, "source": changes.source, **changes.settings}
    pairs["revision"] = (_joined(changes.revisions[0]), _joined(changes.revisions[1]))
    pairs |= changes.versions
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            absent = "all" if name in ("columns", "limit_files") else "none"
            yield f"{name}: {_value(ours, absent)} in A, {_value(theirs, absent)} in B"
    if files := _files(changes.inputs):
        yield f"input files: {files}"


def _files(inputs: Mapping[str, int]) -> str:
    said = {"only_a": "only in A", "only_b": "only in B", "differing": "of one name but different"}
    return ", ".join(f"{inputs[key]} {what}" for key, what in said.items() if inputs[key])


def _joined(revisions: tuple[str, ...]) -> str | None:
    return ", ".join(revisions) or None


def _value(value: Any, absent: str) -> str:
    return absent if value is None else value if isinstance(value, str) else json.dumps(value)


def _missing(here: str, other: str, found: Missing) -> Iterator[str]:
    if not found.ids:
        return
    noun = "id" if found.ids == 1 else "ids"
    yield f"\n{show.count(found.ids)} {noun} only in {here}, by the rules of {other}"
    if found.reasons is None:
        yield f"  unknown: {found.note}"
        return
    rows = [
        [show.rule(step.rule), show.count(step.dropped), show.count(step.dropped_alone), step.note]
        for step in found.reasons
    ]
    if found.not_among_inputs:
        rows.append([f"not among {other}'s inputs", show.count(found.not_among_inputs), "", ""])
    if found.unexplained:
        why = "their values have changed since"
        rows.append(["dropped by none", show.count(found.unexplained), "", why])
    yield show.table(["rule", "dropped", "dropped alone", ""], rows, left=(0, 3))
    if found.asked_in:
        yield f"as their values are in {found.asked_in}"
    if found.note:
        yield f"note: {found.note}"


def _ending(found: Difference) -> str:
    told = "the same rows" if found.same else f"Jaccard {found.jaccard:.4f}"
    place = f": {found.out}" if found.out else ""
    following = ""
    if not (found.same or found.out):
        words = ("coyo", "diff", found.a.place, found.b.place, "-o", "difference")
        following = f"   {show.following(*words)}"
    return f"\n{told}, {show.seconds(found.seconds)}{place}{following}"
