"""Lists of words that no text may hold: `--blocked-words FILE`.

One word or phrase a line, UTF-8; a line that begins with `#` is a comment. Text and list are
case-folded as Unicode has it (`str.casefold`: STRASSE is straße), then compared word by word: a
word is a run of `\\w`, every other sign stands for itself, and how much space lies between does not
matter. `ass` is not found in `glass`; `t-shirt` is found in `T - Shirt`, not in `t shirt`.

One Aho-Corasick pass over the spaced-out text, whatever the length of the list, in place of a
regular expression: about a million rows/s a core; a regex of 450 words took 15 times as long.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.small_files import read_bytes
from coyo_tools.words.errors import RuleError, SourceError

if TYPE_CHECKING:
    import polars as pl

_SURROGATES = range(0xD800, 0xE000)  # code points that no text holds


@dataclass(frozen=True)
class BlockedWords:
    """A list as read. place: the file. sha256: of its bytes, hex. phrases: its lines, in order."""

    place: str
    sha256: str
    phrases: tuple[str, ...]

    def __str__(self) -> str:
        return self.place

    def as_recipe(self) -> dict[str, Any]:
        """As a recipe writes it, with the digest that the list has to have."""
        return {"blocked_words": self.place, "sha256": self.sha256}

    def found_in(self, text: pl.Expr) -> pl.Expr:
        """Whether a text holds one of them: Boolean, null of a null."""
        import polars as pl

        needles = pl.Series(self.phrases, dtype=pl.String)
        wanted = needles.to_frame("w").select(_spaced(pl.col("w")))["w"].unique(maintain_order=True)
        return _spaced(text).str.contains_any(wanted.to_list())


def _spaced(text: pl.Expr) -> pl.Expr:
    """Case-folded; single spaces around every word and sign, at both ends too."""
    import polars as pl

    folded = text.str.replace_many(*_folds())
    apart = folded.str.replace_all(r"[^\w\s]", " $0 ")
    # Single blanks are the rule and stay: replacing every run of space takes four times as long.
    padded = (pl.lit(" ") + apart + pl.lit(" ")).alias(text.meta.output_name())
    return padded.str.replace_all(r"\s{2,}|[\s--\ ]", " ")


@functools.cache
def _folds() -> tuple[list[str], list[str]]:
    """The characters that case folding changes, and what it makes of each."""
    every = (chr(code) for code in range(sys.maxunicode + 1) if code not in _SURROGATES)
    pairs = [(char, folded) for char in every if (folded := char.casefold()) != char]
    return [char for char, _ in pairs], [folded for _, folded in pairs]


def blocked_words_of(entry: Any, sha256: Any = None) -> BlockedWords:
    """The list in a file, local or remote. sha256: what its digest has to be, or None.

    Raises RuleError, and SourceError where the file cannot be read.
    """
    entry = os.fspath(entry) if isinstance(entry, os.PathLike) else entry
    if not isinstance(entry, str) or not entry:
        raise RuleError(f"takes a file, not {entry!r}", where="--blocked-words")
    data = read_bytes(entry)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise RuleError(
            f"is not the list that was asked for: its sha256 is {digest}, not {sha256}",
            where=entry,
            todo="put that list back, or leave the sha256 out to use this one",
        )
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise SourceError("is no UTF-8 text", where=entry, todo="save it as UTF-8") from error
    phrases = tuple(line for line in lines if line and not line.startswith("#"))
    if not phrases:
        raise RuleError("lists no word", where=entry, todo="write one word or phrase a line")
    return BlockedWords(entry, digest, phrases)
