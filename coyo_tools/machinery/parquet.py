"""Parquet files read through Python's own files, by the calling thread alone.

Arrow's threads let go of what they read a moment after the caller has the table. Where that is a
Python object and the interpreter is gone by then, Python ends that thread and C++ aborts the
process, with everything done (https://github.com/apache/arrow/issues/34314); from Python 3.14 on
it hangs instead (https://github.com/apache/arrow/issues/50482). So no thread of Arrow gets to see
one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(
    handle: IO[bytes], columns: Sequence[str] | None = None
) -> tuple[pa.Table, Mapping[bytes, bytes]]:
    """The whole file, and its footer's own metadata. columns: of these those that it has; None:
    all of them.

    Raises pa.ArrowInvalid, OSError.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(handle, pre_buffer=False)  # noqa: TID251  here is where it is told how
    here = None if columns is None else [n for n in columns if n in file.schema_arrow.names]
    return file.read(here, use_threads=False), file.metadata.metadata or {}
