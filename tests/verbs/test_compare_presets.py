"""`compare_presets`: the counts are those of the subsets that `filter` makes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import OverlapSettings
from coyo_tools.words.errors import RuleError, SchemaError, SettingsError, SourceNotFound
from tests.metadata import ids_in, rows_of, write_parts
from tests.servers.folder import FolderServer
from tests.verbs.test_plan_fetched import column_bytes

pytestmark = pytest.mark.usefixtures("in_small_bites")
PRESETS = ("safe", "laion2b-like", "vila-coyo", "coyo-hq")


@pytest.fixture
def recipe(tmp_path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text("filter: [{max_faces: 0}, {where: 'text IS NOT NULL'}]\nsample: {rows: 300}\n")
    return str(path)


@pytest.mark.parametrize("per_part", [None, True, False])
def test_counts_are_those_of_the_subsets(source, recipe, tmp_path, per_part):
    found = coyo_tools.compare_presets(
        [*PRESETS, recipe], source, OverlapSettings(per_part=per_part)
    )
    per = {} if per_part is None else {"per": "part" if per_part else "source"}
    kept = {}
    for name in (*PRESETS, recipe):
        given = {"recipe": name} if name == recipe else {"preset": name}
        given |= per if name in ("vila-coyo", "coyo-hq") else {}  # the others have no top
        coyo_tools.filter(source, tmp_path / "s", **given, overwrite=True)
        kept[name] = set(ids_in(tmp_path / "s"))
    overlap = found.overlap
    assert {each.name: each.rows for each in overlap.members} == {
        n: len(s) for n, s in kept.items()
    }
    assert {(p.a, p.b): p.both for p in overlap.pairs} == {
        (p.a, p.b): len(kept[p.a] & kept[p.b]) for p in overlap.pairs
    }
    for each in overlap.members:
        others = set().union(*(ids for name, ids in kept.items() if name != each.name))
        assert each.only == len(kept[each.name] - others)
    assert overlap.in_all == len(set.intersection(*kept.values()))
    assert overlap.in_any == len(set.union(*kept.values()))
    assert overlap.rows == 801
    assert [name for name, labels in found.rules.items() if labels] == [*PRESETS, recipe]


def test_workers_change_nothing_and_nothing_is_written(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = [
        coyo_tools.compare_presets(PRESETS, source, OverlapSettings(workers=n)).overlap
        for n in (1, 3)
    ]
    assert told[0] == told[1]
    assert list(Path().iterdir()) == []


def test_of_a_remote_source_each_column_named_is_fetched_once(source, recipe):
    named = (
        "id", "clip_similarity_vitb32", "clip_similarity_vitl14", "nsfw_score_opennsfw2",
        "nsfw_score_gantman", "num_faces", "text", "width", "height", "watermark_score",
        "aesthetic_score_laion_v2",
    )  # fmt: skip
    size = sum(
        column_bytes(path, list(range(pq.read_metadata(path).num_row_groups)), named)
        for path in source.iterdir()
    )
    with FolderServer(source.parent) as server:
        place = f"{server.base_url}/{source.name}/*.parquet"
        footers = coyo_tools.inspect(place).fetched.bytes
        found = coyo_tools.compare_presets([*PRESETS, recipe], place)
    assert found.overlap == coyo_tools.compare_presets([*PRESETS, recipe], source).overlap
    assert found.fetched.bytes - footers <= 1.05 * size


def test_a_recipe_without_rules_keeps_every_row(source, tmp_path):
    (tmp_path / "all.yaml").write_text("download: {}\n")
    (member,) = coyo_tools.compare_presets([str(tmp_path / "all.yaml")], source).overlap.members
    assert (member.rows, member.only, member.share) == (801, 801, 1.0)
    (again,) = coyo_tools.compare_presets(tmp_path / "all.yaml", source).overlap.members
    assert again == member


def test_one_name_is_one_preset(source):
    (member,) = coyo_tools.compare_presets("safe", source).overlap.members
    assert member.name == "safe"


def test_what_cannot_be_compared_is_one_sentence(source, tmp_path):
    for presets, error, said in (
        (["safe", "saef"], RuleError, "did you mean 'safe'?"),
        (["safe", "safe"], SettingsError, "takes one to 63 presets, each once"),
        ([], SettingsError, "takes one to 63 presets"),
        (["gone.yaml"], SourceNotFound, "gone.yaml: no such file"),
    ):
        with pytest.raises(error) as caught:
            coyo_tools.compare_presets(presets, source)
        assert said in str(caught.value)
    table = rows_of({}).drop_columns(["clip_similarity_vitb32"])
    write_parts(tmp_path / "m", [rows_of({})])
    pq.write_table(table, tmp_path / "m" / "part-1.parquet")
    with pytest.raises(
        SchemaError, match=r"part-1.parquet: has no column 'clip_similarity_vitb32'"
    ):
        coyo_tools.compare_presets(["laion2b-like"], tmp_path / "m")
