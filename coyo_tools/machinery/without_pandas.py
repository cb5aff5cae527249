"""Spares a process of ours pandas, which nothing here uses.

Arrow imports it, where it is installed, the first time that it makes a column of Python's values or
values of a column: to know pandas' own when it sees them. That takes time and memory in every
process. What other packages import themselves they get; arrow, once it has been told that there is
none, still knows its tables and not each of its values, so where packages that are not known here
are called, all stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, ModuleType

_OURS = "coyo_tools"
_BETWEEN = ("importlib", "pyarrow")  # who may stand between it and who asks


def spare_pandas() -> None:
    """For the rest of the process, which has to be the command line's or a worker's: in a caller's
    own, arrow has to know pandas' values."""
    sys.meta_path.insert(0, _Finder())


def keep_pandas() -> None:
    """Arrow may have it after all: code that is not ours is called in this process."""
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _Finder)]


class _Finder:
    """Says that pandas is not there where arrow asks, called from here."""

    def find_spec(
        self, fullname: str, _: Sequence[str] | None, __: ModuleType | None = None
    ) -> None:
        if fullname == "pandas" and _asker(sys._getframe(1)).partition(".")[0] == _OURS:
            raise ModuleNotFoundError("not needed here", name="pandas")


def _asker(frame: FrameType | None) -> str:
    """The module whose call ended in the import."""
    while frame is not None:
        name: str = frame.f_globals.get("__name__") or ""
        if not (name.startswith("_frozen_importlib") or name.partition(".")[0] in _BETWEEN):
            return name
        frame = frame.f_back
    return ""
