"""Models of the hub through transformers: loaded from a folder of their files, and looked at first.

Never by code that lies beside the weights, and never by unpickling: safetensors, or torch files
read with `weights_only`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.base import Weights
from coyo_tools.pieces.scores.weights import SAFETENSORS, TORCH, check_file
from coyo_tools.words.errors import SettingsError, WeightsError

FILES = "model.safetensors", "pytorch_model.bin"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIG, _PICTURES = "config.json", "preprocessor_config.json"
_TOKENIZER = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"


def weights(name: str, model: str, *, citation: str, tokenizer: bool) -> Weights:
    """A model's files. model: `OWNER/NAME[@REVISION]`. tokenizer: whether it reads captions.

    Raises SettingsError where it is no such name.
    """
    repository, _, revision = model.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise SettingsError(
            f"{model!r} is no model of the hub", where="--model", todo="write OWNER/NAME[@REVISION]"
        )
    return Weights(
        name=name,
        file=FILES[0],
        otherwise=FILES[1:],
        beside=(_CONFIG, _PICTURES),
        optional=_TOKENIZER if tokenizer else (),
        repository=repository,
        revision=revision,
        formats=(SAFETENSORS, TORCH),
        licence=f"as the card of {repository} says",
        citation=citation,
    )


def load_model(kind: str, folder: Path) -> Any:
    """The model of a folder in float32, in evaluation mode on the CPU.

    kind: a class of transformers such as `AlignModel`. Raises WeightsError where the folder holds
    another model, or weights that are not all of it.
    """
    import transformers

    built = getattr(transformers, kind)
    wanted, found = built.config_class.model_type, _read_json(folder / _CONFIG).get("model_type")
    if wanted != found:
        raise WeightsError(
            f"holds a model of the kind {found!r}, not {wanted!r}",
            where=str(folder),
            todo="choose another with --model",
        )
    file = next(folder / name for name in FILES if (folder / name).is_file())
    check_file(file, (SAFETENSORS, TORCH))
    with faults_named(folder), silence():
        model, said = built.from_pretrained(
            folder,
            local_files_only=True,
            dtype="float32",
            use_safetensors=file.suffix == ".safetensors",
            output_loading_info=True,
        )
    _check_all_there(said, file)
    return model.eval()


def _check_all_there(said: Mapping[str, Any], file: Path) -> None:
    """transformers fills what a file lacks with random numbers, and only says so."""
    for what in ("missing_keys", "mismatched_keys"):
        if said.get(what):
            first = min(map(str, said[what]))
            raise WeightsError(
                f"are not all weights of the model: {first} is absent or of another shape",
                where=str(file),
                todo="fetch them again, or choose another with --model",
            )


def load_image_processor(folder: Path) -> Any:
    """How the model wants its pictures: an image processor of transformers. Raises WeightsError."""
    from transformers import AutoImageProcessor

    with faults_named(folder), silence():
        made: Any = AutoImageProcessor
        return made.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


class CaptionTokenizer:
    """A tokenizer of transformers that may be called from several threads at once."""

    def __init__(self, folder: Path, tokens: int) -> None:
        from transformers import AutoTokenizer

        self._tokens = tokens
        self._one_at_a_time = threading.Lock()  # it keeps its settings for padding in itself
        with faults_named(folder), silence():
            self._made = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )

    def __call__(self, caption: str) -> dict[str, Any]:
        """What the model wants of a caption, cut and padded: int64 (tokens) by name."""
        with self._one_at_a_time:
            found = self._made(
                [caption],
                padding="max_length",
                max_length=self._tokens,
                truncation=True,
                return_tensors="pt",
            )
        return {name: tensor[0] for name, tensor in found.items()}


def prepared(processor: Any, image: Any) -> Any:
    """A picture as its model wants it, float32 (3, height, width)."""
    return processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]


def stacked(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """Captions that were made ready one by one, as a batch on the device."""
    import torch

    return {name: torch.stack([row[name] for row in rows]).to(device) for name in rows[0]}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot be read: {error}", where=str(path)) from error
    return found if isinstance(found, dict) else {}


@contextmanager
def faults_named(folder: Path) -> Iterator[None]:
    """Turn whatever loading from the folder raises into one sentence."""
    try:
        yield
    except Exception as error:  # transformers and its readers raise anything on a broken folder
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(
            f"cannot be loaded: {said}", where=str(folder), todo="fetch the files again"
        ) from error


@contextmanager
def silence() -> Iterator[None]:
    """transformers draws a bar and lists what it found; what is wrong is told in a sentence."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
