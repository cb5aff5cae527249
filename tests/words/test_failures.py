"""Failures of rows: a closed list with img2dataset's three statuses."""

from __future__ import annotations

import re

import pytest

from coyo_tools.words.failures import (
    FAILED_TO_DOWNLOAD,
    FAILED_TO_RESIZE,
    FAILURE_CLASSES,
    FAILURES,
    Failure,
    FailureClass,
)


def test_names_are_unique_and_found() -> None:
    assert len(FAILURES) == len(FAILURE_CLASSES)
    assert all(FAILURES[kind.name] is kind for kind in FAILURE_CLASSES)


@pytest.mark.parametrize("kind", FAILURE_CLASSES, ids=lambda kind: kind.name)
def test_each_class_is_well_formed(kind: FailureClass) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.name)
    assert kind.status in (FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE)
    assert kind.meaning
    assert "|" not in kind.meaning  # it is put into a table


def test_a_picture_that_does_not_decode_is_not_fetched_again() -> None:
    assert not any(kind.retry for kind in FAILURE_CLASSES if kind.status == FAILED_TO_RESIZE)


def test_a_failure_knows_its_status() -> None:
    assert Failure("dns", "no such host").status == FAILED_TO_DOWNLOAD
    assert Failure("corrupt_image").status == FAILED_TO_RESIZE


def test_a_name_outside_the_list_is_a_fault_of_the_program() -> None:
    with pytest.raises(KeyError, match="not in the closed list"):
        Failure("strange")
