"""HTML entities: what Python's own unescape makes of every text."""

from __future__ import annotations

import html

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.html_text import unescaped

TEXTS = st.none() | st.text() | st.text("&amp;#x1lt gé東", max_size=12)


@given(st.lists(TEXTS, max_size=12))
def test_every_text_is_unescaped_once(texts):
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    found = frame.select(unescaped(pl.col("t")), before=pl.col("t"))
    assert found["t"].to_list() == [text and html.unescape(text) for text in texts]
    assert found["before"].to_list() == texts
