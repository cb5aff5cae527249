"""Settings: declared once, checked once, plain data in the manifest."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.words import config
from coyo_tools.words.config import as_json, check_ranges, option, options_of
from coyo_tools.words.errors import SettingsError

CLASSES = [
    kind
    for name, kind in vars(config).items()
    if name.endswith("Settings") and dataclasses.is_dataclass(kind)
]
EVERY_CLASS = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
EVERY_OPTION = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in CLASSES for name in options_of(kind)]
)


def _made(kind: Any, **values: Any) -> Any:
    """The settings with defaults, and what has none filled in."""
    if kind is config.ScoreSettings:
        values = {"columns": ("image_phash",)} | values
    return kind(**values)


@dataclass(frozen=True)
class Sample:
    size_px: int = option(3, "Size.", minimum=1, maximum=9)
    wait_s: float = option(1.0, "Wait.", minimum=0.5, flag="--wait")
    kind: str = option("a", "Kind.", choices=("a", "b"))
    on: bool = option(True, "On.", minimum=1)
    names: tuple[str, ...] = option((), "Names.", multiple=True)
    processes: int | None = option(None, "Processes.", minimum=1, affects_result=False)
    rules: Any = ()

    def __post_init__(self) -> None:
        check_ranges(self)


def test_the_options_in_their_order() -> None:
    assert list(options_of(Sample)) == ["size_px", "wait_s", "kind", "on", "names", "processes"]
    assert options_of(Sample)["wait_s"].flag == "--wait"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size_px": 0}, "--size-px: 0 is below 1, the smallest allowed"),
        ({"size_px": 10}, "--size-px: 10 is above 9, the largest allowed"),
        ({"wait_s": 0.4}, "--wait: 0.4 is below 0.5, the smallest allowed"),
        ({"wait_s": math.nan}, "--wait: is not a number"),
        ({"wait_s": math.inf}, "--wait: inf is no finite number"),
        ({"kind": "c"}, "--kind: 'c' is none of a, b"),
        ({"processes": 0}, "--processes: 0 is below 1, the smallest allowed"),
    ],
)
def test_a_value_outside_its_range_is_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Sample(**values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size_px": 1.5}, "--size-px: 1.5 is no whole number"),
        ({"size_px": True}, "--size-px: True is no whole number"),
        ({"processes": "2"}, "--processes: '2' is no whole number"),
        ({"wait_s": "2"}, "--wait: '2' is no number"),
        ({"kind": None}, "--kind: None is no text"),
        ({"on": 1}, "--on: 1 is no true or false"),
        ({"names": ("a", 3)}, r"--names: \('a', 3\) is no list of texts"),
    ],
)
def test_a_value_of_another_type_is_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Sample(**values)


def test_one_text_stands_for_a_list_and_a_path_for_its_text() -> None:
    assert _made(Sample, names="ab").names == ("ab",)
    assert _made(Sample, names=["a", Path("b")]).names == ("a", "b")
    assert _made(Sample, size_px=np.int64(3)).size_px == 3
    assert _made(config.FilterSettings, columns="id").columns == ("id",)
    assert _made(config.StatsSettings, of="width").of == ("width",)
    assert _made(config.ScoreSettings, columns="width", boxes=True).columns[0] == "width"
    assert _made(config.DownloadSettings, block_list=Path("a/b.txt")).block_list == "a/b.txt"


def test_paths_and_numbers_of_numpy_in_rules_are_plain_data() -> None:
    rules = ({"blocked_words": Path("bad.txt")}, {"min_side": np.int32(3)})
    plain = as_json(_made(config.FilterSettings, rules=rules))
    assert json.loads(json.dumps(plain))["rules"] == [{"blocked_words": "bad.txt"}, {"min_side": 3}]


def test_a_setting_of_the_environment_is_named_by_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"^COYO_REMOTE_ATTEMPTS: 0 is below 1"):
        config.RemoteSettings(attempts=0)


def test_bounds_are_inclusive_and_booleans_are_no_numbers() -> None:
    for size in (1, 9):
        Sample(size_px=size)
    Sample(on=False)
    Sample(processes=None)


def test_the_manifest_gets_what_shapes_the_result_as_plain_data() -> None:
    sample = Sample(rules=({"in": ("a", "b")},), names=("x",), processes=4)
    plain = as_json(sample)
    assert "processes" not in plain
    assert as_json(sample, result_only=False)["processes"] == 4
    assert plain["rules"] == [{"in": ["a", "b"]}]
    assert json.loads(json.dumps(plain)) == plain


@EVERY_CLASS
def test_defaults_are_within_their_ranges_and_plain(kind: Any) -> None:
    plain = as_json(_made(kind), result_only=False)
    assert json.loads(json.dumps(plain)) == plain


@EVERY_CLASS
def test_settings_are_frozen_and_say_what_they_are_for(kind: Any) -> None:
    assert kind.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        _made(kind).anything = 1


@EVERY_OPTION
def test_every_option_has_a_sentence_of_help(kind: Any, name: str) -> None:
    spec = options_of(kind)[name]
    assert spec.help.endswith(".")
    assert spec.help[0].isupper() or spec.help.split(":")[0].split(",")[0] in (
        *spec.choices,
        "auto",
    )


@EVERY_OPTION
def test_every_bound_and_choice_is_enforced(kind: Any, name: str) -> None:
    spec = options_of(kind)[name]
    outside = [
        *([spec.minimum - 1] if spec.minimum is not None else []),
        *([spec.maximum + 1] if spec.maximum is not None else []),
        *(["no such choice"] if spec.choices and not spec.multiple else []),
    ]
    for value in outside:
        with pytest.raises(SettingsError):
            _made(kind, **{name: value})


def test_png_has_an_effort_for_a_quality() -> None:
    assert config.DownloadSettings(format="png").quality == 6
    assert config.DownloadSettings(format="png", quality=9).quality == 9
    with pytest.raises(SettingsError, match="--quality: 50 is above 9, the largest effort of PNG"):
        config.DownloadSettings(format="png", quality=50)


def test_score_wants_a_column() -> None:
    with pytest.raises(SettingsError, match="no column named; add -c COLUMN"):
        config.ScoreSettings()


def test_boxes_stand_for_two_columns() -> None:
    assert config.ScoreSettings(boxes=True).columns == ("num_faces", "face_boxes")
    both = config.ScoreSettings(columns=("face_boxes", "width"), boxes=True)
    assert both.columns == ("face_boxes", "width", "num_faces")
    assert "boxes" not in as_json(both)  # the columns say it
