"""The shell: parse, call one function of the API, print. `main` is the `coyo` command.

Each command lives in the module of its name and is imported when it is called, so that
`coyo --help` loads none of the heavy packages. This table is the one list of commands.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import Any

import click

from coyo_tools.cli.interrupts import interrupts_prevail
from coyo_tools.machinery import allocator
from coyo_tools.machinery.without_pandas import spare_pandas
from coyo_tools.words.errors import CoyoError, StorageError

COMMANDS: dict[str, str] = {
    "demo": "Try the whole way on bundled pictures served from this machine.",
    "inspect": "Show what a source holds: files, rows, columns, sizes, from footers alone.",
    "stats": "Show exact figures of every numeric column, and keep histograms for --top.",
    "filter": "Keep the rows that pass your rules and show what each rule dropped.",
    "diff": "Say what two subsets share, and which rule made each difference.",
    "download": "Fetch the images of a subset into tar shards.",
    "score": "Recompute columns from the images and captions.",
    "weights": "List, fetch and verify the model files that scores need.",
    "compare": "Set recomputed columns against the published ones.",
    "report": "Draw one page that shows what was kept, fetched and found.",
    "push": "Publish a folder of metadata on the Hugging Face hub, with a dataset card.",
    "run": "Run every stage of a recipe, or repeat a run from its manifest.",
    "presets": "Show the presets: rules with a name, a source and numbers.",
}

_OF_METADATA = frozenset(("inspect", "stats", "filter", "diff", "presets"))


class _Commands(click.Group):
    """A group whose commands are imported on use; errors become one sentence here."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The commands, in the order of the data's way."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import the module of that name and take its command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _OF_METADATA:
            gc.set_threshold(50_000)  # 30 ms less to load the modules; rows are no Python objects
        command = import_module(f"coyo_tools.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        _name_variables(command, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is answered with the nearest known one."""
        from coyo_tools.words.errors import nearest

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = nearest(name, list(COMMANDS))
            hint = f" Did you mean {near}?" if near else " See coyo --help."
            raise click.UsageError(f"No command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """The table above, in the order of the data's way, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _name_variables(command: click.Command, name: str) -> None:
    """Give each option COYO_<COMMAND>_<OPTION>, after the flag as typed; click's own guess is
    after the parameter, so --timeout would be ..._TIMEOUT_S."""
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            flag = max(option.opts, key=len).lstrip("-")
            option.envvar = f"COYO_{name}_{flag}".replace("-", "_").upper()
            option.allow_from_autoenv = False
    for sub, below in subcommands(command).items():
        _name_variables(below, f"{name}_{sub}")


def subcommands(command: click.Command) -> dict[str, click.Command]:
    """The commands that a command has beneath it, such as `coyo presets compare`, by name."""
    found: dict[str, click.Command] = getattr(command, "subcommands", {})
    return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coyo-tools", prog_name="coyo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def coyo(ctx: click.Context, debug: bool) -> None:
    """Turn COYO-700M metadata into the training set you need.

    A first look:  coyo demo
    """
    ctx.ensure_object(dict)["debug"] = debug


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a named error, 2 usage, 130 interrupted."""
    _spare()
    if args is None:  # the process is ours: what a last search for cycles would free ends with it
        atexit.register(gc.freeze)  # 35 ms, with polars and arrow loaded
        spare_pandas()
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given or bool(os.environ.get("COYO_DEBUG"))
    try:
        # It may stand before or after the command.
        status: Any = _invoke([a for a in given if a != "--debug"])
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to go on", err=True)
        status = 130
    except CoyoError as error:
        status = _tell(error, debug)
    except BrokenPipeError:
        if not _reader_gone():
            raise  # some other pipe: that is no ordinary end
        status = _closed_pipe()
    except OSError as error:
        if not _of_echo(error):
            raise  # some other file: that has to be told whole
        _drop_output()
        said = f"cannot be written: {error.strerror}"
        status = _tell(StorageError(said, where="the output", todo="send it elsewhere"), debug)
    sys.exit(status if isinstance(status, int) else 0)


def _spare() -> None:
    """Ask for less memory and time of what will be loaded; what a user has set stands."""
    allocator.spare()
    # numpy's OpenBLAS: its threads, one a core, look for work for up to 0.1 s of CPU each before
    # they sleep, from the import on. 4 is the shortest it knows; what it computes is the same.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


def _invoke(args: list[str]) -> Any:
    """What click's own `main` does, but for its ending every broken pipe silently with 1."""
    completing = os.environ.get("_COYO_COMPLETE")
    if completing:
        from click.shell_completion import shell_complete

        return shell_complete(coyo, {}, "coyo", "_COYO_COMPLETE", completing)
    with (
        coyo.make_context("coyo", args, auto_envvar_prefix="COYO") as ctx,
        interrupts_prevail(),
    ):
        return coyo.invoke(ctx)


def _tell(error: CoyoError, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
        details = getattr(error, "details", "")
        if details:
            click.echo(details, err=True)
    click.echo(f"coyo: {error}", err=True)
    return error.exit_status


def _reader_gone() -> bool:
    """Whether the other end of stdout or stderr is closed."""
    import select

    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _of_echo(error: OSError) -> bool:
    """Whether it was raised where results are printed: onto a full disk, for instance."""
    import traceback

    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return bool(frame.f_globals["__name__"] == click.echo.__module__)


def _closed_pipe() -> int:
    """Whoever read our output has gone (`coyo filter ... | head`): nothing to complain about."""
    _drop_output()
    return 0


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
