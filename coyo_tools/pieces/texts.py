r"""What COYO's text columns count, by definitions that reproduce the published values.

text_length counts characters (code points), word_count the runs of `\w+`, num_tokens_bert
the WordPiece tokens of bert-base-uncased without [CLS] and [SEP], num_tokens_gpt the byte-pair
tokens of GPT-2 without a prefix space. A caption is plain text through and through: where
"[CLS]" or "<|endoftext|>" stands in one, it is split like any other text and never taken for
the special token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORD = re.compile(r"\w+")
_END_OF_TEXT = "<|endoftext|>"
_MAX_CHARS_PER_WORD = 100  # bert-base-uncased: a longer word is one [UNK]


def text_length(text: str) -> int:
    """Characters (code points), as Python's `len`."""
    return len(text)


def word_count(text: str) -> int:
    r"""Runs of `\w+`: "isn't" is two, "a_b" one, "…" none."""
    return sum(1 for _ in _WORD.finditer(text))


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, no special ones added."""
    return [len(e) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _vocabulary(name: str) -> list[str]:
    data = files("coyo_tools") / "data" / "vocab" / name
    return data.read_text(encoding="utf-8").removesuffix("\n").split("\n")


@cache
def bert_tokenizer() -> Tokenizer:
    """bert-base-uncased: lower case, accents stripped, WordPiece. No special token is known."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {piece: i for i, piece in enumerate(_vocabulary("bert-base-uncased-vocab.txt"))}
    model = models.WordPiece(
        vocabulary,
        unk_token="[UNK]",  # noqa: S106  a word, not a password
        max_input_chars_per_word=_MAX_CHARS_PER_WORD,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@cache
def gpt2_tokenizer() -> Tokenizer:
    """GPT-2: byte-level byte-pair encoding, no prefix space. No special token is known."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary, merges = gpt2_vocabulary()
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


def gpt2_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """GPT-2's encoder.json, derived from its merges, and the merges.

    Tokens are numbered: the 256 bytes, then what each merge joins, then `<|endoftext|>`.
    """
    lines = _vocabulary("gpt2-vocab.bpe")[1:]  # the first names the format's version
    merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
    tokens = [*_byte_characters(), *(left + right for left, right in merges), _END_OF_TEXT]
    return {token: number for number, token in enumerate(tokens)}, merges


def _byte_characters() -> list[str]:
    """GPT-2's character for each byte, in the order of its vocabulary.

    Printable Latin-1 stands for itself and comes first; the others follow as the characters
    from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
