"""Objects of the real `datasets` library as a SOURCE."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces import dataset_objects, source
from coyo_tools.words.errors import SchemaError, SourceError
from tests.metadata import metadata, rows_of, write_parts

datasets = pytest.importorskip("datasets", reason="needs the datasets extra")

HALVES = [rows_of(*[{"id": n} for n in range(k, k + 5)]) for k in (0, 5)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def folder(tmp_path):
    write_parts(tmp_path / "data", HALVES, row_group_size=2)
    return tmp_path / "data"


def streamed(folder, **options):
    return datasets.load_dataset(str(folder), split="train", streaming=True, **options)


def ids_of(found: source.Source) -> list[int]:
    return [
        i for part in found.open_all() for t in part.batches(["id"]) for i in t["id"].to_pylist()
    ]


def test_a_plain_stream_of_parquet_is_read_from_its_files(folder):
    found = source.find(streamed(folder))
    by_name = source.find(str(folder))
    assert [p.url for p in found.parts] == [str(folder / f"part-{n}.parquet") for n in (0, 1)]
    assert [p.identity() for p in found.open_all()] == [p.identity() for p in by_name.open_all()]
    assert found.url == f"{folder}/*.parquet"
    assert [p.url for p in source.find(found.url).parts] == [p.url for p in found.parts]


def test_a_stream_of_one_file_is_that_file(folder):
    place = str(folder / "part-1.parquet")
    data = datasets.load_dataset("parquet", data_files=place, split="train", streaming=True)
    assert source.find(data) == source.find(place)


CHANGES = {
    "filter": (lambda d, f: d.filter(lambda row: row["id"] % 2), [1, 3, 5, 7, 9]),
    "take": (lambda d, f: d.take(3), [0, 1, 2]),
    "skip": (lambda d, f: d.skip(7), [7, 8, 9]),
    "map": (lambda d, f: d.map(lambda row: {"id": row["id"] + 1}), list(range(1, 11))),
    "repeat": (lambda d, f: d.take(2).repeat(2), [0, 1, 0, 1]),
    "reshard": (lambda d, f: d.reshard(), list(range(10))),
    "row group": (lambda d, f: d.reshard().shard(6, 0), [0, 1]),
    "cast": (lambda d, f: d.cast_column("width", datasets.Value("int64")), list(range(10))),
    "filters": (lambda d, f: streamed(f, filters=[("id", ">", 7)]), [8, 9]),
    "columns": (lambda d, f: streamed(f, columns=["id", "url"]), list(range(10))),
    "twice": (
        lambda d, f: datasets.load_dataset(
            "parquet", data_files=[str(f / "part-1.parquet")] * 2, split="train", streaming=True
        ),
        [5, 6, 7, 8, 9] * 2,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stream_that_was_changed_gives_its_own_rows(folder, change):
    make, expected = CHANGES[change]
    changed = make(streamed(folder), folder)
    found = source.find(changed)
    assert ids_of(found) == expected
    names = found.open_all()[0].schema.names
    assert names == list(changed.features or next(iter(changed)))


def test_a_shuffled_stream_is_read_in_the_order_of_its_epoch(folder):
    data = streamed(folder).shuffle(seed=1)
    data.set_epoch(3)
    expected = [row["id"] for row in data]
    assert expected != sorted(expected)
    assert ids_of(source.find(data)) == expected


def test_a_stream_that_begins_in_the_middle_is_refused(folder):
    data = streamed(folder)
    rows = iter(data)
    for _ in range(4):
        next(rows)
    state = data.state_dict()
    again = streamed(folder)
    again.load_state_dict(state)
    with pytest.raises(SourceError, match=r"begins in the middle.*\.skip\(N\)"):
        source.find(again)


def test_a_cast_column_has_the_type_it_was_cast_to(tmp_path):
    write_parts(tmp_path, [pa.table({"id": [1], "mine": [7]})])
    data = streamed(tmp_path).cast_column("mine", datasets.Value("string"))
    table = next(source.find(data).open_all()[0].batches(["mine"]))
    assert table["mine"].to_pylist() == ["7"]


def test_a_format_changes_no_row(folder):
    assert source.find(streamed(folder).with_format("numpy")) == source.find(streamed(folder))


def test_a_shard_of_a_stream_is_its_files(folder):
    found = source.find(streamed(folder).shard(2, 1))
    assert [part.name for part in found.parts] == ["part-1.parquet"]


def test_a_map_style_dataset_with_a_selection_keeps_its_order():
    data = datasets.Dataset(HALVES[0]).select([3, 1])
    assert ids_of(source.find(data)) == [3, 1]


def test_the_same_rows_have_one_identity_however_they_came(folder):
    one = datasets.Dataset(HALVES[0])
    other = datasets.Dataset.from_list(HALVES[0].to_pylist(), features=one.features)
    third = datasets.Dataset(HALVES[0].set_column(0, "id", [pa.array([9, 1, 2, 3, 4])]))
    identities = [
        [part.identity() for part in source.find(data).open_all()] for data in (one, other, third)
    ]
    assert identities[0] == identities[1] != identities[2]
    assert identities[0][0]["sha256"]


def test_large_datasets_become_several_parts_of_bounded_row_groups(monkeypatch):
    monkeypatch.setattr(dataset_objects, "ROWS_A_PART", 2_000)
    monkeypatch.setattr(dataset_objects, "_ROWS_A_GROUP", 500)
    monkeypatch.setattr(dataset_objects, "_ROWS_A_BATCH", 100)
    table = metadata(5_300)
    parts = source.find(datasets.Dataset(table)).open_all()
    assert [part.rows for part in parts] == [2_000, 2_000, 1_300]
    assert {part.metadata.row_group(0).num_rows for part in parts} == {500}
    back = pa.concat_tables(t for part in parts for t in part.batches(table.column_names))
    assert back.equals(table)


def test_a_generator_of_unknown_features():
    data = datasets.IterableDataset.from_generator(lambda: ({"id": n} for n in range(3)))
    assert data.features is None
    assert ids_of(source.find(data)) == [0, 1, 2]


def test_an_empty_dataset_has_its_columns():
    found = source.find(datasets.Dataset(HALVES[0].slice(0, 0)))
    assert [(part.rows, part.schema.names) for part in found.open_all()] == [
        (0, HALVES[0].column_names)
    ]


def test_the_temporary_files_go_with_the_last_part():
    found = source.find(datasets.Dataset(HALVES[0]))
    opened = found.open_all()
    folder = Path(found.parts[0].url).parent
    assert pickle.loads(pickle.dumps(found.parts[0])).url == found.parts[0].url
    del found
    gc.collect()
    assert folder.is_dir()
    del opened
    gc.collect()
    assert not folder.exists()


def test_a_dict_of_splits_asks_for_one(folder):
    both = datasets.load_dataset(str(folder), streaming=True)
    with pytest.raises(SourceError, match=r'splits train; choose one, such as data\["train"\]'):
        source.find(both)


def test_rows_of_another_type_are_one_sentence():
    def rows():
        yield from ({"id": n} for n in range(10_000))
        yield {"id": "no number"}

    data = datasets.IterableDataset.from_generator(rows)
    with pytest.raises(SchemaError, match="rows of different columns or types"):
        source.find(data)


def test_a_stream_that_breaks_off_is_one_sentence(folder):
    data = streamed(folder).map(lambda row: row)
    (folder / "part-1.parquet").unlink()
    with pytest.raises(SourceError, match="breaks off after about"):
        source.find(data)


def test_its_name_in_a_manifest_leads_back_to_the_object(folder):
    name = source.find(datasets.Dataset(HALVES[0])).url
    assert name.startswith("datasets:")
    with pytest.raises(SourceError, match="give the object to the function of coyo_tools"):
        source.find(name)


def test_datasets_is_not_imported_for_a_path(folder):
    look = (
        "import sys; from coyo_tools.pieces import source; source.find(sys.argv[1]); "
        "assert 'datasets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", look, str(folder)], check=True, timeout=60)


def test_a_column_under_another_name_is_bound_as_in_files(tmp_path):
    laion = pa.table({"URL": ["u"], "TEXT": ["t"], "WIDTH": [300], "HEIGHT": [200]})
    pq.write_table(laion, tmp_path / "x.parquet")
    named = source.find(str(tmp_path)).open_all()[0]
    given = source.find(datasets.Dataset(laion)).open_all()[0]
    assert (given.binding.schema, given.schema) == (named.binding.schema, named.schema)
