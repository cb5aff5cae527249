"""No thread of Arrow reads a Python file: at the interpreter's end it would abort the process."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.machinery.parquet import read_table
from coyo_tools.pieces.parts import Part, open_part
from tests.servers.files import FileServer

ROWS = 2000
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "url": [f"http://h{n}.example/{n}.jpg" for n in range(ROWS)],
        "text": ["a caption"] * ROWS,
        "width": pa.array(range(ROWS), pa.int32()),
    }
)

# Threads that neither Python nor an import has started, before and after.
COUNTED = """if True:
    import json, os, sys, threading
    import numpy, pyarrow as pa, pyarrow.compute, pyarrow.parquet as pq
    from coyo_tools.machinery.parquet import read_table
    from coyo_tools.pieces.parts import Part, open_part

    def foreign():
        known = {thread.native_id for thread in threading.enumerate()}
        return len({int(task) for task in os.listdir("/proc/self/task")} - known)

    place = sys.argv[1]
    part = open_part(Part(place, 'a', 0))  # where that is remote, c-ares starts a thread
    before = foreign()
    EXPRESSION
    print(json.dumps([before, foreign()]))
"""


def counted(expression: str, place: object) -> tuple[int, int]:
    code = COUNTED.replace("EXPRESSION", expression)
    run = subprocess.run(
        [sys.executable, "-c", code, str(place)], check=True, capture_output=True, text=True
    )
    before, after = json.loads(run.stdout)
    return before, after


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tables")
    with pq.ParquetWriter(found / "a.parquet", TABLE.schema) as writer:
        writer.write_table(TABLE, row_group_size=500)
        writer.add_key_value_metadata({"own": "words"})
    return found


@pytest.mark.parametrize("kind", ["file", "part"])
def test_reading_a_python_file_starts_no_thread_of_arrow(folder, kind):
    if kind == "file":
        before, after = counted("read_table(open(place, 'rb'))", folder / "a.parquet")
    else:
        with FileServer(folder) as server:
            read = "list(part.batches(['id', 'url', 'text']))"
            before, after = counted(read, f"{server.base_url}/files/a.parquet")
    assert after == before


def test_threads_of_arrow_are_seen(folder):
    read = "pq.ParquetFile(open(place, 'rb')).read()"
    before, after = counted(read, folder / "a.parquet")
    assert after > before


def test_columns_that_a_file_lacks_are_passed_over_and_its_own_words_given(folder):
    with (folder / "a.parquet").open("rb") as handle:
        table, said = read_table(handle, ["width", "height", "id"])
    assert table.equals(TABLE.select(["width", "id"]))
    assert said[b"own"] == b"words"


def test_a_remote_part_is_read_by_the_columns_asked_for_and_each_byte_once(folder):
    with FileServer(folder) as server:
        part = open_part(Part(f"{server.base_url}/files/a.parquet", "a", 0))
        footer = part.traffic.fetched()
        for _ in range(2):  # it can be read again when it has been let go of
            tables = list(part.batches(["width", "id"]))
            assert pa.concat_tables(tables).equals(TABLE.select(["width", "id"]))
    chunks = [part.metadata.row_group(g).column(c) for g in range(4) for c in (0, 3)]
    wanted = sum(chunk.total_compressed_size for chunk in chunks)
    assert part.traffic.fetched().bytes - footer.bytes == 2 * wanted
