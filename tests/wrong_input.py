"""Metadata that is wrong, odd or merely unusual: how to make it, and what is said about it.

docs/wrong-input.md shows this table; tests/verbs/test_wrong_input.py tries every line.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.metadata import cut, metadata, write_parts

READERS = ("filter", "stats", "inspect", "score", "download")
ROWS = 60  # of the source that a case spoils: two parts of 30, row groups of 10
_COYO_NAME = "part-{:05d}-17da4908-939c-46e5-91d0-15f256041956-c000.snappy.parquet"


@dataclass(frozen=True)
class Case:
    """One line of the table. make: writes the folder it is given.

    refused: the error, by each of `by`; the other verbs read it. noted: what is told by whom, where
    it is accepted. rows: that are then read.
    """

    name: str
    wrong: str
    make: Callable[[Path], Any]
    refused: str = ""
    by: tuple[str, ...] = READERS
    noted: dict[str, str] = field(default_factory=dict)
    rows: int = ROWS


CASES: list[Case] = []


def case(wrong: str, refused: str = "", **more: Any) -> Callable[[Any], Any]:
    """Enter a function that makes such a folder into the table."""

    def entered(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(make.__name__, wrong, make, refused, **more))
        return make

    return entered


def two_parts(folder: Path) -> tuple[Path, Path]:
    """A good source: part-0.parquet and part-1.parquet."""
    first, second = write_parts(folder, cut(metadata(ROWS, 1), ROWS // 2), row_group_size=10)
    return first, second


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    pq.write_table(change(pq.read_table(path)), path, **options)


def replaced(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


def every_part(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    for path in two_parts(folder):
        rewrite(path, change)


AGAIN = "fetch the file again"


@case("a file cut off in its middle", f"is truncated: 2,000 bytes and no parquet footer; {AGAIN}")
def truncated(folder: Path) -> None:
    path = two_parts(folder)[1]
    path.write_bytes(path.read_bytes()[:2000])


@case("a file of 0 bytes", f"is empty: 0 bytes; {AGAIN}")
def zero_bytes(folder: Path) -> None:
    two_parts(folder)[1].write_bytes(b"")


@case("text under the name of parquet", f"is no parquet file; {AGAIN}")
def text(folder: Path) -> None:
    two_parts(folder)[1].write_text("id,url\n" * 20)


@case("a git-lfs pointer", "is a git-lfs pointer, not the data; run: git lfs pull")
def lfs_pointer(folder: Path) -> None:
    two_parts(folder)[1].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


@case("a web page under the name of parquet",
      "is a web page, not the data; open its address in a browser: it may want a login, or have "
      "moved")  # fmt: skip
def web_page(folder: Path) -> None:
    two_parts(folder)[1].write_text("\n<!DOCTYPE html>\n<html><title>Sign in</title></html>\n")


@case("an encrypted file", "is encrypted; decrypt it with its key first")
def encrypted(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t, encryption_properties=_encryption(plain=False))


@case("encrypted columns under a footer in plain text",
      "is encrypted; decrypt it with its key first")  # fmt: skip
def encrypted_columns(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t, encryption_properties=_encryption(plain=True))


def _encryption(*, plain: bool) -> Any:
    import base64

    import pyarrow.parquet.encryption as encryption

    class Keys(encryption.KmsClient):
        def __init__(self, _: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, _: str) -> bytes:
            return base64.b64encode(key)

        def unwrap_key(self, key: bytes, _: str) -> bytes:
            return base64.b64decode(key)

    how = {"column_keys": {"k": ["url"]}} if plain else {"uniform_encryption": True}
    config = encryption.EncryptionConfiguration(footer_key="k", plaintext_footer=plain, **how)
    factory = encryption.CryptoFactory(Keys)
    return factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)


@case("a codec that nothing reads",
      "is compressed with LZO, which cannot be read; write it anew with snappy or zstd"
      )  # fmt: skip
def lzo(folder: Path) -> None:
    path = two_parts(folder)[1]
    data = path.read_bytes()
    start = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    # Thrift: the column's path (field 3, a list of one), then its codec (field 4, an enum).
    codec = b"\x19\x18\x0fwatermark_score\x15"
    assert codec + b"\x02" in data[start:]  # snappy
    path.write_bytes(data[:start] + data[start:].replace(codec + b"\x02", codec + b"\x06"))


@case("a page that cannot be decoded; `score` does not read that column",
      "one of row groups 0 to 2 cannot be read: ", by=("filter", "stats"))  # fmt: skip
def broken_page(folder: Path) -> None:
    path = two_parts(folder)[1]
    chunk = pq.read_metadata(path).row_group(1).column(15)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    for at in range(start, start + chunk.total_compressed_size):
        data[at] ^= 0x5A
    path.write_bytes(data)


@case("a link that leads nowhere", "is a link that leads nowhere; check the path")
def broken_link(folder: Path) -> None:
    two_parts(folder)[1].rename(folder / "away")
    (folder / "part-1.parquet").symlink_to(folder / "gone.parquet")


@case("a name that is not UTF-8", "has a name that is no UTF-8; rename it")
def name_of_bytes(folder: Path) -> None:
    two_parts(folder)[1].rename(os.fsdecode(os.fsencode(folder) + b"/part-1\xff.parquet"))


@case("two columns of one name", "has two columns named 'width'; rename one")
def same_name_twice(folder: Path) -> None:
    rewrite(
        two_parts(folder)[1],
        lambda t: pa.table([*t.columns, t["width"]], names=[*t.column_names, "width"]),
    )


@case("a column named `*`, `^...$` or with a `?` before its name",
      "has a column named '^x$', which is no name to polars; rename it")  # fmt: skip
def name_that_is_a_pattern(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t.append_column("^x$", t["width"]))


@case("ids as text", "column 'id' is string, expected int64; convert the column, or name the right "
      "--schema")  # fmt: skip
def ids_as_text(folder: Path) -> None:
    rewrite(two_parts(folder)[1], replaced("id", pa.array([str(n) for n in range(30)])))


@case("ids as float64, beyond what that tells apart (2^53)",
      "column 'id' does not fit int64: it is float64, with a fraction or out of range",
      by=("filter",))  # fmt: skip
def ids_as_floats(folder: Path) -> None:
    rewrite(
        two_parts(folder)[1], replaced("id", pa.array([2.0**60 + n * 2**10 for n in range(30)]))
    )


@case("other columns with any other name, such as `a.b`, `x y`, `\"` or none", noted={"inspect":
      "not COYO's"})  # fmt: skip
def other_names(folder: Path) -> None:
    names = ["a.b", "x y", '"', "", "é", "len", "left0", "key"]

    def more(table: pa.Table) -> pa.Table:
        return pa.table([*table.columns, *table.columns[:8]], names=[*table.column_names, *names])

    every_part(folder, more)


@case("a column of a type that cannot be cast",
      "column 'width' is string, expected int32; convert the column, or name the right --schema"
      )  # fmt: skip
def text_for_numbers(folder: Path) -> None:
    rewrite(two_parts(folder)[1], replaced("width", pa.array(["640"] * 30)))


@case("a number that does not fit, such as 640.5 pixels",
      "column 'width' does not fit int32: it is float64, with a fraction or out of range",
      by=("filter", "stats"))  # fmt: skip
def fraction(folder: Path) -> None:
    rewrite(two_parts(folder)[1], replaced("width", pa.array([640.5] * 30)))


@case("a column that the other parts lack",
      "has a column 'more', unlike part-0.parquet; name the columns to write with --columns, those "
      "that all parts have",
      by=("filter",),
      noted={"stats": "more is left out: not every part has it as a number"})  # fmt: skip
def one_column_more(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t.append_column("more", pa.array(range(30))))


@case("a column missing in one part",
      "has no column 'num_faces', unlike part-0.parquet; name the columns to write with --columns, "
      "those that all parts have",
      by=("filter",),
      noted={"stats": "num_faces is left out: not every part has it as a number"})  # fmt: skip
def one_column_less(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t.drop_columns(["num_faces"]))


@case("copies with int64 and float64",
      noted={"filter": "watermark_score is float64 in 1 part: read as float32",
             "inspect": "read as int32"})  # fmt: skip
def wider_types(folder: Path) -> None:
    def wide(table: pa.Table) -> pa.Table:
        wider = {"int32": pa.int64(), "float": pa.float64()}
        fields = [pa.field(f.name, wider.get(str(f.type), f.type)) for f in table.schema]
        return table.cast(pa.schema(fields))

    rewrite(two_parts(folder)[1], wide)


@case("decimal, timestamp and list columns beside COYO's", noted={"inspect": "not COYO's"})
def other_columns(folder: Path) -> None:
    every_part(
        folder,
        lambda t: (
            t.append_column("price", pa.array([Decimal("1.50")] * 30))
            .append_column("seen", pa.array([10**15] * 30, pa.timestamp("us")))
            .append_column("labels", pa.array([[1, 2]] * 30))
        ),
    )


@case("columns whose names differ in case only")
def names_in_two_cases(folder: Path) -> None:
    every_part(folder, lambda t: t.append_column("Width", t["width"]))


@case("a column of nulls, of its own type")
def nulls(folder: Path) -> None:
    every_part(folder, replaced("num_faces", pa.nulls(30, pa.int32())))


@case("a column of nulls, of parquet's null type",
      noted={"filter": "num_faces is null in 2 parts: read as int32"})  # fmt: skip
def typeless_nulls(folder: Path) -> None:
    every_part(folder, replaced("num_faces", pa.nulls(30)))


@case("ids that come again in another part",
      noted={"filter": "ids that repeat among the rows kept: 30"})  # fmt: skip
def ids_across_parts(folder: Path) -> None:
    first, second = two_parts(folder)
    shutil.copy(first, second)


@case("ids that come again within a part",
      noted={"filter": "ids that repeat among the rows kept: 30"}, rows=90)  # fmt: skip
def ids_within_a_part(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: pa.concat_tables([t, t]))


@case("a part missing between others, by their numbers",
      noted=dict.fromkeys(("filter", "stats", "inspect"),
                          "not there, of the parts 00000 to 00003: 00002"))  # fmt: skip
def gap_in_the_numbers(folder: Path) -> None:
    folder.mkdir()
    for number, rows in zip((0, 1, 3), cut(metadata(ROWS, 1), 20, 20), strict=True):
        pq.write_table(rows, folder / _COYO_NAME.format(number))


@case("a part of 0 rows", rows=30)
def part_without_rows(folder: Path) -> None:
    rewrite(two_parts(folder)[1], lambda t: t.slice(0, 0))


@case("a source of 0 rows", rows=0)
def no_rows(folder: Path) -> None:
    every_part(folder, lambda t: t.slice(0, 0))


@case("row groups of one row", rows=9)
def row_groups_of_one(folder: Path) -> None:
    write_parts(folder, cut(metadata(9, 1), 3), row_group_size=1)


@case("blanks, percent signs, unicode, a newline, `#`, `?`, `[`, quotes or a leading dash in names",
      rows=50)  # fmt: skip
def odd_names(folder: Path) -> None:
    folder.mkdir()
    names = ["a b", "100%25", "é東🙂", "new\nline", "h#sh", "q?", "-dash", "[x]*", "'\"", "back\\"]
    for name, rows in zip(names, cut(metadata(50, 1), *[5] * 9), strict=True):
        pq.write_table(rows, folder / f"{name}.parquet")


@case("parts and folders that are links, as in the caches of the hub's clients")
def links(folder: Path) -> None:
    first, second = two_parts(folder.with_name("blobs"))
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "part-0.parquet").symlink_to(first)
    (folder.with_name("more")).mkdir()
    second.rename(folder.with_name("more") / "part-1.parquet")
    (folder / "linked").symlink_to(folder.with_name("more"))


@case("links that go round in a circle")
def circle(folder: Path) -> None:
    two_parts(folder)
    (folder / "round").symlink_to(folder)


@case("other files and hidden ones beside the parts")
def other_files(folder: Path) -> None:
    two_parts(folder)
    for name in ("README.md", "part-0.parquet.crc", "_SUCCESS", "_metadata", ".part-2.parquet"):
        (folder / name).write_text("no parquet")
    os.mkfifo(folder / "pipe.parquet")
