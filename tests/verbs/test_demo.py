import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coyo_tools.cli import main
from coyo_tools.machinery.storage import LocalFolder
from coyo_tools.pieces.demo_data import demo_rows
from coyo_tools.verbs import demo as demo_module
from coyo_tools.verbs.demo import DemoResult, DemoStep, demo
from coyo_tools.words.errors import FolderBusy, SettingsError, StorageError

STEPS = ["filter", "download", "score", "compare", "report"]


@pytest.fixture(scope="module", autouse=True)
def no_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As on a machine where none were fetched: the demo scores what is at hand."""
    empty = str(tmp_path_factory.mktemp("nothing"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COYO_CACHE", "HF_HOME", "OPENNSFW2_HOME"):
            patch.setenv(name, empty)
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult, list[DemoStep]]:
    """One whole demo."""
    folder = tmp_path_factory.mktemp("demo") / "coyo-demo"
    told: list[DemoStep] = []
    return folder, demo(folder, tell=told.append), told


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(folder.glob("[!_]*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_every_step_is_told_with_the_line_a_user_would_type(ran: Any) -> None:
    folder, result, told = ran
    assert [step.command for step in told] == STEPS
    assert list(result.steps) == told
    assert all(step.line.startswith(f"coyo {step.command} {folder}/") for step in told)
    assert result.report == f"{folder}/report.html"


def test_every_rule_of_the_filter_drops_something(ran: Any) -> None:
    _, result, _ = ran
    filtered = result.steps[0].result
    assert filtered.rows_in == len(demo_rows())
    assert len(filtered.funnel) == len(demo_module.RULES)
    assert all(step.dropped > 0 for step in filtered.funnel)
    assert 60 <= filtered.rows_out < filtered.rows_in


def test_every_row_has_the_outcome_its_url_deserves(ran: Any) -> None:
    folder, result, _ = ran
    answers = {row.path: row.answer for row in demo_rows()}
    base = json.loads((folder / "demo.json").read_text())["base_url"]
    rows = rows_of(folder / "shards")
    assert len(rows) == result.steps[0].result.rows_out
    for row in rows:
        assert row["error"] == OUTCOMES.get(answers[row["url"].removeprefix(base)]), row["url"]
    failed = [row["error"] for row in rows if row["error"]]
    assert len(set(failed)) >= 5
    by_error = result.steps[1].result.by_error
    assert by_error == {name: failed.count(name) for name in by_error}


OUTCOMES = {
    "not_found": "http_404",
    "gone": "http_410",
    "forbidden": "http_403",
    "server_error": "http_5xx",
    "redirect_loop": "redirects",
    "html": "not_an_image",
    "svg": "not_an_image",
    "truncated": "truncated",
    "empty": "empty",
    "noai": "opt_out",
}


def test_a_url_that_occurs_twice_is_asked_for_once(ran: Any) -> None:
    folder, result, _ = ran
    rows = rows_of(folder / "shards")
    urls = {row["url"] for row in rows}
    assert len(urls) < len(rows)
    retried = {row["url"] for row in rows if row["error"] in ("http_5xx", "truncated")}
    # Redirects and the one answer that asks for patience cost a request more.
    assert len(urls) <= result.requests <= len(urls) + 3 * len(retried) + 25


def test_pictures_hash_as_published_and_near_duplicates_are_near(ran: Any) -> None:
    folder, result, _ = ran
    rows = [row for row in rows_of(folder / "shards") if row["status"] == "success"]
    answers = {row.image_phash: row.answer for row in demo_rows()}
    replaced = [row for row in rows if row["drift"] == "replaced"]
    assert {answers[row["image_phash"]] for row in replaced} <= {"placeholder", "picture"}
    assert sum(row["phash_distance"] == 0 for row in rows) >= 0.9 * len(rows)
    columns = result.steps[3].result.columns
    for name in ("text_length", "word_count", "num_tokens_bert", "num_tokens_gpt"):
        assert columns[name]["equal"] == 1.0
    assert columns["image_phash"]["same_picture"] > 0.8


def test_the_page_shows_all_of_it(ran: Any) -> None:
    folder, _, _ = ran
    page = (folder / "report.html").read_text("utf-8")
    for name in ("funnel", "columns", "download", "drift", "scores", "comparison", "pictures"):
        assert f'<section id="{name}"' in page
    assert page.count("<img ") == 60
    assert "keeps" in page  # the source was still there: before and after


def test_again_it_changes_nothing_and_asks_for_nothing(ran: Any) -> None:
    folder, _, _ = ran
    before = contents(folder)
    again = demo(folder)
    assert again.requests == 0
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    kept = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("runs.jsonl",))
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def test_with_its_port_taken_it_starts_anew(ran: Any) -> None:
    folder, _, _ = ran
    port = int(json.loads((folder / "demo.json").read_text())["base_url"].rsplit(":", 1)[1])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        result = demo(folder)
    assert result.requests > 0
    assert json.loads((folder / "demo.json").read_text())["base_url"] != f"http://127.0.0.1:{port}"
    assert f'"{port}' not in (folder / "report.html").read_text("utf-8")


def test_a_folder_that_holds_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match=r"thesis\.tex"):
        demo(tmp_path)
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"thesis\.tex"):
        demo(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["demo.json", "thesis.tex"]
    with pytest.raises(SettingsError, match="local"):
        demo("s3://bucket/demo")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(StorageError, match="a file"):
        demo(file)


def test_two_demos_keep_out_of_each_others_way(tmp_path: Path) -> None:
    with LocalFolder(str(tmp_path)).lock(), pytest.raises(FolderBusy):
        demo(tmp_path)


def test_the_command_prints_what_a_user_would_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["demo"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    positions = [said.index(f"$ coyo {name} ") for name in STEPS]
    assert positions == sorted(positions)
    assert "coyo-demo/report.html" in said
    assert "invented" in said
    assert said.count("\n  coyo ") == 3
    with pytest.raises(SystemExit) as end:
        main(["demo", "--json"])
    assert end.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [step["command"] for step in document["steps"]] == STEPS


def test_models_whose_weights_are_absent_are_named_in_one_line() -> None:
    columns, notes = demo_module.score_columns()
    assert columns[:2] == ("image_phash", "text_length")
    for note in notes:
        assert "\n" not in note
        assert "coyo-tools[score]" in note
