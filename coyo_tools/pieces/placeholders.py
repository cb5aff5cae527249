"""Pictures that many urls share, such as "image not found": which hashes are theirs.

A hash (image_phash_now) is a placeholder's where the same picture now stands at `LEAST` different
urls whose published hashes are as many different pictures, each further from each other than
`phash.DRIFTED_AT_MOST` bits. Rows are looked at in the order of the shards, and one counts that
is that far from all that counted before it, so that nothing depends on who fetched first.

Equal bytes (sha256) have equal hashes, so that looking at hashes finds them too. One picture that
a site shows at several addresses under its own published hash does not count: its rows are `same`.
Nor does one that took the place of one other at several addresses: the published hashes are near.

Without a published hash nothing tells a placeholder from a logo or a photograph that many sites
show. Such rows prove nothing; those whose picture other such rows show too are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.phash import DRIFTED, DRIFTED_AT_MOST, REPLACED
from coyo_tools.words.failures import SUCCESS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LEAST = 3
PLACEHOLDER = "placeholder"
# Parquet, but not called so: `*.parquet` goes on to match the shards' tables alone.
NAME = "placeholders.pq"
COLUMNS = ("id", "key", "url", "status", "sha256", "image_phash_now", "drift", "image_phash")


class Evidence:
    """For each suspected hash the rows that count, up to `LEAST`."""

    def __init__(self) -> None:
        self._counted: dict[int, list[tuple[int, str]]] = {}

    def add(self, now: int, published: str, url: str) -> None:
        """A row whose picture is not the published one."""
        rows = self._counted.setdefault(now, [])
        if len(rows) == LEAST:
            return
        then = int(published, 16)
        if all(url != u and (then ^ t).bit_count() > DRIFTED_AT_MOST for t, u in rows):
            rows.append((then, url))

    def add_rows(self, table: pa.Table, rows: np.ndarray[Any, Any]) -> None:
        """These rows, bool, of a table that has `COLUMNS`; see `may_be`."""
        import numpy as np

        chosen = np.flatnonzero(rows)
        now = now_of(table)[chosen].tolist()
        found = table.select(["image_phash", "url"]).take(chosen).to_pylist()
        for each, row in zip(now, found, strict=True):
            self.add(each, row["image_phash"], row["url"])

    def found(self) -> np.ndarray[Any, Any]:
        """The hashes of placeholders, uint64, ascending."""
        import numpy as np

        hashes = [now for now, rows in self._counted.items() if len(rows) == LEAST]
        return np.array(sorted(hashes), np.uint64)


def now_of(table: pa.Table) -> np.ndarray[Any, Any]:
    """image_phash_now of each row, uint64; 0 where there is none."""
    import numpy as np

    values = table.column("image_phash_now").to_pylist()
    return np.array([int(value, 16) if value else 0 for value in values], np.uint64)


def may_be(table: pa.Table) -> np.ndarray[Any, Any]:
    """Rows, bool, whose picture is known not to be the published one."""
    return _where(table, (DRIFTED, REPLACED))


def may_not_be_told(table: pa.Table) -> np.ndarray[Any, Any]:
    """Rows, bool, with a picture and no published hash to set it against."""
    return _where(table, (None,))


def is_marked(table: pa.Table, found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows, bool, that show a placeholder. found: its hashes. A row whose published hash is the
    placeholder's own stays `same`; one without a published hash is marked."""
    import numpy as np

    marked: np.ndarray[Any, Any] = _where(table, (DRIFTED, REPLACED, None))
    return marked & np.isin(now_of(table), found)


def _where(table: pa.Table, kinds: tuple[str | None, ...]) -> np.ndarray[Any, Any]:
    import numpy as np

    rows = zip(
        table.column("status").to_pylist(),
        table.column("image_phash_now").to_pylist(),
        table.column("drift").to_pylist(),
        strict=True,
    )
    return np.array([s == SUCCESS and n is not None and d in kinds for s, n, d in rows], bool)
