"""Objects of the `datasets` library as a SOURCE.

A streaming dataset that is nothing but parquet files is read from those files. Any other one is
written to temporary parquet first, a row group in memory at a time, under TMPDIR. `datasets` is
never imported here: whoever has such an object has imported it.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import sha256_of
from coyo_tools.machinery.storage import first_line, storage_errors
from coyo_tools.words.errors import SchemaError, SourceError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEME = "datasets:"
ROWS_A_PART = 1 << 20
_ROWS_A_GROUP = 1 << 17
_ROWS_A_BATCH = 1 << 13  # rows of a Python generator are objects before they are columns
_READS_ALL = ("columns", "filters", "features", "batch_size", "fragment_scan_options")


def is_dataset(source: object) -> bool:
    """Whether it is an object of the `datasets` library, or of a class derived from one."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(source).__mro__)


def check_readable(data: Any) -> None:
    """Raise SourceError where it is a DatasetDict, half read, or no dataset at all."""
    if isinstance(data, dict):
        raise SourceError(
            f"holds the splits {', '.join(map(str, data))}",
            where=type(data).__name__,
            todo=f'choose one, such as data["{next(iter(data), "train")}"]',
        )
    if not callable(getattr(data, "iter", None)) or not callable(
        getattr(data, "with_format", None)
    ):
        raise SourceError(
            "is no dataset that can be read",
            where=type(data).__name__,
            todo="give a Dataset or an IterableDataset",
        )
    if getattr(data, "_starting_state_dict", None) is not None:
        # Read in batches, datasets begins such a stream anew, or a batch off.
        raise SourceError(
            "begins in the middle, after load_state_dict",
            where=name_of(data),
            todo="give a new one, with .skip(N) for the rows to leave out",
        )


def name_of(data: Any) -> str:
    """What the dataset says it is, for the manifest: `datasets:NAME/CONFIG[SPLIT]#FINGERPRINT`."""
    info = data.info
    name = info.dataset_name or info.builder_name or type(data).__name__
    config = f"/{info.config_name}" if info.config_name else ""
    split = f"[{data.split}]" if data.split is not None else ""
    fingerprint = getattr(data, "_fingerprint", None)
    return f"{SCHEME}{name}{config}{split}" + (f"#{fingerprint}" if fingerprint else "")


def plain_files(data: Any) -> list[str] | None:
    """The parquet files a streaming dataset hands on unchanged; None where that is not sure.

    It looks at what `datasets` keeps to itself, and takes what it does not know for a change.
    """
    rows = getattr(data, "_ex_iterable", None)
    reader = getattr(getattr(rows, "generate_tables_fn", None), "__self__", None)
    known = type(rows).__name__ == "ArrowExamplesIterable" and any(
        kind.__module__ == "datasets.packaged_modules.parquet.parquet"
        for kind in type(reader).__mro__
    )
    moved = ("_distributed", "_shuffling")
    if not known or any(getattr(data, name, None) is not None for name in moved):
        return None
    config: Any = reader.config if reader is not None else None
    changed = any(getattr(config, name, None) is not None for name in _READS_ALL)
    skips = getattr(config, "on_bad_files", "error") != "error"
    tokens = (getattr(data, "_token_per_repo_id", None) or {}).values()
    private = any(isinstance(token, str) for token in tokens)  # our reader has not got that token
    return None if changed or skips or private else _whole_files(getattr(rows, "kwargs", {}))


def _whole_files(given: Any) -> list[str] | None:
    files = given.get("files")
    pieces = given.get("row_groups_list") or [None]
    if set(given) - {"files", "row_groups_list"} or any(piece is not None for piece in pieces):
        return None
    plain = isinstance(files, list) and all(
        isinstance(f, str) and f.endswith(".parquet") and "::" not in f for f in files
    )
    return files if plain else None


def same_columns(data: Any, found: pa.Schema) -> bool:
    """Whether the dataset shows a file's columns with the file's own types."""
    features = data.features
    return features is None or list(features.arrow_schema.remove_metadata()) == list(
        found.remove_metadata()
    )


class Spool:
    """A dataset as temporary parquet files, gone with the last reference to this object.

    files: (path, sha256 of the file), in order. The same rows give the same files. Raises
    SourceError where the dataset breaks off, SchemaError, StorageError.
    """

    def __init__(self, data: Any) -> None:
        with storage_errors(tempfile.gettempdir()):
            self._folder = Path(tempfile.mkdtemp(prefix="coyo-dataset-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.files = [(path, sha256_of(path)) for path in _written(data, self._folder)]

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process gets none of it: the files belong to the process that made them."""
        return (type(None), ())


def _written(data: Any, folder: Path) -> Iterator[Path]:
    """Write the dataset into files of `ROWS_A_PART` rows; each path once its file is closed."""
    import pyarrow.parquet as pq

    groups = _row_groups(data)
    group: pa.Table | None = next(groups)  # of an empty dataset there is one, too
    number = 0
    while group is not None:
        path = folder / f"part-{number:05d}.parquet"
        with storage_errors(str(folder)), pq.ParquetWriter(path, group.schema) as writer:
            rows = 0
            while group is not None and rows < ROWS_A_PART:
                writer.write_table(group)
                rows += group.num_rows
                group = next(groups, None)
        yield path
        number += 1


def _row_groups(data: Any) -> Iterator[pa.Table]:
    """Tables of `_ROWS_A_GROUP` rows and one schema; at least one, of no rows if need be."""
    import pyarrow as pa

    schema = None if data.features is None else data.features.arrow_schema.remove_metadata()
    held: list[pa.Table] = []
    given = False
    for batch in _batches(data):
        schema = schema or batch.schema.remove_metadata()
        held.append(_fitted(batch, schema, name_of(data)))
        if sum(table.num_rows for table in held) >= _ROWS_A_GROUP:
            yield pa.concat_tables(held)
            held, given = [], True
    if held or not given:
        yield pa.concat_tables(held) if held else (schema or pa.schema([])).empty_table()


def _batches(data: Any) -> Iterator[pa.Table]:
    import pyarrow as pa

    rows = 0
    arrow = data.with_format("arrow")
    if getattr(data, "epoch", 0):  # with_format forgets it, and a shuffle depends on it
        arrow.set_epoch(data.epoch)
    try:
        for batch in arrow.iter(batch_size=_ROWS_A_BATCH):
            yield batch
            rows += batch.num_rows
    except pa.ArrowInvalid as error:
        raise _unlike(name_of(data), error) from error
    except OSError as error:
        raise SourceError(
            f"breaks off after about {rows:,} rows: {first_line(error)}",
            where=name_of(data),
            todo="run again",
        ) from error


def _fitted(batch: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    import pyarrow as pa

    try:
        return batch.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _unlike(where, error) from error


def _unlike(where: str, error: Exception) -> SchemaError:
    return SchemaError(
        f"has rows of different columns or types: {first_line(error)}",
        where=where,
        todo="give the dataset its features, as data.cast(features) does",
    )
