"""An output folder as an object of the `datasets` library."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import is_remote
from coyo_tools.pieces import source as sources
from coyo_tools.words.errors import MissingExtra, SourceNotFound

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def to_datasets(
    folder: str | os.PathLike[str], *, streaming: bool = False
) -> Dataset | IterableDataset:
    """The rows of a folder of parquet, such as `filter` and `score` write, for `datasets`.

    streaming: an IterableDataset over the files themselves; else a Dataset, of which `datasets`
    makes an Arrow copy in its cache (HF_DATASETS_CACHE), as `load_dataset` does.

    Raises MissingExtra without `datasets`, SourceNotFound where there is no parquet, SourceError
    where the folder is not finished.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra.of("datasets", "to_datasets") from error
    found = sources.find(folder)
    if not found.parts:
        raise SourceNotFound("holds no parquet file", where=found.url)
    parts = found.open_all()
    schema = parts[0].metadata.schema.to_arrow_schema().remove_metadata()
    if not streaming and not any(part.rows for part in parts):
        return datasets.Dataset(schema.empty_table())  # load_dataset refuses a split of no rows
    loaded: Any = datasets.load_dataset(
        "parquet",
        data_files={"train": [_literal(part.url) for part in found.parts]},
        features=datasets.Features.from_arrow_schema(schema),
        split="train",
        streaming=streaming,
    )
    return loaded


def _literal(url: str) -> str:
    """The file's name to a library that reads stars and brackets as patterns."""
    return url if is_remote(url) else glob.escape(url)
