"""`--top`, `--sample`, text rules, recipes, stats, run and presets as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.metadata import rows_of, write_parts


@pytest.fixture
def source(tmp_path) -> Path:
    rows = [{"num_faces": n % 3, "watermark_score": n / 10} for n in range(10)]
    write_parts(tmp_path / "metadata", [rows_of(*rows)])
    return tmp_path / "metadata"


def rules_in(said: str) -> list[str]:
    return [step["rule"] for step in json.loads(said)["funnel"]]


def test_selections_keep_their_places_among_the_rules(coyo, source, tmp_path):
    status, said, _ = coyo(
        "filter", source, "-o", tmp_path / "s", "--json", "--top", "90%", "--by", "width",
        "--max-faces", "1", "--sample", "50%", "--top", "2", "--preset", "safe",
        "--by", "watermark_score", "--seed", "4",
    )  # fmt: skip
    assert status == 0
    assert rules_in(said) == [
        "top 90% by width", "num_faces <= 1", "sample 50%, seed 4", "top 2 by watermark_score",
        "nsfw_score_* <= 0.1",
    ]  # fmt: skip


def test_the_funnel_says_where_a_top_cuts(coyo, source, tmp_path):
    _, said, _ = coyo(
        "filter", source, "-o", tmp_path / "s", "--top", "30%", "--by", "watermark_score"
    )
    assert said.splitlines()[2].split() == [
        "top", "30%", "by", "watermark_score", "7", "7", "3", "from", "0.7",
    ]  # fmt: skip


def test_environment_variables_are_understood(coyo, source, tmp_path, monkeypatch):
    monkeypatch.setenv("COYO_FILTER_TOP", "50%\n3")
    monkeypatch.setenv("COYO_FILTER_BY", "width\nwatermark_score")
    _, said, _ = coyo("filter", source, "-o", tmp_path / "s", "--json")
    assert rules_in(said) == ["top 50% by width", "top 3 by watermark_score"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--top", "30%"], 2, "Each --top needs one --by"),
        (["--by", "width"], 2, "Each --top needs one --by"),
        (["--sample", "1%", "--seed", "1", "--seed", "2"], 2, "Each --sample needs one --seed"),
        (["--global", "--max-faces", "1"], 2, "--per-part and --global go with --top"),
        (
            ["--preset", "safe", "--per-part"],
            1,
            "per (--per-part, --global) says how a top is taken",
        ),
        (["--plan", "--preset", "safe", "--global"], 1, "these rules have none; leave it out"),
        (["--seed", "1"], 2, "Each --sample needs one --seed"),
        (["--top", "x", "--by", "width"], 1, "--top: 'x' is no amount"),
        (["--preset", "saff"], 1, "did you mean 'safe'?"),
        (["--recipe", "nowhere.yaml"], 1, "nowhere.yaml: no such file"),
        (["--stats", "nowhere"], 1, "nowhere: holds no finished `coyo stats`"),
    ],
)
def test_what_cannot_be_is_one_sentence(coyo, source, tmp_path, arguments, status, said):
    ended, printed, heard = coyo("filter", source, "-o", tmp_path / "s", *arguments)
    assert (ended, printed) == (status, "")
    assert said in heard
    assert not (tmp_path / "s").exists()


def test_a_recipe_names_the_source_too(coyo, source, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"source: {source}\nfilter: [{{max_faces: 0}}]\n")
    status, said, _ = coyo("filter", "-o", tmp_path / "s", "--recipe", path, "--json")
    assert (status, json.loads(said)["rows_in"]) == (0, 10)


def test_stats_is_a_table_and_ends_with_the_next_command(coyo, source, tmp_path):
    status, said, _ = coyo("stats", source, "-o", tmp_path / "st")
    lines = said.splitlines()
    assert status == 0
    assert lines[0].split() == ["column", "min", "mean", "max", *(
        f"{q}%" for q in (1, 5, 10, 25, 50, 75, 90, 95, 99))]  # fmt: skip
    assert next(line for line in lines if line.startswith("num_faces")).split() == [
        "num_faces", "0", "0.9", "2", "0", "0", "0", "0", "1", "2", "2", "2", "2",
    ]  # fmt: skip
    assert lines[-1].endswith(f"--by clip_similarity_vitl14 --stats {tmp_path / 'st'}")
    _, said, heard = coyo("filter", source, "-o", tmp_path / "s", "--top", "3", "--by", "width",
                          "--stats", tmp_path / "st")  # fmt: skip
    assert f"note: top 3 by width: with the histogram of {tmp_path / 'st'}" in heard
    status, said, _ = coyo("stats", source, "--json")
    assert (status, json.loads(said)["rows"]) == (0, 10)


def test_run_prints_every_stage(coyo, source, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"source: {source}\nfilter: [{{max_faces: 0}}]\nscore: {{columns: word_count}}")
    status, said, _ = coyo("run", path, "-o", tmp_path / "out")
    assert status == 0
    assert f"== filter: {tmp_path / 'out'}/subset" in said
    assert f"== score: {tmp_path / 'out'}/scores" in said
    _, said, _ = coyo("run", path, "-o", tmp_path / "out", "--json")
    assert [step["command"] for step in json.loads(said)["steps"]] == ["filter", "score"]


def test_presets_are_listed_and_shown(coyo):
    _, said, _ = coyo("presets")
    assert "laion2b-like         clip_similarity_vitb32 >= 0.28" in said
    _, said, _ = coyo("presets", "vila-coyo")
    assert "arXiv 2312.07533" in said
    assert said.splitlines()[-1] == "next: coyo filter -o subset --preset vila-coyo"
    _, said, _ = coyo("presets", "safe", "--json")
    assert json.loads(said)[0]["rules"] == [{"max_nsfw": 0.1}]
    status, _, heard = coyo("presets", "saef")
    assert (status, "did you mean 'safe'?" in heard) == (1, True)


def test_a_change_stands_at_its_place_and_is_told(coyo, source, tmp_path, monkeypatch):
    flags = ["--max-faces", "1", "--unescape-html", "--text-matches", "dog"]
    _, said, heard = coyo("filter", source, "-o", tmp_path / "s", *flags)
    lines = said.splitlines()
    assert lines[2].startswith("num_faces <= 1")
    assert lines[3].split()[:2] == ["html", "unescaped"]
    assert lines[3].endswith("changes 0 of the texts left")
    assert "note: text is html-unescaped; " in heard
    monkeypatch.setenv("COYO_FILTER_UNESCAPE_HTML", "1")
    _, said, _ = coyo("filter", source, "-o", tmp_path / "t", "--max-faces", "1", "--json")
    assert rules_in(said) == ["num_faces <= 1", "html unescaped"]
    monkeypatch.setenv("COYO_FILTER_UNESCAPE_HTML", "0")
    _, said, _ = coyo("filter", source, "-o", tmp_path / "u", "--max-faces", "1", "--json")
    assert rules_in(said) == ["num_faces <= 1"]


def test_tops_are_taken_of_each_part_or_of_the_source(coyo, source, tmp_path):
    top = ["--top", "3", "--by", "width"]
    for number, (flags, of) in enumerate(
        [(top, ""), ([*top, "--global"], ""), ([*top, "--per-part"], " of each part"),
         (["--per-part", *top], " of each part"), (["--preset", "vila-coyo"], " of each part"),
         (["--preset", "vila-coyo", "--global"], "")]
    ):  # fmt: skip
        _, said, _ = coyo("filter", source, "-o", tmp_path / str(number), "--json", *flags)
        amount = "20%" if "--preset" in flags else "3"
        assert rules_in(said)[0].startswith(f"top {amount}{of} by ")


def test_languages_join_and_lists_of_words_do_not(coyo, source, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(f"{name}word\n")
    status, said, _ = coyo(
        "filter", source, "-o", tmp_path / "s", "--json", "--language", "de", "--max-faces", "1",
        "--blocked-words", tmp_path / "a", "--language", "en", "--blocked-words", tmp_path / "b",
    )  # fmt: skip
    assert status == 0
    assert rules_in(said) == [
        "language is de or en", "num_faces <= 1", f"text lacks {tmp_path / 'a'}",
        f"text lacks {tmp_path / 'b'}",
    ]  # fmt: skip


def test_presets_are_compared_on_a_source(coyo, source, tmp_path):
    (tmp_path / "mine.yaml").write_text("filter: [{max_faces: 1}, {max_watermark: 0.55}]\n")
    compare = ["presets", "compare", "safe", "laion2b-like", tmp_path / "mine.yaml"]
    status, said, _ = coyo(*compare, source)
    lines = [line.split() for line in said.splitlines()]
    assert status == 0
    assert lines[1] == ["safe", "10", "100.00", "%", "0"]
    assert lines[3] == [str(tmp_path / "mine.yaml"), "4", "40.00", "%", "0"]
    assert lines[6] == ["safe,", "laion2b-like", "10", *("100.00", "%") * 3]
    assert "in all 4, in any 10 of 10 rows" in said
    assert said.rstrip().endswith(f"next: coyo filter {source} -o subset --preset NAME")
    status, said, _ = coyo(*compare, "--json", source)
    assert (status, json.loads(said)["in_all"]) == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["compare"], 2, "Missing argument"),
        (["compare", "saef"], 1, "did you mean 'safe'?"),
        (["compare", "saef", "nowhere"], 1, "did you mean 'safe'?"),
        (["compare", "safe", "laion2b-lik"], 1, "did you mean 'laion2b-like'?"),
        (["compare", "safe", "a/nowhere"], 1, "a/nowhere: no such file or folder"),
        (["compare", "safe", "safe", "nowhere"], 1, "each once"),
        (["compare", "safe", "laion2b-like", "--global", "nowhere"], 1, "have none; leave it out"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(coyo, tmp_path, monkeypatch, arguments, status,
                                                 said):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    ended, printed, heard = coyo("presets", *arguments)
    assert (ended, printed) == (status, "")
    assert said in heard


def test_a_variable_of_its_own_sets_each_option(coyo, source, monkeypatch):
    monkeypatch.setenv("COYO_PRESETS_COMPARE_JSON", "1")
    _, said, _ = coyo("presets", "compare", "safe", source)
    assert json.loads(said)["members"][0]["rows"] == 10
