"""Languages by cld3: what passes, and what is no language."""

from __future__ import annotations

import builtins
import threading

import gcld3
import polars as pl
import pytest

from coyo_tools.pieces import language
from coyo_tools.pieces.language import LANGUAGES, is_one_of, languages_of
from coyo_tools.words.errors import MissingExtra, RuleError

TEXTS = [
    "a photograph of a dog sitting on the grass", "ein kleiner Hund sitzt auf der Wiese",
    "un petit chien est assis dans l'herbe", "草の上に座っている小さな犬", "", "123 456", "😀",
    None,
]  # fmt: skip


def passing(texts, *codes):
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return frame.lazy().select(is_one_of(pl.col("text"), codes)).collect()["text"].to_list()


def test_each_language_and_none():
    assert passing(TEXTS, "en") == [True, *[False] * 6, None]
    assert passing(TEXTS, "de", "ja") == [False, True, False, True, False, False, False, None]
    assert passing([], "en") == []


def test_only_what_cld3_calls_reliable_passes():
    """The definition, asked of cld3 itself over captions that are hard to tell."""
    texts = ["wood table", "table", "small", "new house", "nice car", "hello"]
    find = gcld3.NNetLanguageIdentifier(1, 1000).FindLanguage
    answers = [find(text) for text in texts]
    assert passing(texts, "en") == [a.language == "en" and a.probability >= 0.7 for a in answers]
    assert any(a.language == "en" and not a.is_reliable for a in answers)


def test_threads_get_the_same_answers():
    texts = [text for text in TEXTS if text] * 50
    alone, together = passing(texts, "en"), []
    threads = [threading.Thread(target=lambda: together.append(passing(texts, "en")))
               for _ in range(4)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone] * 4


def test_codes_are_checked():
    assert languages_of("en") == ("en",)
    assert languages_of(["en", "zh-Latn", "en"]) == ("en", "zh-Latn")
    assert len(set(LANGUAGES)) == len(LANGUAGES)
    for value, said in (
        ("zh-latin", "did you mean 'zh-Latn'?"),
        ("EN", "did you mean 'en'?"),
        ("english", "'english' is no language that cld3 knows; it knows af, am,"),
        (5, "takes the code of a language, not 5"),
        ([], "takes the code of a language"),
        ([5], "5 is no language"),
    ):
        with pytest.raises(RuleError) as caught:
            languages_of(value)
        assert said in str(caught.value)


def test_without_cld3_the_extra_is_named(monkeypatch):
    language._identifier.cache_clear()
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "gcld3":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"run: pip install 'coyo-tools\[language\]'"):
        languages_of("en")
