"""Shards on disk: img2dataset's WebDataset layout, written and read.

A shard is `00000.tar`, `00000.parquet` and, last, `00000_stats.json`, its completion record.
The tar is plain ustar and depends on nothing but its content: no time, no user. The parquet
carries, as key-value metadata, where each picture lies in the tar.
"""

from __future__ import annotations

import base64
import contextlib
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coyo_tools.machinery.parquet import read_table
from coyo_tools.machinery.storage import Folder, filesystem, storage_errors
from coyo_tools.pieces.rows import Outcome, Rows, key_of
from coyo_tools.words.errors import CorruptFile
from coyo_tools.words.failures import SUCCESS, Failure

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BLOCK = 512
_NOTHING = bytes(BLOCK)
# What the header of every member has: mode, user and group; the time, which is none; from the kind
# of a plain file on, the format's name. The checksum's own bytes count as spaces.
_MODE_AND_OWNERS = b"0000644\0" + 2 * b"0000000\0"
_TIME = b"00000000000\0"
_KIND_TO_END = b"0" + bytes(100) + b"ustar\x0000" + bytes(BLOCK - 265)
_SUM_OF_THE_SAME = sum(_MODE_AND_OWNERS + _TIME + b" " * 8 + _KIND_TO_END)
INDEX_KEY = b"coyo.tar_index"
_END = bytes(2 * BLOCK)
_IN_MEMORY_BYTES = 64 << 20  # samples that wait for an earlier row, a shard; more go to a file
NEXT = ".next"  # ending of the files of a shard that is being rewritten


def stem(number: int) -> str:
    """00042."""
    return f"{number:05d}"


def tar_name(number: int) -> str:
    """Name of the shard's tar."""
    return f"{stem(number)}.tar"


def parquet_name(number: int) -> str:
    """Name of the shard's table of all rows."""
    return f"{stem(number)}.parquet"


def stats_name(number: int) -> str:
    """Name of the shard's counts, which is also its completion record."""
    return f"{stem(number)}_stats.json"


def member(name: str, data: bytes) -> bytes:
    """One file as a tar holds it: POSIX ustar header, data, padding (POSIX.1-1988, pax(1)).

    name: at most 100 ASCII characters.
    """
    return b"".join(_member(name, data))


def _member(name: str, data: bytes) -> tuple[bytes, ...]:
    """The same, in pieces."""
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"name of {len(encoded)} bytes does not fit a ustar header")
    size = b"%011o\0" % len(data)
    checksum = b"%06o\0 " % (_SUM_OF_THE_SAME + sum(encoded) + sum(size))
    return (
        encoded,
        _NOTHING[: 100 - len(encoded)],
        _MODE_AND_OWNERS,
        size,
        _TIME,
        checksum,
        _KIND_TO_END,
        data,
        _NOTHING[: -len(data) % BLOCK],
    )


def sample(key: str, extension: str, image: bytes, caption: str | None, record: bytes) -> bytes:
    """The three members of one success: picture, caption, row."""
    return b"".join(
        (
            *_member(f"{key}.{extension}", image),
            *_member(f"{key}.txt", (caption or "").encode()),
            *_member(f"{key}.json", record),
        )
    )


class _Waiting:
    """Samples whose turn in the tar has not come, in memory or, where they are many, in a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[int, bytes | tuple[int, int]] = {}
        self._bytes = 0
        self._overflow: IO[bytes] | None = None

    def __contains__(self, row: int) -> bool:
        return row in self._kept

    def put(self, row: int, blob: bytes) -> None:
        if self._bytes + len(blob) <= _IN_MEMORY_BYTES:
            self._bytes += len(blob)
            self._kept[row] = blob
            return
        if self._overflow is None:
            self._overflow = tempfile.TemporaryFile(  # noqa: SIM115  closed in `close`
                dir=self._directory
            )
        self._kept[row] = (self._overflow.seek(0, 2), len(blob))
        self._overflow.write(blob)

    def pop(self, row: int) -> bytes:
        kept = self._kept.pop(row)
        if isinstance(kept, bytes):
            self._bytes -= len(kept)
            return kept
        assert self._overflow is not None
        self._overflow.seek(kept[0])
        return self._overflow.read(kept[1])

    def close(self) -> None:
        if self._overflow is not None:
            self._overflow.close()


class ShardWriter:
    """Writes one shard, rows in any order, from any thread.

    suffix: NEXT where a finished shard is rewritten, see `install`.
    """

    def __init__(self, folder: Folder, number: int, rows: Rows, *, suffix: str = "") -> None:
        self.number, self.rows = number, rows
        self._folder, self._suffix = folder, suffix
        self._own: list[Mapping[str, Any] | None] = [None] * len(rows)
        self._starts: list[int] = []
        self._next = self._size = 0
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        path = self._stack.enter_context(folder.stage(tar_name(number) + suffix))
        self._tar = self._stack.enter_context(path.open("wb", buffering=1 << 20))
        self._waiting = _Waiting(path.parent)
        self._stack.callback(self._waiting.close)

    def add(self, row: int, outcome: Outcome) -> None:
        """A row's outcome. Raises StorageError."""
        own = self.rows.own(row, outcome)
        blob = b""
        if outcome.failure is None:
            record = self.rows.to_json(row, own)
            caption = self.rows.captions[row]
            blob = sample(own["key"], outcome.extension, outcome.data, caption, record)
        self.add_blob(row, own, blob)

    def add_blob(self, row: int, own: Mapping[str, Any], blob: bytes) -> None:
        """A row's own columns with its members as the tar holds them, b"" for a failure."""
        with self._lock, storage_errors(self._folder.url_of(tar_name(self.number))):
            self._own[row] = own
            self._waiting.put(row, blob)
            while self._next in self._waiting:
                self._write(self._waiting.pop(self._next))
                self._next += 1

    def _write(self, blob: bytes) -> None:
        if blob:
            self._starts.append(self._size)
            self._tar.write(blob)
            self._size += len(blob)

    def finish(self, stats: Mapping[str, Any]) -> dict[str, Any]:
        """Publish the tar, the parquet, and last the stats, to which the counts are added."""
        own = [values for values in self._own if values is not None]
        if len(own) != len(self.rows):
            raise AssertionError(f"shard {self.number}: {len(own)} of {len(self.rows)} rows")
        with storage_errors(self._folder.url_of(tar_name(self.number))):
            self._tar.write(_END)
            self._stack.close()
        table_bytes = self._write_table(own)
        sizes = {
            tar_name(self.number): self._size + len(_END),
            parquet_name(self.number): table_bytes,
        }
        complete = counts(own) | dict(stats) | {"files": sizes}
        self._folder.write_json(stats_name(self.number) + self._suffix, complete)
        return complete

    def abort(self) -> None:
        """Leave nothing behind."""
        error = InterruptedError("aborted")
        with contextlib.suppress(Exception):
            self._stack.__exit__(type(error), error, None)

    def _write_table(self, own: Sequence[Mapping[str, Any]]) -> int:
        import pyarrow.parquet as pq

        table = self.rows.to_table(own)
        name = parquet_name(self.number) + self._suffix
        with self._folder.stage(name) as path:
            with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
                writer.write_table(table)
                writer.add_key_value_metadata({INDEX_KEY: _pack_index(self._starts, self._size)})
            return path.stat().st_size


def install(folder: Folder, number: int) -> None:
    """Put a rewritten shard in the place of the old one.

    Its stats are written last and renamed last: while they are there under the new name, the
    files of both generations together hold everything, and this function can be called again.
    """
    for name in (tar_name(number), parquet_name(number), stats_name(number)):
        with contextlib.suppress(FileNotFoundError):  # done before an interruption
            folder.move(name + NEXT, name)


def recover(folder: Folder) -> None:
    """Finish or forget rewritten shards that an interrupted run left beside the old ones."""
    names = folder.names()
    ready = [
        n.removesuffix("_stats.json" + NEXT) for n in names if n.endswith("_stats.json" + NEXT)
    ]
    for stem_of in ready:
        install(folder, int(stem_of))
    for name in folder.names():
        if name.endswith(NEXT):
            folder.delete(name)


def finished(folder: Folder) -> dict[int, dict[str, Any]]:
    """Numbers and stats of the shards that are there, whole."""
    sizes = folder.sizes()
    found = {}
    for name in sizes:
        head = name.removesuffix("_stats.json")
        if head == name or not head.isdigit():
            continue
        try:
            stats = folder.read_json(name)
        except ValueError:
            continue  # not ours, or broken: the shard is made again
        files = stats.get("files", {}) if isinstance(stats, dict) else {}
        if files and all(sizes.get(file) == size for file, size in files.items()):
            found[int(head)] = stats
    return found


def counts(own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows by status and by error class, in img2dataset's words."""
    statuses = [values["status"] for values in own]
    errors: dict[str, int] = {}
    for values in own:
        if values["error"] is not None:
            errors[values["error"]] = errors.get(values["error"], 0) + 1
    errors = dict(sorted(errors.items()))
    successes = statuses.count(SUCCESS)
    return {
        "count": len(own),
        "successes": successes,
        "failed_to_download": statuses.count("failed_to_download"),
        "failed_to_resize": statuses.count("failed_to_resize"),
        "status_dict": ({SUCCESS: successes} if successes else {}) | errors,
        "errors": errors,
    }


def _pack_index(starts: Sequence[int], end: int) -> bytes:
    """Lengths of the samples in blocks, as uint32, deflated, base64: a few bytes a sample."""
    import numpy as np

    edges = np.asarray([*starts, end], "<u8") // BLOCK
    return base64.b64encode(zlib.compress(np.diff(edges).astype("<u4").tobytes()))


def _unpack_index(packed: bytes) -> np.ndarray[Any, Any]:
    """Where samples begin and end in the tar, bytes, int64 (n + 1,)."""
    import numpy as np

    lengths = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "<u4").astype(np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]) * BLOCK


@dataclass(frozen=True)
class Shard:
    """A finished shard, read. table: its parquet. edges: of each success in the tar, bytes."""

    url: str
    number: int
    table: pa.Table
    edges: np.ndarray[Any, Any]

    def nth_success(self) -> np.ndarray[Any, Any]:
        """For each row, how many successes come before it; int64 (rows,)."""
        import numpy as np

        good = np.asarray(self.table.column("status").to_pylist()) == SUCCESS
        before: np.ndarray[Any, Any] = np.cumsum(good) - good
        return before

    @contextlib.contextmanager
    def tar(self) -> Iterator[IO[bytes]]:
        """The open tar."""
        fs, path = filesystem(f"{self.url}/{tar_name(self.number)}")
        with fs.open(path, "rb") as handle:
            yield handle

    def blob(self, handle: IO[bytes], nth: int) -> bytes:
        """The members of the nth success, as they lie in the tar."""
        start, end = int(self.edges[nth]), int(self.edges[nth + 1])
        handle.seek(start)
        data = handle.read(end - start)
        if len(data) != end - start:
            raise CorruptFile("is truncated", where=f"{self.url}/{tar_name(self.number)}")
        return data


def open_shard(folder: Folder, number: int) -> Shard:
    """Read a finished shard's table and index. Raises CorruptFile."""
    import pyarrow as pa

    where = folder.url_of(parquet_name(number))
    fs, path = filesystem(where)
    try:
        with fs.open(path, "rb") as handle:
            table, metadata = read_table(handle)
        return Shard(folder.url, number, table, _unpack_index(metadata[INDEX_KEY]))
    except (pa.ArrowInvalid, KeyError, zlib.error, OSError) as error:
        raise CorruptFile("is no shard of this tool", where=where) from error


def success_ids(folder: Folder, number: int) -> np.ndarray[Any, Any]:
    """Ids of a finished shard's successes, int64 (n,), in row order."""
    import numpy as np

    fs, path = filesystem(folder.url_of(parquet_name(number)))
    with fs.open(path, "rb") as handle:
        table, _ = read_table(handle, ["id", "status"])
    good = np.asarray(table.column("status").to_pylist(), object) == SUCCESS
    ids: np.ndarray[Any, Any] = np.asarray(table.column("id").to_numpy()[good], np.int64)
    return ids


def first_member(blob: bytes) -> tuple[str, bytes]:
    """Name and data of the first member of a sample."""
    name = blob[:100].split(b"\0", 1)[0].decode("ascii")
    length = int(blob[124:135], 8)
    return name, blob[BLOCK : BLOCK + length]


def outcomes(shard: Shard, rows: Sequence[int]) -> Iterator[tuple[int, str | None, Outcome]]:
    """Rows of a finished shard with their urls and outcomes, pictures read from the tar."""
    nth = shard.nth_success()
    with shard.tar() as handle:
        for row in sorted(rows):
            values = shard.table.slice(row, 1).to_pylist()[0]
            if values["status"] != SUCCESS:
                failure = Failure(values["error"], values["error_message"] or "")
                yield row, values["url"], _outcome(values, failure, "", b"")
                continue
            name, data = first_member(shard.blob(handle, int(nth[row])))
            assert name.startswith(key_of(values["id"]))
            yield row, values["url"], _outcome(values, None, name.rsplit(".", 1)[1], data)


def _outcome(
    values: Mapping[str, Any], failure: Failure | None, extension: str, data: bytes
) -> Outcome:
    return Outcome(
        failure,
        extension,
        data,
        values["width"],
        values["height"],
        values["original_width"],
        values["original_height"],
        values["sha256"],
        values.get("image_phash_now"),
    )
