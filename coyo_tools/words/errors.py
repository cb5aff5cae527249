"""The errors a user can meet, as one tree.

    CoyoError                 exit status 1, one sentence: where, what, what to do
    ├── SourceError           an input that cannot be read
    │   ├── SourceNotFound    nothing is there, or no parquet in it
    │   ├── LfsPointer        a git-lfs pointer lies where the data should
    │   └── CorruptFile       truncated, or not what its name says
    ├── SchemaError           a column is missing or of another type
    ├── RuleError             a rule or a --where that cannot be evaluated
    ├── SettingsError         a setting outside its range
    ├── SettingsConflict      the output folder belongs to other settings or inputs
    ├── FolderBusy            another run is writing the output folder
    ├── StorageError          the output cannot be written: full, read-only, refused
    ├── NetworkError          the network here is gone for longer than is waited for
    ├── MissingExtra          an optional dependency is not installed
    ├── WeightsError          model weights are absent, or not what they should be
    ├── PluginError           a score of another package cannot be used
    ├── ParityError           recomputed values differ more than was allowed
    └── EngineError           a worker process died or raised

Expected failures of single rows (a dead url, a corrupt picture) are values, not errors:
see `coyo_tools.words.failures`.
"""

from __future__ import annotations


class CoyoError(Exception):
    """Base of all named errors. `str()` is one line: where, what, what to do.

    what: the fault. where: file, column or option. todo: what the user can do about it.
    """

    exit_status = 1

    def __init__(self, what: str, *, where: str | None = None, todo: str | None = None) -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what, where, todo)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}; {self.todo}" if self.todo else head

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way from a worker process, keyword arguments and details included."""
        return (_rebuild, (type(self), self.what, self.where, self.todo), self.__dict__)


def _rebuild(kind: type[CoyoError], what: str, where: str | None, todo: str | None) -> CoyoError:
    return kind(what, where=where, todo=todo)


class SourceError(CoyoError):
    """An input that cannot be read."""


class SourceNotFound(SourceError):
    """Nothing is there, or no parquet in it."""


class LfsPointer(SourceError):
    """A git-lfs pointer lies where the data should."""


class CorruptFile(SourceError):
    """A file is truncated, or not what its name says."""


class SchemaError(CoyoError):
    """A column is missing or of another type."""


class RuleError(CoyoError):
    """A rule or a `--where` that cannot be evaluated."""


class SettingsError(CoyoError):
    """A setting outside its range."""


class SettingsConflict(CoyoError):
    """The output folder belongs to other settings or other inputs."""


class FolderBusy(CoyoError):
    """Another run is writing the output folder."""


class StorageError(CoyoError):
    """The output cannot be written: disk full, read-only, refused."""


class NetworkError(CoyoError):
    """The network here is gone, and no host is to blame."""


class MissingExtra(CoyoError):
    """An optional dependency is not installed. extra: its name in pyproject.toml."""

    @classmethod
    def of(cls, extra: str, needed_for: str) -> MissingExtra:
        """The sentence that names the one extra to install."""
        return cls(
            f"{needed_for} needs packages that are not installed",
            todo=f"run: pip install 'coyo-tools[{extra}]'",
        )


class WeightsError(CoyoError):
    """Model weights are absent, or not what they should be."""


class PluginError(CoyoError):
    """A score of another package cannot be imported, is none, or takes a name that is taken."""


class ParityError(CoyoError):
    """Recomputed values differ from the stored ones more than was allowed."""


class EngineError(CoyoError):
    """A worker process died or raised something unexpected. `details` holds its traceback."""

    details: str = ""


def nearest(name: str, known: list[str]) -> str | None:
    """The known name most like `name`, for "did you mean"; None if none is near."""
    import difflib

    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return matches[0] if matches else None


def beginning(text: str, most: int = 300) -> str:
    """A text that a sentence quotes: of a long one the first characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def portable(error: BaseException) -> CoyoError:
    """The error itself where it is one of ours; else an EngineError with its traceback."""
    if isinstance(error, CoyoError):
        return error
    import traceback

    wrapped = EngineError(f"a worker failed: {type(error).__name__}: {error}")
    wrapped.details = traceback.format_exc()
    return wrapped
