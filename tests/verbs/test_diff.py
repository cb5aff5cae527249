"""`diff`: sets of ids against Python's own, reasons against what each rule keeps by itself."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coyo_tools
from coyo_tools import DiffSettings, FilterSettings
from coyo_tools.machinery import sorted_runs
from coyo_tools.machinery.manifest import digest_of_ids
from coyo_tools.stages import diff as stage
from coyo_tools.words.errors import (
    SchemaError,
    SettingsConflict,
    SettingsError,
    SourceError,
    StorageError,
)
from tests.faults.mounts import mounted
from tests.metadata import bytes_of, cut, ids_in, metadata, nasty, rows_of, write_parts


@pytest.fixture(autouse=True, scope="module")
def small_steps():
    """Many stretches and ranges, as long inputs have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "STRETCH_ROWS", 100)
        patch.setattr(stage, "bites", lambda part: stage_bites(part, 30))
        patch.setattr(stage, "merged", lambda runs: sorted_runs.merged(runs, 50))
        yield


stage_bites = stage.bites


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("diff") / "metadata"
    write_parts(folder, cut(nasty(801, 1), 500, 1), row_group_size=64)
    return folder


def ids_file(path: Path, parts: list[list[int | None]]) -> Path:
    write_parts(path, [pa.table({"id": pa.array(ids, pa.int64())}) for ids in parts],
                row_group_size=7)  # fmt: skip
    return path


NUMBERS = st.none() | st.integers(0, 40) | st.integers(-(2**63), 2**63 - 1)
SIDE = st.lists(st.lists(NUMBERS, max_size=80), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(a=SIDE, b=SIDE)
def test_ids_are_told_as_python_tells_sets(tmp_path_factory, a, b):
    root = tmp_path_factory.mktemp("ids")
    found = coyo_tools.diff(ids_file(root / "a", a), ids_file(root / "b", b), root / "d")
    rows = {"a": [i for part in a for i in part], "b": [i for part in b for i in part]}
    sets = {side: {i for i in ids if i is not None} for side, ids in rows.items()}
    for side, told in (("a", found.a), ("b", found.b)):
        nulls = sum(i is None for i in rows[side])
        assert (told.rows, told.ids, told.without_id) == (len(rows[side]), len(sets[side]), nulls)
        assert told.repeated == len(rows[side]) - nulls - len(sets[side])
    assert found.both == len(sets["a"] & sets["b"])
    only = {"a": sorted(sets["a"] - sets["b"]), "b": sorted(sets["b"] - sets["a"])}
    assert (found.only_a.ids, found.only_b.ids) == (len(only["a"]), len(only["b"]))
    union = sets["a"] | sets["b"]
    assert found.jaccard == (found.both / len(union) if union else 1.0)
    for side in "ab":
        assert pq.read_table(root / "d" / f"only_{side}.parquet")["id"].to_pylist() == only[side]
    digest = digest_of_ids([np.array(sorted(only["a"] + only["b"]), np.int64)])
    assert json.loads((root / "d" / "manifest.json").read_text())["digest"] == digest
    shutil.rmtree(root)


RULES = (
    {"max_faces": 0}, {"min_clip_l14": 0.25}, {"max_watermark": 0.3}, {"min_words": 8},
    {"where": "width > 400 OR text IS NULL"}, {"sample": "60%", "seed": 3},
)  # fmt: skip
FIRST = (
    {"top": "40%", "by": "clip_similarity_vitl14"}, {"top": 300, "by": "num_faces"},
    {"top": "55%", "by": "clip_similarity_vitb32 + clip_similarity_vitl14"},
    {"sample": 333, "seed": 1}, {"top": "45%", "by": "watermark_score", "per": "part"},
)  # fmt: skip
RECIPES = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(st.sampled_from(FIRST), max_size=1),
    st.lists(st.sampled_from(RULES), max_size=3, unique_by=str),
)
_kept: dict[str, list[int]] = {}


def kept_by(source: Path, root: Path, rule: dict[str, Any]) -> set[int]:
    """What one rule by itself keeps of the whole source."""
    if str(rule) not in _kept:
        shutil.rmtree(root / "alone", ignore_errors=True)
        coyo_tools.filter(source, root / "alone", FilterSettings(rules=(rule,)))
        _kept[str(rule)] = ids_in(root / "alone")
    return set(_kept[str(rule)])


def expected(ids: set[int], recipe: list[dict[str, Any]], kept: dict[str, set[int]]) -> Any:
    """Ids by the first rule that drops them, by each rule alone, and those that none drops."""
    first: Counter[str] = Counter()
    for one in ids:
        droppers = [str(rule) for rule in recipe if one not in kept[str(rule)]]
        first[droppers[0] if droppers else ""] += 1
    alone = [len(ids - kept[str(rule)]) for rule in recipe]
    return [first[str(rule)] for rule in recipe], alone, first[""]


@settings(max_examples=25, deadline=None)
@given(a=RECIPES, b=RECIPES, lean=st.booleans())
def test_every_reason_is_a_rules(source, tmp_path_factory, a, b, lean):
    root = tmp_path_factory.mktemp("reasons")
    for name, recipe in (("a", a), ("b", b)):
        asked = FilterSettings(rules=tuple(recipe), columns=("id",) if lean else None)
        coyo_tools.filter(source, root / name, asked)
    found = coyo_tools.diff(root / "a", root / "b")
    if not found.read:
        assert ids_in(root / "a") == ids_in(root / "b")
        return
    kept = {str(rule): kept_by(source, root, rule) for rule in (*a, *b)}
    sets = {name: set(ids_in(root / name)) for name in "ab"}
    for told, ids, recipe in ((found.only_a, sets["a"] - sets["b"], b),
                              (found.only_b, sets["b"] - sets["a"], a)):  # fmt: skip
        assert told.ids == len(ids)
        if ids:
            first, alone, rest = expected(ids, recipe, kept)
            assert [step.dropped for step in told.reasons] == first
            assert [step.dropped_alone for step in told.reasons] == alone
            assert (told.not_among_inputs, told.unexplained, rest) == (0, 0, 0)
    shutil.rmtree(root)


@pytest.mark.parametrize("columns", [None, ("id", "width")])
def test_what_the_other_never_saw_is_named(source, tmp_path, columns):
    coyo_tools.filter(source, tmp_path / "a", FilterSettings(columns=columns), max_faces=0)
    coyo_tools.filter(source, tmp_path / "b", FilterSettings(limit_files=1), min_side=300)
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    table = pq.read_table(source)
    seen = set(pq.read_table(source / "part-0.parquet")["id"].to_pylist())
    sides = zip(*(table[c].to_pylist() for c in ("id", "width", "height")), strict=True)
    side = {i: None not in (w, h) and min(w, h) >= 300 for i, w, h in sides}
    missing = set(ids_in(tmp_path / "a")) - set(ids_in(tmp_path / "b"))
    if columns is None:  # its values are at hand, also of rows that B did not see
        assert found.only_a.asked_in == str(tmp_path / "a")
        unseen = {i for i in missing if side[i]}
        assert not unseen & seen
    else:
        assert found.only_a.asked_in == str(source)
        unseen = missing - seen
    assert (found.only_a.ids, found.only_a.not_among_inputs) == (len(missing), len(unseen))
    assert found.only_a.reasons[0].dropped == len(missing) - len(unseen)
    assert found.changes.settings["limit_files"] == (None, 1)
    assert found.changes.inputs == {"a": 3, "b": 1, "only_a": 2, "only_b": 0, "differing": 0}
    assert found.changes.recipe == (("-", "{max_faces: 0}"), ("+", "{min_side: 300}"))


def test_the_first_row_of_an_id_is_judged(tmp_path):
    rows = [{"id": 5, "num_faces": n} for n in [3, *[0] * 70]] + [{"id": 6, "num_faces": 0}]
    write_parts(tmp_path / "a", [rows_of(*rows)], row_group_size=20)
    write_parts(tmp_path / "m", [rows_of({"num_faces": 1})])
    coyo_tools.filter(tmp_path / "m", tmp_path / "b", max_faces=0)
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert (found.a.rows, found.a.ids, found.a.repeated) == (72, 2, 70)
    assert [step.dropped for step in found.only_a.reasons] == [1]
    assert found.only_a.not_among_inputs == 1


def test_a_row_that_the_other_saw_and_no_rule_drops_now_is_unexplained(tmp_path):
    write_parts(tmp_path / "m", [rows_of({"num_faces": 1}, {"num_faces": 0})])
    coyo_tools.filter(tmp_path / "m", tmp_path / "a")
    coyo_tools.filter(tmp_path / "m", tmp_path / "b", max_faces=0)
    pq.write_table(rows_of({"num_faces": 0}, {"num_faces": 0}), tmp_path / "a" / "part-0.parquet")
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert (found.only_a.unexplained, found.only_a.not_among_inputs) == (1, 0)


def test_values_that_changed_since_are_not_explained_away(tmp_path):
    write_parts(tmp_path / "m", [rows_of({"num_faces": 1}, {"num_faces": 0})])
    coyo_tools.filter(tmp_path / "m", tmp_path / "a", FilterSettings(columns=("id",)))
    coyo_tools.filter(tmp_path / "m", tmp_path / "b", max_faces=0)
    write_parts(tmp_path / "m", [rows_of({"num_faces": 0}, {"num_faces": 0})])
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert (found.only_a.unexplained, found.only_a.not_among_inputs) == (1, 0)
    assert "has changed since: input part-0.parquet differs" in found.only_a.note
    shutil.rmtree(tmp_path / "m")
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert found.only_a.reasons is None
    assert "no column 'num_faces'" in found.only_a.note
    assert "no such file" in found.only_a.note
    write_parts(tmp_path / "moved", [rows_of({"num_faces": 1}, {"num_faces": 0})])
    moved = DiffSettings(source=str(tmp_path / "moved"))
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b", settings=moved)
    assert found.only_a.reasons[0].dropped == 1
    assert found.only_a.note == ""


def test_equal_digests_are_believed_and_nothing_is_read(source, tmp_path, monkeypatch):
    coyo_tools.filter(source, tmp_path / "a", where=["num_faces = 0"])
    coyo_tools.filter(source, tmp_path / "b", FilterSettings(columns=("id",)), max_faces=0,
                      min_faces=0)  # fmt: skip
    monkeypatch.setattr(stage, "serve", lambda _: pytest.fail("read a part"))
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b", tmp_path / "d")
    assert (found.same, found.read, found.jaccard) == (True, False, 1.0)
    assert found.a.rows == found.b.rows == len(ids_in(tmp_path / "a"))
    assert pq.read_table(tmp_path / "d" / "only_a.parquet").num_rows == 0
    assert found.changes.recipe[0] == ("-", "{where: num_faces = 0}")


def test_a_folder_is_written_once_and_belongs_to_its_sides(source, tmp_path):
    coyo_tools.filter(source, tmp_path / "a", max_faces=0)
    coyo_tools.filter(source, tmp_path / "b", top="30%", by="width")
    first = coyo_tools.diff(tmp_path / "a", tmp_path / "b", tmp_path / "d")
    before = bytes_of(tmp_path / "d")
    again = coyo_tools.diff(tmp_path / "a", tmp_path / "b", tmp_path / "d")
    assert json.dumps(first.to_dict() | {"seconds": 0}) == json.dumps(
        again.to_dict() | {"seconds": 0}
    )
    assert bytes_of(tmp_path / "d") == before
    assert set(before) == {"manifest.json", "only_a.parquet", "only_b.parquet"}
    with pytest.raises(SettingsConflict):
        coyo_tools.diff(tmp_path / "b", tmp_path / "a", tmp_path / "d")
    with pytest.raises(SettingsError, match="lies inside the source"):
        coyo_tools.diff(tmp_path / "a", tmp_path / "b", tmp_path / "b" / "d")


def test_sides_without_a_recipe_or_without_ids(tmp_path):
    write_parts(tmp_path / "a", [metadata(50)])
    write_parts(tmp_path / "b", [metadata(50).slice(0, 20)])
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert (found.only_a.ids, found.only_a.reasons, found.changes) == (30, None, None)
    assert found.only_a.note == "no manifest says by which rules it was made"
    write_parts(tmp_path / "c", [metadata(5).drop_columns(["id"])])
    with pytest.raises(SchemaError, match="has no column 'id' of integers"):
        coyo_tools.diff(tmp_path / "a", tmp_path / "c")
    with pytest.raises(SourceError, match="no such file"):
        coyo_tools.diff(tmp_path / "a", tmp_path / "nowhere")


def test_a_manifest_that_does_not_say_where_a_top_cut(source, tmp_path):
    coyo_tools.filter(source, tmp_path / "a", max_faces=0)
    coyo_tools.filter(source, tmp_path / "b", top="30%", by="width")
    path = tmp_path / "b" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {
        "result": {k: v for k, v in json.loads(path.read_text())["result"].items() if k != "cuts"}
    }))  # fmt: skip
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b")
    assert found.only_a.note == "its manifest does not say where its selections cut"
    assert found.changes.recipe[-1] == ("+", "{top: 30%, by: width}")


def test_a_source_that_is_away_is_named_and_not_the_temporary_folder(source, tmp_path):
    lean = FilterSettings(columns=("id",))
    coyo_tools.filter(source, tmp_path / "a", lean, max_faces=0)
    coyo_tools.filter(source, tmp_path / "b", lean, min_faces=1)
    place = "https://127.0.0.1:9/c"
    found = coyo_tools.diff(tmp_path / "a", tmp_path / "b", settings=DiffSettings(source=place))
    assert found.only_a.ids > 0
    assert f"and {place}: cannot be read: Cannot connect to host" in found.only_a.note


@pytest.mark.parametrize("kib", [4, 12, 20, 28])
def test_a_temporary_folder_that_is_full_is_named(source, tmp_path, monkeypatch, kib):
    lean = FilterSettings(columns=("id",))
    coyo_tools.filter(source, tmp_path / "a", lean, max_faces=0)
    with mounted(tmp_path / "small", f"size={kib}k") as small:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(StorageError, match=f"{small}/coyo-diff-.*: (no space|cannot be wr)"):
            coyo_tools.diff(tmp_path / "a", source)
