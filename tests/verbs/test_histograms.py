"""Histograms kept for --top: found by themselves, made where they are asked for, never trusted
for another source."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import coyo_tools
from coyo_tools import FilterSettings, StatsSettings
from coyo_tools.pieces.sidecar import kept_place
from coyo_tools.verbs import passes
from coyo_tools.words.errors import (
    CorruptFile,
    RuleError,
    SchemaError,
    SettingsConflict,
    SettingsError,
)
from tests.metadata import bytes_of, cut, metadata, nasty, write_parts

SUM = "clip_similarity_vitb32 + clip_similarity_vitl14"


@pytest.fixture
def source(tmp_path):
    write_parts(tmp_path / "metadata", cut(nasty(801, 1), 500, 1), row_group_size=64)
    return tmp_path / "metadata"


@pytest.fixture
def histograms_read(monkeypatch):
    """How often the whole source was counted."""
    times = []
    tallies = passes.Passes.tallies

    def counted(self, what, note, **more):
        if what.at is None and not what.before:
            times.append(note)
        return tallies(self, what, note, **more)

    monkeypatch.setattr(passes.Passes, "tallies", counted)
    return times


def top(source, out, by="width", **settings):
    return coyo_tools.filter(source, out, FilterSettings(**settings), top="30%", by=by)


def test_kept_stats_are_found_beside_the_source(source, tmp_path, histograms_read):
    top(source, tmp_path / "a")
    told = coyo_tools.stats(source, keep=True)
    assert told.out == f"{source}.stats"
    histograms_read.clear()
    found = top(source, tmp_path / "b")
    assert histograms_read == []
    assert found.notes == (f"top 30% by width: with the histogram of {source}.stats",)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_stats_of_other_files_are_said_and_not_used(source, tmp_path, histograms_read):
    coyo_tools.stats(source, keep=True)
    histograms_read.clear()
    found = top(source, tmp_path / "a", limit_files=2)
    assert histograms_read == ["top 30% by width"]
    assert found.notes == (
        f"top 30% by width: {source}.stats is not used: holds the stats of another source or "
        "schema: its input had 3 files, this one has 2",
    )
    write_parts(source, [metadata(20)])
    assert "input part-0.parquet differs in" in top(source, tmp_path / "b").notes[0]
    (tmp_path / "metadata.stats" / "histograms.npz").write_bytes(b"PK")
    coyo_tools.stats(source, keep=True, overwrite=True)
    (tmp_path / "metadata.stats" / "histograms.npz").write_bytes(b"PK")
    assert "its histograms cannot be read" in top(source, tmp_path / "c").notes[0]


def test_what_lies_there_by_chance_is_no_error(source, tmp_path):
    coyo_tools.stats(source, keep=True)
    assert "schema was" in top(source, tmp_path / "a", schema="coyo").notes[0]
    (tmp_path / "metadata.stats" / "manifest.json").write_text("{}")
    assert "is no manifest of this version" in top(source, tmp_path / "b").notes[0]
    (tmp_path / "metadata.stats" / "manifest.json").unlink()
    assert "holds no finished `coyo stats`" in top(source, tmp_path / "c").notes[0]


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """In the compressed bytes of the first array."""
    return data[:70] + bytes(255 - byte for byte in data[70:90]) + data[90:]


def by_no_method(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02")  # the first entry of the directory: method 99
    return data[: at + 10] + b"\x63\0" + data[at + 12 :]


def with_a_password(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + b"\x01\0" + data[at + 10 :]


DAMAGE = [
    *(("histograms.npz", "histograms", damage) for damage in (
        cut_short, flipped, by_no_method, with_a_password, lambda _: b"", lambda _: b"<html>")),
    ("stats.json", "columns", lambda _: b"[]"),
    ("stats.json", "columns", lambda _: b'{"columns": 3}'),
    ("stats.json", "columns", lambda data: data.replace(b'"int"', b'"inu"')),
    ("stats.json", "columns", cut_short),
]  # fmt: skip


@pytest.mark.parametrize(("file", "what", "damage"), DAMAGE)
def test_damage_is_one_sentence_and_can_be_mended(source, tmp_path, file, what, damage):
    for place in (tmp_path / "st", tmp_path / "metadata.stats"):
        coyo_tools.stats(source, place)
        (place / file).write_bytes(damage((place / file).read_bytes()))
    named = str(tmp_path / "st")
    with pytest.raises(CorruptFile) as caught:
        top(source, tmp_path / "a", stats=named)
    assert str(caught.value) == (
        f"{named}/{file}: its {what} cannot be read; make it again with "
        f"`coyo stats SOURCE -o {named} --overwrite`"
    )
    by_itself = top(source, tmp_path / "b")
    assert by_itself.notes == (
        f"top 30% by width: {source}.stats is not used: its {what} cannot be read",
    )
    coyo_tools.stats(source, named, overwrite=True)
    assert top(source, tmp_path / "c", stats=named).digest == by_itself.digest


def test_nothing_is_said_where_nothing_is_kept(source, tmp_path):
    assert top(source, tmp_path / "a").notes == ()
    coyo_tools.stats(source, keep=True)
    assert coyo_tools.filter(source, tmp_path / "b", max_faces=0).notes == ()


@pytest.mark.parametrize("by", ["watermark_score", SUM])
def test_a_folder_that_is_not_there_is_made(source, tmp_path, histograms_read, by):
    top(source, tmp_path / "a", by)
    histograms_read.clear()
    first = top(source, tmp_path / "b", by, stats=str(tmp_path / "st"))
    assert histograms_read == ["histograms"]
    assert first.notes == (f"top 30% by {by}: its histogram is kept in {tmp_path / 'st'}",)
    second = top(source, tmp_path / "c", by, stats=str(tmp_path / "st"))
    assert histograms_read == ["histograms"]
    assert second.notes == (f"top 30% by {by}: with the histogram of {tmp_path / 'st'}",)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b") == bytes_of(tmp_path / "c")
    coyo_tools.stats(source, tmp_path / "own", StatsSettings(of=(by,)))
    assert bytes_of(tmp_path / "own") == bytes_of(tmp_path / "st")
    other = top(source, tmp_path / "d", "width", stats=str(tmp_path / "st"))
    assert "has no histogram of it; `coyo stats --of` makes one" in other.notes[0]


def test_a_folder_of_no_use_is_not_made(source, tmp_path):
    asked = FilterSettings(stats=str(tmp_path / "st"))
    with pytest.raises(SettingsError, match="holds no finished `coyo stats`"):
        coyo_tools.filter(source, tmp_path / "a", asked, max_faces=0)
    assert not (tmp_path / "st").exists()


def test_a_top_of_each_part_is_told_why_they_are_of_no_use(source, tmp_path):
    coyo_tools.stats(source, tmp_path / "st")
    for asked, why in (
        ({"top": "30%", "by": "width", "per": "part"},
         "its histograms are of the whole source, top 30% of each part by width is not"),
        ({"max_faces": 0}, "no --top by a column comes before the other rules"),
    ):  # fmt: skip
        settings = FilterSettings(stats=str(tmp_path / "st"))
        found = coyo_tools.filter(source, tmp_path / "s", settings, **asked, overwrite=True)
        assert found.notes == (f"{tmp_path / 'st'} is of no use here: {why}",)


def test_stats_of_an_expression(source):
    table = nasty(801, 1)
    (column,) = coyo_tools.stats(source, settings=StatsSettings(of=(SUM,))).columns
    one, other = (table[name].to_numpy() for name in SUM.split(" + "))
    with np.errstate(invalid="ignore"):  # infinities of two signs
        values = one + other
    values = values[~np.isnan(values)]
    assert (column.name, column.dtype, column.values) == (SUM, "float32", len(values))
    assert (column.minimum, column.maximum) == (values.min(), values.max())
    assert column.values + column.nulls + column.nan == 801
    two = coyo_tools.stats(source, settings=StatsSettings(of=("width", "id"))).columns
    assert [(c.name, c.dtype) for c in two] == [("width", "int32"), ("id", "int64")]


def test_what_cannot_be_counted_is_named(source, tmp_path):
    with pytest.raises(SchemaError, match="has no column 'widht'; did you mean 'width'"):
        coyo_tools.stats(source, settings=StatsSettings(of=("widht",)))
    with pytest.raises(RuleError, match="--of 'width = 3': gives no number"):
        coyo_tools.stats(source, settings=StatsSettings(of=("width = 3",)))
    with pytest.raises(SettingsError, match="no place of its own"):
        coyo_tools.stats(f"{source}/*.parquet", keep=True)
    with pytest.raises(SettingsError, match="--keep: goes without -o"):
        coyo_tools.stats(source, tmp_path / "st", keep=True)
    coyo_tools.stats(source, keep=True)
    with pytest.raises(SettingsConflict, match="of was"):
        coyo_tools.stats(source, settings=StatsSettings(of=("width",)), keep=True)


def test_a_made_folder_that_was_cut_off_is_made_again(source, tmp_path):
    top(source, tmp_path / "a", stats=str(tmp_path / "st"))
    before = bytes_of(tmp_path / "st")
    manifest = tmp_path / "st" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    shutil.rmtree(tmp_path / "a")
    top(source, tmp_path / "a", stats=str(tmp_path / "st"))
    assert bytes_of(tmp_path / "st") == before


def test_the_place_of_a_remote_source_is_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = kept_place("s3://bucket/metadata")
    assert place.startswith(f"{tmp_path}/coyo-tools/stats/")
    assert place != kept_place("s3://bucket/other")
    assert kept_place("datasets:mine") is None
