"""The language of a text, by cld3: `--language en`. COYO's makers kept what cld3 calls English.

The most likely language counts, and only where cld3 calls it reliable: at a probability of 0.7 or
more (0.5 for hr and bs), its own thresholds. Texts of any length are judged, by at most 1,000
bytes; one without a letter has no language. COYO's own settings of cld3 are not published.

About 28,000 captions/s, and no more in threads: cld3's binding holds the interpreter's lock.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from coyo_tools.words.errors import MissingExtra, RuleError, nearest

if TYPE_CHECKING:
    import polars as pl

# What cld3 3.1 can answer; `iw` is Hebrew.
LANGUAGES: tuple[str, ...] = tuple(
    """
    af am ar az be bg bg-Latn bn bs ca ceb co cs cy da de el el-Latn en eo es et eu fa fi fil fr fy
    ga gd gl gu ha haw hi hi-Latn hmn hr ht hu hy id ig is it iw ja ja-Latn jv ka kk km kn ko ku ky
    la lb lo lt lv mg mi mk ml mn mr ms mt my ne nl no ny pa pl ps pt ro ru ru-Latn sd si sk sl sm
    sn so sq sr st su sv sw ta te tg th tr uk ur uz vi xh yi yo zh zh-Latn zu
    """.split()  # noqa: SIM905  a paragraph is easier to read than a hundred literals
)
_MIN_BYTES, _MAX_BYTES = 1, 1000  # with 0, cld3 calls a text without letters Japanese


def languages_of(value: Any) -> tuple[str, ...]:
    """`"en"` or a list of codes. Raises RuleError, and MissingExtra where cld3 is not installed."""
    codes = (value,) if isinstance(value, str) else value
    if not isinstance(codes, list | tuple) or not codes:
        raise RuleError(f"takes the code of a language, not {value!r}", where="--language")
    for code in codes:
        if code not in LANGUAGES:
            near = nearest(str(code).lower(), list(LANGUAGES))
            raise RuleError(
                f"{code!r} is no language that cld3 knows",
                where="--language",
                todo=f"did you mean {near!r}?" if near else f"it knows {', '.join(LANGUAGES)}",
            )
    _identifier()
    return tuple(dict.fromkeys(codes))


def is_one_of(text: pl.Expr, languages: tuple[str, ...]) -> pl.Expr:
    """Whether a text is, reliably, in one of these languages: Boolean, null of a null."""
    import polars as pl

    judged = functools.partial(_judged, languages)
    return text.map_batches(judged, return_dtype=pl.Boolean(), is_elementwise=True)


def _judged(languages: tuple[str, ...], texts: pl.Series) -> pl.Series:
    import polars as pl

    find = _identifier().FindLanguage
    passing = []
    for text in texts.to_list():
        found = None if text is None else find(text)
        passing.append(found and found.is_reliable and found.language in languages)
    return pl.Series(texts.name, passing, dtype=pl.Boolean)


@functools.cache
def _identifier() -> Any:
    """cld3, loaded once; used under the interpreter's lock only. Raises MissingExtra."""
    try:
        import gcld3
    except ImportError as error:
        raise MissingExtra.of("language", "--language") from error
    return gcld3.NNetLanguageIdentifier(min_num_bytes=_MIN_BYTES, max_num_bytes=_MAX_BYTES)
