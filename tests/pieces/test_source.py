"""Sources found, named, opened: folders, files, globs, finished and unfinished output folders."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces import source
from coyo_tools.words.errors import (
    CorruptFile,
    LfsPointer,
    SchemaError,
    SourceError,
    SourceNotFound,
)
from tests.metadata import NAN, metadata, rows_of, write_parts


@pytest.fixture
def folder(tmp_path):
    write_parts(tmp_path / "m", [metadata(30, n) for n in range(3)], row_group_size=20)
    (tmp_path / "m" / "README.md").write_text("not data")
    (tmp_path / "m" / ".hidden.parquet").write_text("not data")
    (tmp_path / "m" / "_delta").mkdir()
    (tmp_path / "m" / "_delta" / "x.parquet").write_text("not data")
    return tmp_path / "m"


NAMES = ["part-0.parquet", "part-1.parquet", "part-2.parquet"]


@pytest.mark.parametrize(
    ("inside", "names"),
    [
        ("", NAMES),
        ("/", NAMES),
        ("/part-1.parquet", ["part-1.parquet"]),
        ("/*.parquet", NAMES),
        ("/part-[02].parquet", ["part-0.parquet", "part-2.parquet"]),
    ],
)
def test_a_folder_a_file_and_a_glob(folder, inside, names):
    found = source.find(f"{folder}{inside}")
    assert [part.name for part in found.parts] == names
    assert all(part.bytes > 0 for part in found.parts)
    assert [part.name for part in found.first(1).parts] == names[:1]
    assert [part.rows for part in found.open_all()] == [30] * len(names)


def test_relative_paths_home_and_file_urls(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for place in ("m", "./m", "~/m", f"file://{folder}"):
        assert len(source.find(place).open_all()) == 3


def test_names_with_globs_characters_are_taken_as_they_are(tmp_path):
    odd = tmp_path / "m [1] 100%20*"
    write_parts(odd, [rows_of({})])
    assert source.find(odd).open_all()[0].rows == 1
    assert source.find(odd / "part-0.parquet").open_all()[0].rows == 1


def test_two_names_that_would_be_one_are_refused(tmp_path):
    for path in ("a__b.parquet", "a/b.parquet"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        pq.write_table(rows_of({}), tmp_path / path)
    with pytest.raises(SourceError, match=r"two of its files would be named a__b\.parquet"):
        source.find(tmp_path)


def test_an_output_folder_counts_only_when_it_is_finished(folder):
    manifest = {"coyo_tools": 1, "command": "filter", "settings": {}, "inputs": [], "versions": {},
                "complete": False, "files": NAMES[:2], "result": {}, "digest": None}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="`coyo filter` has not finished this folder"):
        source.find(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"complete": True}))
    found = source.find(folder)
    assert [part.name for part in found.parts] == NAMES[:2]  # only what the run wrote
    assert found.manifest.command == "filter"
    (folder / "manifest.json").write_text(json.dumps(manifest | {"complete": True, "files": []}))
    assert source.find(folder).parts == ()  # of a source without parts


def test_what_is_not_there_is_said(tmp_path):
    for place, said in (("x", "no such file or folder"), ("x.parquet", "no such file"),
                        ("*.parquet", "no file matches"), ("", "holds no parquet")):  # fmt: skip
        with pytest.raises(SourceNotFound, match=said):
            source.find(tmp_path / place)
    with pytest.raises(SourceNotFound, match="names no source"):
        source.find("")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(SourceError, match="a folder with a file's name"):
        source.find(tmp_path / "folder.parquet")


def opened(path):
    return source.open_part(source.part_at(str(path)))


def test_nothing_is_held_open(tmp_path):
    import os

    write_parts(tmp_path / "m", [rows_of({})] * 50)
    before = len(os.listdir("/proc/self/fd"))
    parts = source.find(tmp_path / "m").open_all()
    assert len(parts) == 50
    assert len(os.listdir("/proc/self/fd")) == before


def test_columns_come_under_coyos_names_and_types(tmp_path):
    table = pa.table(
        {"uid": ["a"], "original_width": [640], "clip_l14_similarity_score": [0.25],
         "text": pa.array(["t"]).dictionary_encode(), "url": pa.array(["u"], pa.large_string())}
    )  # fmt: skip
    pq.write_table(table, tmp_path / "p.parquet")
    part = opened(tmp_path / "p.parquet")
    assert part.binding.schema == "datacomp"
    assert part.binding.casts == {"width": "int64", "clip_similarity_vitl14": "float64"}
    names = ["width", "clip_similarity_vitl14", "text", "url", "uid"]
    read = part.read(0, names)
    assert read.schema == pa.schema([part.schema.field(name) for name in names])
    assert [str(t) for t in read.schema.types] == ["int32", "float", "string", "string", "string"]


def test_float_counts_lose_their_nans_and_keep_their_worth(tmp_path):
    table = rows_of({}, {})
    at = table.schema.get_field_index("width")
    pq.write_table(table.set_column(at, "width", pa.array([NAN, 7.0])), tmp_path / "p.parquet")
    assert opened(tmp_path / "p.parquet").read(0, ["width"])["width"].to_pylist() == [None, 7]
    pq.write_table(table.set_column(at, "width", pa.array([1.5, 7.0])), tmp_path / "p.parquet")
    with pytest.raises(SchemaError, match="'width' does not fit int32"):
        opened(tmp_path / "p.parquet").read(0, ["width"])


def test_types_that_cannot_be_cast_are_named(tmp_path):
    table = rows_of({}).drop_columns(["url"]).append_column("url", pa.array([5]))
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(SchemaError, match="column 'url' is int64, expected string"):
        opened(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", CorruptFile, "is empty: 0 bytes"),
        (b"PAR1", CorruptFile, "is no parquet file"),
        (b"PAR1PAR1", CorruptFile, "is no parquet file"),
        (b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1", CorruptFile, "footer is larger than the file"),
        (b"PAR1" + b"x" * 40 + b"\x20\0\0\0PAR1", CorruptFile, "is no parquet footer"),
        (b"PAR1" + b"x" * 400, CorruptFile, "is truncated: 404 bytes"),
        (b"PK\x03\x04" + b"x" * 90_000, CorruptFile, "is no parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", LfsPointer, "git lfs pull"),
    ],
)
def test_every_broken_end_is_named(tmp_path, content, error, said):
    (tmp_path / "p.parquet").write_bytes(content)
    with pytest.raises(error, match=said):
        opened(tmp_path / "p.parquet")


def test_a_footer_longer_than_the_first_look_is_read_whole(tmp_path):
    wide = pa.table({f"column_{n}": [n] for n in range(2000)})
    pq.write_table(wide, tmp_path / "p.parquet")
    part = opened(tmp_path / "p.parquet")
    assert len(part.footer) > 1 << 16
    assert len(part.schema) == 2000
    assert part.read(0, ["column_1999"])["column_1999"].to_pylist() == [1999]


@pytest.mark.parametrize("name", ["*", "^x$", "^.*$", "?row"])
def test_names_that_polars_takes_for_patterns_are_refused(tmp_path, name):
    pq.write_table(rows_of({}).append_column(name, pa.array([1])), tmp_path / "p.parquet")
    with pytest.raises(SchemaError, match="which is no name to polars; rename it"):
        opened(tmp_path / "p.parquet")
