"""Weights files: told by their bytes, looked at before they are loaded, never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from coyo_tools.pieces.scores.weights import (
    HDF5,
    ONNX,
    SAFETENSORS,
    TORCH,
    TORCHSCRIPT,
    check_file,
    load_tensors,
)
from coyo_tools.words.errors import WeightsError

torch = pytest.importorskip("torch", reason="needs the score extra")


def a_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.5)}


@pytest.mark.parametrize("kind", ["safetensors", "torch", "nested", "parallel"])
def test_good_files_are_read(tmp_path: Path, tensors: dict[str, torch.Tensor], kind: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.any"
    match kind:
        case "safetensors":
            save_file(tensors, path)
        case "torch":
            torch.save(tensors, path)
        case "nested":
            torch.save({"state_dict": tensors, "epoch": 3}, path)
        case "parallel":
            torch.save({f"module.{name}": t for name, t in tensors.items()}, path)
    found = load_tensors(path)
    assert set(found) == {"a", "b"}
    assert torch.equal(found["a"], tensors["a"])


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_files_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], kind: str, keep: float
) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.pt"
    tensors["large"] = torch.zeros(5000)
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightsError, match=r"weights\.pt: "):
        load_tensors(path)


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_nothing_is_unpickled(tmp_path: Path, how: str) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.pt"
    if how == "torch":
        torch.save({"a": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"a": Bomb(mark)}))
    with pytest.raises(WeightsError, match="holds pickled code, which is never run; name a file"):
        load_tensors(path)
    assert not mark.exists()


def test_a_torchscript_archive_is_refused_with_a_way_out(tmp_path: Path) -> None:
    import warnings

    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own TorchScript deprecated
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(WeightsError, match=r"TorchScript.*open_clip_model\.safetensors"):
        check_file(path, (SAFETENSORS, TORCH))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("w.safetensors", b"", "no known format"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("w.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("w.pt", b"<!doctype html><html>", "no known format"),
        ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        check_file(a_file(tmp_path / name, data), (SAFETENSORS, TORCH))


def test_formats_are_told_by_bytes(tmp_path: Path) -> None:
    assert check_file(a_file(tmp_path / "a", b"\x89HDF\r\n\x1a\n"), (HDF5, ONNX)) == HDF5
    assert check_file(a_file(tmp_path / "b.onnx", b"\x08\x07"), (HDF5, ONNX)) == ONNX
    script = a_file(tmp_path / "c", b"PK\x03\x04 no archive")
    with pytest.raises(WeightsError, match="truncated"):
        check_file(script, (TORCHSCRIPT,))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pt.*No such file"):
        check_file(tmp_path / "absent.pt", (TORCH,))
