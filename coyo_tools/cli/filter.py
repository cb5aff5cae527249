"""coyo filter"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coyo_tools.cli import show
from coyo_tools.cli.options import (
    json_option,
    overwrite_option,
    progress_option,
    settings_from,
    settings_options,
    source_argument,
)
from coyo_tools.cli.progress_lines import listener
from coyo_tools.cli.rule_options import RuleCommand, rule_options, rules_given, source_given
from coyo_tools.words.config import DEFAULT_SOURCE, FilterSettings, PlanSettings, options_of

if TYPE_CHECKING:
    from coyo_tools.verbs.filter import FilterResult
    from coyo_tools.words.progress import Listener


@click.command(name="filter", cls=RuleCommand)
@source_argument
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    help="Folder to write; local, s3:// or gs://. Needed unless --plan.",
)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Write nothing: say what would be kept, and what fetching it would take.",
)
@rule_options
@settings_options(FilterSettings)
@settings_options(PlanSettings)
@overwrite_option
@progress_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str | None,
    out: str | None,
    only_plan: bool,
    overwrite: bool,
    progress_kind: str,
    as_json: bool,
    **values: Any,
) -> None:
    """Keep the rows that pass your rules and show what each rule dropped.

    The rules apply in the order in which you write them. Example:

      coyo filter metadata -o subset --min-clip-l14 0.25 --where "num_faces = 0"

    The same with --plan in place of -o shows it beforehand and writes nothing.
    """
    settings = replace(settings_from(FilterSettings, values), rules=rules_given(ctx))
    place = source or source_given(settings.rules) or DEFAULT_SOURCE
    if only_plan:
        _plan(
            place, settings, settings_from(PlanSettings, values), listener(progress_kind), as_json
        )
        return
    _check(ctx, out)
    from coyo_tools.verbs.filter import filter

    result = filter(
        place, out or "", settings, overwrite=overwrite, progress=listener(progress_kind)
    )
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell(result)


def _check(ctx: click.Context, out: str | None) -> None:
    """What goes with --plan only is not silently left out without it."""
    for name, spec in options_of(PlanSettings).items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = spec.flag or "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} goes with --plan.")
    if not out:
        raise click.UsageError("Missing option '-o' / '--out', or --plan.")


def _plan(
    source: str,
    settings: FilterSettings,
    wanted: PlanSettings,
    progress: Listener,
    as_json: bool,
) -> None:
    from coyo_tools.cli.show_plan import tell_plan
    from coyo_tools.verbs.plan import plan

    result = plan(source, settings, wanted, progress=progress)
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell_plan(result)


def tell(result: FilterResult) -> None:
    """Print the funnel and what was kept."""
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for cast in result.casts:
        click.echo(f"note: {cast}", err=True)
    if result.digest is None:
        click.echo("note: the source has no column id: the manifest has no digest", err=True)
    click.echo(_funnel(result))
    if result.fetched:
        click.echo(show.fetched(result.fetched))
    noun = "part" if result.parts == 1 else "parts"
    took = "complete already" if result.complete_before else show.seconds(result.seconds)
    click.echo(
        f"kept {100 * result.kept:.2f} % in {result.parts} {noun}, {show.size(result.bytes)}, "
        f"{took}: {result.out}   " + show.following("coyo", "download", result.out, "-o", "shards")
    )


def _funnel(result: FilterResult) -> str:
    """The table; its column `null` only where a rule met nulls, its notes unaligned at the end."""
    nulls = any(step.null for step in result.funnel)
    head = ["rule", "dropped", "dropped alone", *(["null"] if nulls else []), "left", ""]
    blank = [""] * (len(head) - 3)
    rows = [["all rows", *blank, show.count(result.rows_in), ""]]
    rows += [
        [
            show.rule(step.rule),
            show.count(step.dropped),
            show.count(step.dropped_alone),
            *([show.count(step.null)] if nulls else []),
            show.count(step.left),
            step.note,
        ]
        for step in result.funnel
    ]
    return show.table(head, rows, left=(0, len(head) - 1))
