"""One parquet file written from a polars frame: the same rows give the same bytes.

However the rows arrive (in which pieces, from how many threads), polars cuts them into row groups
of the same size, so that neither the layout of the input nor the number of workers shows.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

ROW_GROUP_ROWS = 65_536  # 5 to 10 MB: small enough for every reader, and to hold several
ZSTD_LEVEL = 1  # the fastest; level 3 makes 5 % fewer bytes of COYO-like rows
_ARROW_SCHEMA = b"ARROW:schema"
_TAIL = 8  # the footer's length (uint32) and the magic bytes


def write_frame(
    frame: pl.LazyFrame, path: Path, schema: pa.Schema, metadata: Callable[[], Mapping[str, str]]
) -> None:
    """Write the rows of `frame`, in their order, with columns of `schema`.

    metadata: asked for the file's key-value metadata when all rows have been written.
    Raises what polars raises, and OSError.
    """
    frame.sink_parquet(
        path,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        row_group_size=ROW_GROUP_ROWS,
        metadata=lambda _: dict(metadata()),
        engine="streaming",
    )
    _state_types(path, schema)


def _state_types(path: Path, schema: pa.Schema) -> None:
    """Let the file say `string` where polars says `large_string`, its own way to hold text.

    Parquet knows one kind of text; what readers of arrow make of it (pyarrow, datasets, which
    refuses to join one with the other) is said by a schema in the key-value metadata. It is
    replaced in the footer; a footer that is not as expected is left alone.
    """
    with path.open("r+b") as file:
        end = file.seek(-_TAIL, 2)
        length = struct.unpack("<I", file.read(4))[0]
        file.seek(end - length)
        footer = _with_schema(file.read(length), base64.b64encode(schema.serialize()))
        file.seek(end - length)
        file.write(footer + struct.pack("<I", len(footer)) + b"PAR1")
        file.truncate()


def _with_schema(footer: bytes, schema: bytes) -> bytes:
    """The footer with another arrow schema.

    The entry as thrift's compact protocol writes it (a struct of two strings, each behind its
    field's header and its length as a varint): 0x18 length key 0x18 length value.
    """
    key = b"\x18" + _varint(len(_ARROW_SCHEMA)) + _ARROW_SCHEMA + b"\x18"
    entry = re.escape(key) + rb"([\x80-\xff]*[\x00-\x7f])([A-Za-z0-9+/]+=*)\x00"
    # The last one: a row's text may look like it, and statistics of texts come before it.
    for found in reversed(list(re.finditer(entry, footer))):
        if found[1] == _varint(len(found[2])):
            start, end = found.start(), found.end(2)
            return footer[:start] + key + _varint(len(schema)) + schema + footer[end:]
    return footer


def _varint(number: int) -> bytes:
    """As thrift writes a length: seven bits a byte, lowest first, the last without the high bit."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
