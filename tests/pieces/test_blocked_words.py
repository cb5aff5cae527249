"""Lists of words: whole words, case folding, what is refused."""

from __future__ import annotations

import hashlib
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.blocked_words import BlockedWords, blocked_words_of
from coyo_tools.words.errors import RuleError, SourceError, SourceNotFound

# Letters of all kinds, folding oddities, signs that are no letters, spaces of several kinds.
ALPHABET = "abAB sSßẞ\u017f\u03c3ςΣéÉ東京_1-+#'.\t\u3000\n\u00a0\u0130\u0131\u212a\ufb01🔞"


def found(text: str | None, *phrases: str) -> bool | None:
    words = BlockedWords("list", "", phrases)
    return pl.DataFrame({"t": [text]}, schema={"t": pl.String}).select(
        words.found_in(pl.col("t"))
    ).item()  # fmt: skip


@pytest.mark.parametrize(
    ("text", "phrase", "is_there"),
    [
        ("a glass of water", "ass", False),
        ("an ass, grazing", "ass", True),
        ("ASS", "ass", True),
        ("ass_1", "ass", False),
        ("Große STRASSE", "straße", True),
        ("Große Straße", "STRASSE", True),
        ("ΟΔΟΣ", "οδος", True),
        ("ﬁne", "fine", True),
        ("a  very\tbad\u3000day", "very bad day", True),
        ("very, bad day", "very bad day", False),
        ("a T - Shirt", "t-shirt", True),
        ("a t shirt", "t-shirt", False),
        ("learn c++ now", "c++", True),
        ("learn c now", "c++", False),
        ("men's shoes", "men", True),
        ("only 🔞 here", "🔞", True),
        ("crème brûlée", "creme", False),
        ("東京タワー", "東京", False),
        ("", "ass", False),
        ("ass", "ass", True),
    ],
)
def test_a_phrase_is_found_as_whole_words(text, phrase, is_there):
    assert found(text, phrase) is is_there
    assert found(text, "something else", phrase) is is_there


def test_null_is_null():
    assert found(None, "ass") is None


def words_of(text: str) -> list[str]:
    """The definition, in Python's own words: runs of word characters, and every other sign.

    Marks belong to words, as Unicode has it (UTS 18) and Python's regular expressions have not.
    """
    return re.findall(r"[\w\u0307]+|[^\w\u0307\s]", text.casefold())


@given(
    texts=st.lists(st.text(ALPHABET, max_size=30), max_size=8),
    phrases=st.lists(
        st.text(ALPHABET, min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=4
    ),
)
def test_found_is_what_comparing_word_by_word_finds(texts, phrases):
    lists = [words_of(phrase) for phrase in phrases]

    def is_there(text: str) -> bool:
        words = words_of(text)
        return any(words[at : at + len(each)] == each for each in lists for at in range(len(words)))

    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    asked = BlockedWords("list", "", tuple(phrases))
    assert frame.select(asked.found_in(pl.col("t")))["t"].to_list() == [is_there(t) for t in texts]


def test_a_file_has_comments_blanks_and_a_digest(tmp_path):
    path = tmp_path / "words.txt"
    data = "\ufeff# a comment\n\n  bad word \r\nc#\n#not this\n".encode()
    path.write_bytes(data)
    read = blocked_words_of(str(path))
    assert read.phrases == ("bad word", "c#")
    assert read.sha256 == hashlib.sha256(data).hexdigest()
    assert read.as_recipe() == {"blocked_words": str(path), "sha256": read.sha256}
    assert blocked_words_of(str(path), read.sha256) == read
    assert blocked_words_of(path) == read


def test_what_is_no_list_is_one_sentence(tmp_path):
    (tmp_path / "empty").write_text("# nothing\n\n")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(RuleError, match="empty: lists no word; write one word or phrase a line"):
        blocked_words_of(str(tmp_path / "empty"))
    with pytest.raises(SourceError, match="latin: is no UTF-8 text; save it as UTF-8"):
        blocked_words_of(str(tmp_path / "latin"))
    with pytest.raises(SourceNotFound, match="gone: no such file"):
        blocked_words_of(str(tmp_path / "gone"))
    with pytest.raises(RuleError, match="takes a file, not 5"):
        blocked_words_of(5)
    with pytest.raises(RuleError, match="empty: is not the list that was asked for"):
        blocked_words_of(str(tmp_path / "empty"), "0" * 64)
