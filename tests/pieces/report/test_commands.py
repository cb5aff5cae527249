import shlex

import pytest

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.pieces.report.commands import command_line, command_lines
from coyo_tools.pieces.report.views import Output
from coyo_tools.words.config import (
    CompareSettings,
    DownloadSettings,
    FilterSettings,
    ScoreSettings,
    as_json,
)

RULES = ({"min_clip_l14": 0.25}, {"where": "text like 'it''s $HOME'"})


def output(command: str, name: str, settings: object, **rest: object) -> Output:
    inputs = rest.pop("inputs", [])
    manifest = Manifest(command, as_json(settings), inputs, complete=True, **rest)  # type: ignore[arg-type]  # of the right types below
    return Output(f"/data/{name}", command, manifest)


FILTER = output(
    "filter",
    "sub set",
    FilterSettings(rules=RULES, columns=("id", "url")),
    result={"source": "hf://datasets/a/b"},
    inputs=[{"name": "p0", "bytes": 7}],
    files=["p0"],
)
DOWNLOAD = output(
    "download",
    "shards",
    DownloadSettings(only_shrink=False, timeout_s=2.5, robots=True),
    files=["00000.tar", "00000.parquet"],
)
SCORE = output("score", "scores", ScoreSettings(columns=("image_phash", "text_length")))


def test_filter_with_its_rules_quoted_for_the_shell() -> None:
    words = shlex.split(command_line(FILTER))
    assert words[:5] == ["coyo", "filter", "hf://datasets/a/b", "-o", "sub set"]
    assert words[5:9] == ["--min-clip-l14", "0.25", "--where", "text like 'it''s $HOME'"]
    assert words[9:] == ["--columns", "id,url"]


def test_settings_that_are_not_the_default() -> None:
    line = command_line(DOWNLOAD, [FILTER, DOWNLOAD])
    assert line == "coyo download 'sub set' -o shards --always-resize --robots"
    assert command_line(SCORE, [DOWNLOAD]) == (
        "coyo score shards -o scores -c image_phash -c text_length"
    )


def test_inputs_that_nothing_names_are_in_capitals() -> None:
    assert command_line(DOWNLOAD).startswith("coyo download SOURCE ")
    assert command_lines([Output("/x/shards", "download", None)]) == []


@pytest.mark.parametrize(
    ("read", "named"),
    [
        ({"name": "p0", "bytes": 7}, "hf://datasets/a/b"),
        ({"name": "p0", "bytes": 3}, "'sub set'"),
        ({"name": "00000.parquet", "bytes": 9}, "shards"),
        ({"name": "other", "bytes": 9}, "SOURCE"),
    ],
)
def test_what_was_compared_with_is_known_by_its_files(read: dict[str, object], named: str) -> None:
    made = output("compare", "diff", CompareSettings(), inputs=[{"side": "source", **read}])
    assert command_line(made, [FILTER, DOWNLOAD, SCORE, made]) == (
        f"coyo compare scores {named} -o diff"
    )
