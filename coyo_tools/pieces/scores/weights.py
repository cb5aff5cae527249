"""Weights files: found, looked at before they are loaded, never unpickled.

Formats are told by a file's first bytes, not by its name: safetensors, HDF5, a torch archive
(read with weights_only), ONNX by its suffix, which has no mark of its own.
"""

from __future__ import annotations

import pickle  # for the name of its error: nothing is unpickled
import warnings
import zipfile
from pathlib import Path
from typing import Any

from coyo_tools.words.errors import WeightsError

SAFETENSORS, TORCH, TORCHSCRIPT, HDF5, ONNX = "safetensors", "torch", "TorchScript", "HDF5", "ONNX"
NPZ = "npz"
TAR, JSON, SAVED_MODEL = "tar.gz", "JSON", "SavedModel in a zip"
_LFS = b"version https://git-lfs"


def check_file(path: Path, formats: tuple[str, ...]) -> str:
    """The file's format, one of `formats`. Raises WeightsError naming the file and the fault."""
    try:
        with path.open("rb") as handle:
            head = handle.read(32)
    except OSError as error:
        raise WeightsError(
            f"weights cannot be read: {error.strerror or error}", where=str(path)
        ) from error
    found = _format_of(path, head)
    if found not in formats:
        raise WeightsError(
            f"these weights are {found or 'of no known format'}, not {' or '.join(formats)}",
            where=str(path),
            todo=_what_to_do(found, head),
        )
    return found


def _format_of(path: Path, head: bytes) -> str | None:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5
    if head.startswith(b"PK\x03\x04"):
        return _archive_kind(path)
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return SAFETENSORS
    if head.startswith(b"\x1f\x8b"):
        return TAR
    if head[:1] == b"\x80":
        return TORCH  # torch.save before 1.6; torch reads it with weights_only too
    if head.lstrip()[:1] == b"{":
        return JSON
    return ONNX if path.suffix.lower() == ".onnx" and head and head[:23] != _LFS else None


def _archive_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WeightsError(
            "weights are truncated: the archive has no end",
            where=str(path),
            todo="fetch the file again",
        ) from error
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    if any(name.endswith("/saved_model.pb") for name in names):
        return SAVED_MODEL
    return TORCHSCRIPT if any("/code/" in name for name in names) else TORCH


def _what_to_do(found: str | None, head: bytes) -> str:
    if head[:23] == _LFS:
        return "it is a git-lfs pointer; run: git lfs pull"
    if found == TORCHSCRIPT:
        return (
            "OpenAI's original archives hold program code; take the same weights as "
            "open_clip_model.safetensors, or leave --weights out"
        )
    return "name the right file with --weights COLUMN=PATH"


def load_tensors(path: Path, formats: tuple[str, ...] = (SAFETENSORS, TORCH)) -> dict[str, Any]:
    """The tensors of a safetensors file or torch archive, arrays of an .npz, by name.

    Raises WeightsError.
    """
    kind = check_file(path, formats)
    try:
        return _READERS[kind](path)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "holds pickled code, which is never run",
            where=str(path),
            todo="name a file of tensors alone with --weights COLUMN=PATH, such as safetensors",
        ) from error
    except Exception as error:  # the readers raise anything on a broken file
        raise WeightsError(
            f"weights cannot be read: {_first_line(error)}",
            where=str(path),
            todo="fetch the file again, or name another with --weights COLUMN=PATH",
        ) from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(path, device="cpu"))


def _read_torch(path: Path) -> dict[str, Any]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a remark on the pickle's protocol, for torch's developers
        found = torch.load(path, map_location="cpu", weights_only=True)
    for name in ("state_dict", "weights"):  # what else a training run keeps beside it is left
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict):
        raise WeightsError(
            "holds no state dict", where=str(path), todo="save it with model.state_dict()"
        )
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _read_npz(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


_READERS = {SAFETENSORS: _read_safetensors, TORCH: _read_torch, NPZ: _read_npz}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
