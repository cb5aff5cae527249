"""Text columns: COYO's published values, and captions that try the definitions."""

from __future__ import annotations

import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces.texts import (
    bert_tokenizer,
    count_tokens,
    gpt2_tokenizer,
    gpt2_vocabulary,
    text_length,
    word_count,
)

DATA = os.environ.get("COYO_TEST_DATA")
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = [*PRINTABLE, *(byte for byte in range(256) if byte not in PRINTABLE)]
BYTE_OF = {token: BYTES[i] for token, i in gpt2_vocabulary()[0].items() if i < 256}
VOCABULARIES = files("coyo_tools") / "data" / "vocab"


@pytest.mark.skipif(not DATA, reason="COYO_TEST_DATA names no folder with published_rows.json")
def test_published_rows() -> None:
    rows = json.loads(Path(str(DATA), "published_rows.json").read_text(encoding="utf-8"))
    texts = [row["text"] for row in rows]
    assert texts
    assert [text_length(t) for t in texts] == [row["text_length"] for row in rows]
    assert [word_count(t) for t in texts] == [row["word_count"] for row in rows]
    assert count_tokens(bert_tokenizer(), texts) == [row["num_tokens_bert"] for row in rows]
    assert count_tokens(gpt2_tokenizer(), texts) == [row["num_tokens_gpt"] for row in rows]


@given(st.text())
def test_length_and_words_by_their_definition(text: str) -> None:
    assert text_length(text) == len(text)
    assert word_count(text) == len(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("text", "words"), [("isn't", 2), ("a_b", 1), ("…", 0), ("", 0), ("naïve café", 2), ("3.14", 2)]
)
def test_words(text: str, words: int) -> None:
    assert word_count(text) == words


# Tokenised by hand with the published vocabularies.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Café", ["cafe"]),
        ("[CLS]", ["[", "cl", "##s", "]"]),
        ("[UNK] [MASK]", ["[", "un", "##k", "]", "[", "mask", "]"]),
        ("a" * 101, ["[UNK]"]),
        ("中文", ["中", "文"]),
        ("", []),
        ("\u200b\x00", []),
    ],
)
def test_bert_tokens(text: str, tokens: list[str]) -> None:
    found = bert_tokenizer().encode(text, add_special_tokens=False).tokens
    assert found == tokens
    assert count_tokens(bert_tokenizer(), [text]) == [len(tokens)]


@pytest.mark.parametrize(
    ("text", "count"), [("hello world", 2), (" hello", 1), ("<|endoftext|>", 7), ("", 0), ("🙂", 2)]
)
def test_gpt_tokens(text: str, count: int) -> None:
    assert count_tokens(gpt2_tokenizer(), [text]) == [count]


@given(st.lists(st.text(), max_size=8))
@settings(deadline=None)
def test_a_batch_counts_as_its_texts_do(texts: list[str]) -> None:
    for tokenizer in (bert_tokenizer(), gpt2_tokenizer()):
        assert count_tokens(tokenizer, texts) == [count_tokens(tokenizer, [t])[0] for t in texts]


@given(st.text())
@settings(deadline=None)
def test_gpt_tokens_spell_the_text(text: str) -> None:
    """Byte-level tokens lose nothing: their characters stand for the bytes of the text."""
    encoding = gpt2_tokenizer().encode(text, add_special_tokens=False)
    spelt = bytes(BYTE_OF[character] for token in encoding.tokens for character in token)
    assert spelt == text.encode()


def test_a_caption_of_a_hundred_thousand_characters() -> None:
    text = "a picture of a cat, " * 5_000
    assert count_tokens(bert_tokenizer(), [text]) == [6 * 5_000]
    assert count_tokens(gpt2_tokenizer(), [text]) == [6 * 5_000 + 1]


def test_the_vocabularies_are_the_published_files() -> None:
    """And GPT-2's encoder.json follows from its merges."""
    readme = (VOCABULARIES / "README.md").read_text(encoding="utf-8")
    for name in ("bert-base-uncased-vocab.txt", "gpt2-vocab.bpe"):
        digest = hashlib.sha256((VOCABULARIES / name).read_bytes()).hexdigest()
        assert f"`{digest}`" in readme
    vocabulary, merges = gpt2_vocabulary()
    encoder = json.dumps(vocabulary).encode()
    assert f"`{hashlib.sha256(encoder).hexdigest()}`" in readme
    assert len(merges) == 50_000


def test_licences_lie_beside_the_vocabularies() -> None:
    assert "Apache License" in (VOCABULARIES / "LICENSE-bert.txt").read_text()
    assert "Copyright (c) 2019 OpenAI" in (VOCABULARIES / "LICENSE-gpt2.txt").read_text("utf-8")
