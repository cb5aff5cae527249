"""Members of packages: read where they are, nothing unpacked, every fault named."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.words.errors import WeightsError

MEMBERS = {"models/a.onnx": b"a" * 9000, "models/b.onnx": b"b", "README": b"r"}


def write(path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in MEMBERS.items():
                archive.writestr(f"package-1.0/{name}", data)
        return path
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("package-1.0/models/dir.onnx")
        folder.type = tarfile.DIRTYPE
        link = tarfile.TarInfo("package-1.0/models/link.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        for entry in (folder, link):
            tar.addfile(entry)
        for name, data in MEMBERS.items():
            entry = tarfile.TarInfo(f"package-1.0/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture(params=["p.tar.gz", "p.zip"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / request.param)


def test_members_come_in_the_order_they_are_named(package: Path) -> None:
    found = read_members(package, ["models/b.onnx", "models/a.onnx"])
    assert list(found.items()) == [("models/b.onnx", b"b"), ("models/a.onnx", b"a" * 9000)]
    assert list(package.parent.iterdir()) == [package]


@pytest.mark.parametrize("name", ["models/c.onnx", "a.onnx", "package-1.0/README", "../README"])
def test_an_absent_member_is_named(package: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"{package.name}: .*there is no {name}"):
        read_members(package, ["README", name])


@pytest.mark.parametrize("name", ["models/dir.onnx", "models/link.onnx"])
def test_folders_and_links_are_no_members(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="there is no"):
        read_members(write(tmp_path / "p.tar.gz"), [name])


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_cut_archive_is_named(package: Path, keep: float) -> None:
    data = package.read_bytes()
    package.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightsError, match="cannot be read out of this archive"):
        read_members(package, list(MEMBERS))


def test_damaged_bytes_are_named(package: Path) -> None:
    data = bytearray(package.read_bytes())
    at = data.index(b"package-1.0/models/a.onnx") + 40 if package.suffix == ".zip" else 100
    data[at : at + 8] = bytes(8)
    package.write_bytes(data)
    with pytest.raises(WeightsError, match="cannot be read out of this archive"):
        read_members(package, list(MEMBERS))
