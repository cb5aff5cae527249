"""Errors: one sentence each, one tree, whole after a process boundary."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.words import errors
from coyo_tools.words.errors import CoyoError, EngineError, MissingExtra, nearest

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CoyoError)
]


def test_where_what_and_what_to_do() -> None:
    assert str(CoyoError("is truncated")) == "is truncated"
    assert str(CoyoError("is truncated", where="a.parquet")) == "a.parquet: is truncated"
    whole = CoyoError("is truncated", where="a.parquet", todo="fetch it again")
    assert str(whole) == "a.parquet: is truncated; fetch it again"


@given(st.sampled_from(KINDS), st.text(), st.none() | st.text(), st.none() | st.text(), st.text())
def test_pickling_keeps_everything(
    kind: type[CoyoError], what: str, where: str | None, todo: str | None, details: str
) -> None:
    error = kind(what, where=where, todo=todo)
    if isinstance(error, EngineError):
        error.details = details
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.what, again.where, again.todo) == (what, where, todo)
    assert str(again) == str(error)
    assert getattr(again, "details", "") == getattr(error, "details", "")


def test_the_modules_docstring_draws_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^    ([│├└─ ]*)(\w+) ", errors.__doc__, re.M)
    depth = {name: len(lead) // 4 for lead, name in drawn}
    assert depth == {kind.__name__: len(kind.__mro__) - len(CoyoError.__mro__) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_says_what_it_means(kind: type[CoyoError]) -> None:
    assert kind.__doc__
    assert kind.exit_status == 1


def test_a_missing_extra_names_the_one_to_install() -> None:
    error = MissingExtra.of("score", "clip_similarity_vitb32")
    assert str(error) == (
        "clip_similarity_vitb32 needs packages that are not installed; "
        "run: pip install 'coyo-tools[score]'"
    )


def test_the_nearest_name() -> None:
    assert nearest("watermark_scor", ["width", "watermark_score"]) == "watermark_score"
    assert nearest("qqq", ["width", "watermark_score"]) is None
    assert nearest("x", []) is None
