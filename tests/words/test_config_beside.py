"""Settings that lie in modules beside `coyo_tools.words.config`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import coyo_tools
from coyo_tools.words import config


def test_every_settings_class_is_to_be_had_from_config():
    names = [name for name in coyo_tools.__all__ if name.endswith("Settings")]
    assert len(names) > 10
    assert all(getattr(config, name) is getattr(coyo_tools, name) for name in names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'NoSettings'"):
        config.NoSettings  # noqa: B018


def test_a_filter_makes_no_classes_of_other_commands():
    code = (
        "import sys, coyo_tools.cli.filter, coyo_tools.verbs.filter; "
        "print([n for n in sys.modules if n.startswith('coyo_tools.words.config_')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
