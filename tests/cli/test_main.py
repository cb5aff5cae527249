"""The `coyo` command itself: light, complete, documented, and honest in its exit status."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from coyo_tools import cli
from coyo_tools.words.config import options_of
from coyo_tools.words.errors import EngineError, LfsPointer

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch", "torchvision", "polars", "pyarrow", "datasets", "transformers", "numpy", "PIL",
    "aiohttp", "pandas", "scipy", "cv2", "huggingface_hub", "fsspec", "sqlglot", "tokenizers",
)  # fmt: skip
EVERY_COMMAND = pytest.mark.parametrize("name", cli.COMMANDS)


def _loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "coyo_tools" in loaded, done.stderr
    return loaded & set(HEAVY)


def _run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coyo_tools", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def _command(name: str) -> click.Command:
    command = cli.coyo.get_command(click.Context(cli.coyo), name)
    assert command is not None
    return command


# Light.


@pytest.mark.parametrize(("given", "found"), [({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "9"}, "9")])
def test_libraries_are_asked_to_spare_and_what_a_user_set_stands(
    given: dict[str, str], found: str
) -> None:
    code = (
        "import atexit, gc, os, sys; from coyo_tools.cli import main; sys.argv = ['coyo', '-h']; "
        "tell = lambda: print(os.environ['OPENBLAS_THREAD_TIMEOUT'], gc.get_freeze_count() > 0); "
        "atexit.register(tell); main()"  # the first to register is the last to be called
    )
    env = {key: value for key, value in os.environ.items() if key != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env | given
    )
    assert done.stdout.splitlines()[-1] == f"{found} True"


def test_help_loads_nothing_heavy() -> None:
    code = "from coyo_tools.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert _loaded_by(code) == set()


@EVERY_COMMAND
def test_the_help_of_a_command_loads_nothing_heavy(name: str) -> None:
    code = (
        f"from coyo_tools.cli import main\ntry: main(['{name}', '--help'])\nexcept SystemExit: pass"
    )
    assert _loaded_by(code) == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert _loaded_by("import coyo_tools; dir(coyo_tools)") == set()
    assert _loaded_by("import coyo_tools; coyo_tools.FilterSettings()") == set()


# Complete.


def test_help_lists_every_command_with_a_sentence() -> None:
    shown = " ".join(_run("--help", COLUMNS="200").stdout.split())
    for name, sentence in cli.COMMANDS.items():
        assert f"{name} {sentence}" in shown
        assert sentence.endswith(".")


@EVERY_COMMAND
def test_every_option_of_every_command_has_help(name: str) -> None:
    command = _command(name)
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.opts


SETTINGS = {
    "stats": "StatsSettings",
    "diff": "DiffSettings",
    "filter": "FilterSettings",
    "download": "DownloadSettings",
    "score": "ScoreSettings",
    "compare": "CompareSettings",
    "report": "ReportSettings",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_an_option_of_its_command(name: str) -> None:
    import coyo_tools

    settings = getattr(coyo_tools, SETTINGS[name])
    flags = {flag for option in _command(name).params for flag in option.opts}
    for field, spec in options_of(settings).items():
        assert (spec.flag or "--" + field.replace("_", "-")) in flags


@pytest.mark.parametrize("name", SETTINGS)
def test_the_defaults_shown_are_the_settings_own(name: str) -> None:
    import coyo_tools

    settings = getattr(coyo_tools, SETTINGS[name])
    params = {option.name: option for option in _command(name).params}
    for field in dataclasses.fields(settings):
        if "option" in field.metadata and field.default not in (None, ()):
            assert params[field.name].default == field.default


@EVERY_COMMAND
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    assert f"## coyo {name}" in text
    section = text.split(f"## coyo {name}\n")[1].split("\n## ")[0]
    for option in _command(name).params:
        for flag in option.opts if isinstance(option, click.Option) else []:
            assert flag in section, flag


# Environment variables.


@EVERY_COMMAND
def test_every_option_has_the_variable_of_its_flag(name: str) -> None:
    for option in _command(name).params:
        if isinstance(option, click.Option):
            flag = max(option.opts, key=len)
            expected = f"COYO_{name}_{flag[2:]}".upper().replace("-", "_")
            assert option.envvar == expected


def test_a_variable_sets_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COYO_DOWNLOAD_TIMEOUT", "2.5")
    monkeypatch.setenv("COYO_DOWNLOAD_IMAGE_SIZE", "77")
    monkeypatch.setenv("COYO_DOWNLOAD_HONOR_OPT_OUT", "0")
    values = _parsed("download", "subset", "-o", "out")
    assert (values["timeout_s"], values["image_size"], values["honor_opt_out"]) == (2.5, 77, False)
    assert _parsed("download", "subset", "-o", "out", "--image-size", "5")["image_size"] == 5


def test_a_variable_of_an_option_that_repeats_has_one_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COYO_STATS_OF", "width + height\nnum_faces\n")
    assert _parsed("stats", "metadata")["of"] == ("width + height", "num_faces")
    monkeypatch.setenv("COYO_SCORE_WEIGHTS", "clip=/my models/b32.pt")
    assert _parsed("score", "shards", "-o", "out")["weights"] == ("clip=/my models/b32.pt",)


def _parsed(name: str, *args: str) -> dict[str, Any]:
    command = _command(name)
    return dict(command.make_context(name, list(args)).params)


# Exit status.


def test_done_is_0() -> None:
    assert _run("--help").returncode == 0
    done = _run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "coyo,")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["filtre"], "No command 'filtre'. Did you mean filter?"),
        (["zzzzzz"], "No command 'zzzzzz'. See coyo --help."),
        (["--no-such-option"], "No such option '--no-such-option'."),
    ],
)
def test_usage_is_2(args: list[str], sentence: str) -> None:
    done = _run(*args)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stdout == ""


def _with_command(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    """Let `coyo demo` be something else for a test."""
    monkeypatch.setattr(cli.coyo, "get_command", lambda *_: click.command("demo")(body))


def _status(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(args))
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_a_named_error_is_1_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise LfsPointer("is a git-lfs pointer", where="a.parquet", todo="run: git lfs pull")

    _with_command(monkeypatch, body)
    assert _status("demo") == 1
    shown = capsys.readouterr()
    assert shown.err == "coyo: a.parquet: is a git-lfs pointer; run: git lfs pull\n"
    assert shown.out == ""


@pytest.mark.parametrize("args", [("--debug", "demo"), ("demo", "--debug"), ("demo",)])
def test_debug_adds_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    def body() -> None:
        error = EngineError("a worker failed")
        error.details = "the worker's own lines"
        raise error

    _with_command(monkeypatch, body)
    if "--debug" not in args:
        monkeypatch.setenv("COYO_DEBUG", "1")
    assert _status(*args) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "the worker's own lines" in shown
    assert shown.endswith("coyo: a worker failed\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_interrupted_is_130(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
) -> None:
    def body() -> None:
        raise error

    _with_command(monkeypatch, body)
    assert _status("demo") == 130
    assert "run the same command again" in capsys.readouterr().err


def test_ctrl_c_ends_a_command_and_its_workers(tmp_path: Path) -> None:
    script = (
        "import click, sys; from coyo_tools import cli\n"
        "from coyo_tools.machinery.engine import run; from tests.machinery.works import Beating\n"
        f"def body(): list(run(Beating({str(tmp_path)!r}), [1, 2], processes=2))\n"
        "cli.coyo.get_command = lambda *_: click.command('demo')(body)\n"
        "cli.main(['demo'])"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with command:
        assert command.stderr is not None
        end = time.monotonic() + 20
        while len(pids := [int(p.name[4:]) for p in tmp_path.iterdir()]) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        command.send_signal(signal.SIGINT)
        assert command.wait(10) == 130
        assert command.stderr.read() == "interrupted; run the same command again to go on\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_reader_that_goes_is_no_error() -> None:
    script = (
        "import click, sys; from coyo_tools import cli\n"
        "def body():\n"
        "    for n in range(100_000): click.echo('line')\n"
        "cli.coyo.get_command = lambda *_: click.command('demo')(body)\n"
        "cli.main(['demo'])"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    with writer:
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
        assert writer.wait() == 0


def test_another_broken_pipe_is_not_taken_for_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        raise BrokenPipeError("a socket")

    _with_command(monkeypatch, body)
    with pytest.raises(BrokenPipeError):
        cli.main(["demo"])


def test_python_dash_m_is_the_command() -> None:
    assert _run("--version").stdout.startswith("coyo, version ")
