"""What a score is: a declaration, and a scorer made from it once a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

    from coyo_tools.pieces.decoding import Array

IMAGE = "image"
GREY = "grey"  # the picture without its colours, which a JPEG gives faster than all of it
TEXT = "text"
ROW = "row"  # KEY.json: what the shard knows of the row


@dataclass(frozen=True)
class ScoreColumn:
    """One column a score writes. dtype: arrow type name, or a list: `list<float32>`."""

    name: str
    dtype: str
    meaning: str

    def arrow_type(self) -> pa.DataType:
        """The dtype as arrow's."""
        return _arrow_type(self.dtype)


def _arrow_type(dtype: str) -> pa.DataType:
    import pyarrow as pa

    inner = dtype.removeprefix("list<").removesuffix(">")
    return pa.type_for_alias(dtype) if inner == dtype else pa.list_(_arrow_type(inner))


@dataclass(frozen=True)
class Sample:
    """One picture with its caption. caption: None where there is none.

    image: decoded, as Pillow opens it (no EXIF rotation), shared by all scores: not to be
    changed; None where no score wants it. facts: KEY.json of the shard, {} where there is none.
    grey: what Pillow's conversion to L gives of the picture, uint8 (height, width), shared as well;
    None where no score wants it.
    """

    key: str
    caption: str | None
    image: Image.Image | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    grey: Array | None = None


@dataclass(frozen=True)
class Setup:
    """What a scorer is made with. device: cpu, cuda:0 ...

    weights: the checked local file or folder. tokenizer: the folder of an encoder's tokenizer,
    where that is not in the model's own package. compiled, resize_on_device: wishes, for models
    that can. whole_pictures: a picture may be left whole for the device to shrink, where that gives
    the same values. prepares_only: the scorer is asked to prepare and nothing else, so its model
    may be left out.
    """

    device: str = "cpu"
    precision: str = "fp32"
    weights: Path | None = None
    tokenizer: Path | None = None
    compiled: bool = False
    resize_on_device: bool = False
    whole_pictures: bool = False
    prepares_only: bool = False


class Scorer(Protocol):
    """A loaded score. Both methods are called from several threads at once.

    On the CPU `score` has one core, and torch computes on it alone: the other cores have batches
    of their own. `device`, where it has one, is where its model runs: "cpu" also beside a GPU that
    it cannot use.
    """

    def prepare(self, sample: Sample) -> Any | Failure | None:
        """What the model wants of one sample; None: no value for it (no caption)."""
        ...

    def score(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """One sequence or array a column of the declaration, each as long as `prepared`."""
        ...


# A loaded score that looks at embeddings: images and texts, float32 tensors (n, d), not normalised,
# a row a pair (texts: None unless the score's inputs name TEXT), to an array a column.
Head = Callable[[Any, Any], Sequence[Any]]


class LoadedEncoder(Protocol):
    """A loaded model that embeds pictures and captions; called as a Scorer is.

    side_px, where it has one: of the picture that the model sees.
    """

    def prepare(self, sample: Sample, *, with_text: bool) -> tuple[Any, Any] | Failure:
        """The picture and the caption as the model wants them; None for one that is not wanted."""
        ...

    def embed_images(self, images: Sequence[Any]) -> Any:
        """Float32 tensor (n, d), on the encoder's device, not normalised."""
        ...

    def embed_texts(self, texts: Sequence[Any]) -> Any:
        """The same of captions."""
        ...


def _nowhere() -> Path | None:
    return None


@dataclass(frozen=True)
class Weights:
    """One weights file, and where it comes from: a url, or a repository of the hub.

    name: what `coyo weights` and `--weights NAME=PATH` call it. file: its own name. formats: that
    `--weights` takes, the usual file's first. revision: "" where it is whatever stands there now.
    bytes, sha256: None where nobody has looked. git_blob: the SHA-1 that a git repository names the
    file by, where that is what is known. also_at: where another program may keep it.
    otherwise: other names of the file, for repositories that have none of this one. beside:
    further files of the repository that are wanted with it; optional: those it may lack. With
    them the weights are a folder.
    """

    name: str
    file: str
    formats: tuple[str, ...]
    licence: str
    citation: str
    url: str = ""
    repository: str = ""
    revision: str = ""
    bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    also_at: Callable[[], Path | None] = _nowhere
    otherwise: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names that the file may have, the usual one first."""
        return (self.file, *self.otherwise)

    @property
    def is_folder(self) -> bool:
        """Whether several files belong together."""
        return bool(self.beside or self.optional)

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        at = f"@{self.revision}" if self.revision else ""
        return f"hub {self.repository}{at}" if self.repository else self.url


@dataclass(frozen=True)
class Encoder:
    """A model that several scores look through: it runs once a picture, whatever their number.

    tokenizer: where it comes from, unless `load` has it.
    """

    weights: Weights
    load: Callable[[Setup], LoadedEncoder]
    tokenizer: Weights | None = None


@dataclass(frozen=True)
class Score:
    """The declaration: everything else reads it.

    inputs: of IMAGE, GREY, TEXT, ROW. load: gives a Scorer, or a Head where there is an encoder.
    weights: its own, None where the encoder's are all. exact: the values are those COYO published,
    where picture and caption are unchanged. note: why they may differ, where they may. extra: of
    pyproject.toml; packages: what of it is imported, by import name. written: whether the columns
    are the scores' own; those of embeddings go elsewhere.
    """

    name: str
    columns: tuple[ScoreColumn, ...]
    inputs: tuple[str, ...]
    model: str
    licence: str
    load: Callable[[Setup], Scorer | Head]
    weights: Weights | None = None
    encoder: Encoder | None = None
    exact: bool = False
    note: str = ""
    extra: str | None = None
    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = field(default=())  # whose versions go into the manifest
    written: bool = True

    @property
    def needs_image(self) -> bool:
        """Whether it looks at the picture."""
        return IMAGE in self.inputs or GREY in self.inputs

    @property
    def needs_shard(self) -> bool:
        """Whether it looks at what only a shard has, and metadata has not."""
        return self.inputs != (TEXT,)

    @property
    def uses_device(self) -> bool:
        """Whether a model runs that wants a device of its own."""
        return self.extra is not None

    def missing_packages(self) -> list[str]:
        """Packages that are not installed, without importing any."""
        from importlib.util import find_spec

        return [name for name in self.packages if find_spec(name) is None]

    def as_json(self) -> list[dict[str, Any]]:
        """One plain mapping a column, for `coyo score --list --json`."""
        sources = " and ".join(weights.source for weights in weights_of([self]).values())
        return [
            {
                "column": column.name,
                "dtype": column.dtype,
                "meaning": column.meaning,
                "inputs": list(self.inputs),
                "model": self.model,
                "weights": sources or None,
                "licence": self.licence,
                "extra": self.extra,
                "exact": self.exact,
                "note": self.note,
            }
            for column in self.columns
        ]


def weights_of(scores: Iterable[Score]) -> dict[str, Weights]:
    """Every weights file that the scores need, by the name `--weights` calls it."""
    found: dict[str, Weights] = {}
    for score in scores:
        wanted = [score.weights]
        if score.encoder is not None:
            wanted += [score.encoder.weights, score.encoder.tokenizer]
        found |= {weights.name: weights for weights in wanted if weights}
    return found


class PerText:
    """A scorer whose values are a function of a batch of captions."""

    def __init__(self, count: Callable[[Sequence[str]], Sequence[Any]]) -> None:
        self._count = count

    def prepare(self, sample: Sample) -> str | None:
        """The caption."""
        return sample.caption

    def score(self, prepared: Sequence[str]) -> Sequence[Any]:
        """The one column."""
        return (self._count(prepared),)
