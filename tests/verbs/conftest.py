"""What the tests of several verbs read."""

from __future__ import annotations

import pytest

from tests.metadata import cut, nasty, small_bites, write_parts


@pytest.fixture(scope="package")
def source(tmp_path_factory):
    """801 odd rows in three parts, one of them of a single row."""
    folder = tmp_path_factory.mktemp("nasty") / "metadata"
    write_parts(folder, cut(nasty(801, 1), 500, 1), row_group_size=64)
    return folder


@pytest.fixture(scope="module")
def in_small_bites():
    """For `pytestmark = pytest.mark.usefixtures(...)`: several bites a part."""
    with small_bites():
        yield
