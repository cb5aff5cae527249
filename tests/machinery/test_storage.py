"""Storage: whole files or none, one writer at a time, every refusal one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.machinery import storage
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.machinery.within import files_below
from coyo_tools.words.errors import FolderBusy, MissingExtra, SourceNotFound, StorageError
from tests.faults.mounts import mounted, remount
from tests.servers.s3 import s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    try:
        with s3_server(patch) as address:
            yield address
    finally:
        patch.undo()


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder of each kind, absent so far."""
    if request.param == "local":
        return folder_at(tmp_path / "deep" / "out")
    if request.param == "s3":
        request.getfixturevalue("s3")
        return folder_at(f"s3://bucket/{tmp_path.name}")
    return folder_at(f"memory://{tmp_path.name}")


# Every kind of folder.


def test_an_absent_folder_holds_nothing(folder: Folder) -> None:
    assert folder.names() == []
    assert not folder.exists("a")
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("a")


def test_what_is_written_is_read(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("b.bin", b"\x00\xff")
    folder.write_json("a.json", {"x": [1, None, "é"]})
    assert folder.names() == ["a.json", "b.bin"]
    assert folder.exists("b.bin")
    assert folder.read_bytes("b.bin") == b"\x00\xff"
    assert folder.read_json("a.json") == {"x": [1, None, "é"]}
    assert folder.read_bytes("a.json").endswith(b"}\n")


def test_a_second_write_replaces_the_first(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("a", b"first and longer")
    folder.write_bytes("a", b"second")
    assert folder.read_bytes("a") == b"second"


def test_names_may_hold_a_subfolder_and_odd_characters(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("sub/a b%20#é.parquet", b"x")
    assert folder.read_bytes("sub/a b%20#é.parquet") == b"x"
    assert folder.names() == []  # only what lies directly in it


def test_a_name_that_is_too_long_is_not_there_and_is_told(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    assert not folder.exists("a" * 300)
    with pytest.raises(StorageError, match="cannot be written: File name too long"):
        folder.write_bytes("a" * 300, b"x")


def test_delete_removes_and_tolerates_absence(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("a", b"x")
    folder.delete("a")
    folder.delete("a")
    assert not folder.exists("a")


def test_sizes_are_in_bytes(folder: Folder) -> None:
    assert folder.sizes() == {}
    folder.create()
    folder.write_bytes("b", b"12345")
    folder.write_bytes("a", b"")
    assert folder.sizes() == {"a": 0, "b": 5}


def test_move_replaces(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("a", b"new")
    folder.write_bytes("b", b"old")
    folder.move("a", "b")
    assert folder.names() == ["b"]
    assert folder.read_bytes("b") == b"new"
    with pytest.raises(FileNotFoundError):
        folder.move("a", "b")
    assert folder.read_bytes("b") == b"new"


def test_a_block_that_fails_leaves_nothing(folder: Folder) -> None:
    folder.create()
    with contextlib.suppress(KeyError), folder.stage("a") as path:
        path.write_bytes(b"half")
        raise KeyError
    assert folder.names() == []


def test_a_block_that_fails_leaves_the_earlier_file(folder: Folder) -> None:
    folder.create()
    folder.write_bytes("a", b"old")
    with contextlib.suppress(KeyError), folder.stage("a") as path:
        path.write_bytes(b"half")
        raise KeyError
    assert folder.read_bytes("a") == b"old"


def test_nothing_is_seen_before_the_block_ends(folder: Folder) -> None:
    folder.create()
    with folder.stage("a") as path:
        path.write_bytes(b"half")
        assert folder.names() == []
        assert not folder.exists("a")
    assert folder.read_bytes("a") == b"half"


def test_json_takes_no_nan(folder: Folder) -> None:
    folder.create()
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("a.json", float("nan"))
    assert folder.names() == []


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000))
def test_any_bytes_survive(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = folder_at(place)
        folder.write_bytes("a", data)
        assert folder.read_bytes("a") == data
        assert os.listdir(place) == ["a"]


# Local.


def test_urls_of_local_files_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not storage.is_remote("file:///a/b")
    assert storage.is_remote("s3://bucket/a")
    assert storage.local_path("file:///a/b") == Path("/a/b")
    assert folder_at("~/out/").url == str(tmp_path / "out")


def test_temporary_files_and_the_lock_are_no_results(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    with folder.lock(), folder.stage("a.parquet") as path:
        path.touch()
        assert len(os.listdir(tmp_path)) == 2
        assert folder.names() == []


def test_clean_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    script = (
        "import os; from coyo_tools.machinery.storage import folder_at\n"
        f"f = folder_at({str(tmp_path)!r})\n"
        "with f.stage('sub/a') as p:\n    p.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path / "sub")) == 1
    folder.clean()
    assert os.listdir(tmp_path / "sub") == []


def test_clean_leaves_the_temporary_files_of_a_run_in_a_folder_below(tmp_path: Path) -> None:
    inner = folder_at(tmp_path / "inner")
    inner.create()
    with inner.lock(), inner.stage("a") as path:
        path.write_bytes(b"half")
        folder_at(tmp_path).clean()
        assert path.exists()


def test_clean_leaves_every_other_file(tmp_path: Path) -> None:
    for name in ("a.coyo-tmp", ".hidden", "a.parquet"):
        (tmp_path / name).touch()
    folder_at(tmp_path).clean()
    assert len(os.listdir(tmp_path)) == 3


def test_a_locked_folder_keeps_other_runs_out(tmp_path: Path) -> None:
    with (
        folder_at(tmp_path).lock(),
        pytest.raises(FolderBusy, match="another run is writing here; wait for it"),
    ):
        folder_at(tmp_path).lock().__enter__()
    with folder_at(tmp_path).lock():
        pass


def test_a_killed_process_frees_its_lock(tmp_path: Path) -> None:
    script = (
        "import sys; from coyo_tools.machinery.storage import folder_at\n"
        f"with folder_at({str(tmp_path)!r}).lock():\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(FolderBusy):
            folder_at(tmp_path).lock().__enter__()
        other.kill()
        other.wait()
        with folder_at(tmp_path).lock():
            pass


def test_a_lock_on_a_removed_file_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    folder = folder_at(tmp_path)
    lock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *a: (os.unlink(tmp_path / storage.LOCK), lock(*a)))
    with pytest.raises(FolderBusy, match="has just removed this folder; run it again"):
        folder.lock().__enter__()


def test_an_empty_folder_is_removed_and_no_other(tmp_path: Path) -> None:
    for name, stays in (("empty", False), ("used", True)):
        folder = folder_at(tmp_path / name)
        folder.create()
        with folder.lock():
            if stays:
                (tmp_path / name / "thesis.tex").touch()
            folder.remove_if_empty()
        assert (tmp_path / name).exists() == stays


def test_the_data_is_flushed_before_the_rename_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    flush = storage._flush
    monkeypatch.setattr(storage, "_flush", lambda p: (steps.append(p.name), flush(p)))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda p, t: (steps.append("rename"), rename(p, t))[1])
    folder_at(tmp_path / "out").write_bytes("a", b"x")
    assert steps[0].startswith(".a.")
    assert steps[1:] == ["rename", "out"]


# Refusals, each one sentence.


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=64k") as small:
        folder = folder_at(small)
        with pytest.raises(StorageError, match="no space left on the device; free some and run"):
            folder.write_bytes("a", bytes(1_000_000))
        assert os.listdir(small) == []
        folder.write_bytes("a", bytes(1000))


def test_a_full_disk_under_pyarrow(tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"a": np.random.default_rng(0).integers(0, 1 << 60, 100_000)})
    with mounted(tmp_path / "small", "size=64k") as small:
        with (
            pytest.raises(StorageError, match="no space left on the device"),
            folder_at(small).stage("a.parquet") as path,
        ):
            pq.write_table(table, path)
        assert os.listdir(small) == []


def test_a_read_only_place(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        remount(disk, "ro")
        for attempt in (
            lambda: folder_at(disk / "new").create(),
            lambda: folder_at(disk).write_bytes("a", b"x"),
            lambda: folder_at(disk).lock().__enter__(),
        ):
            with pytest.raises(StorageError, match="cannot be written: permission denied or read"):
                attempt()


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StorageError, match="is in the way: a file, not a folder"):
        folder_at(tmp_path / "out").create()
    with pytest.raises(StorageError, match="is in the way"):
        folder_at(tmp_path / "out" / "inner").create()


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        folder_at(tmp_path).write_bytes("a", b"x")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("url", ["https://127.0.0.1:9/x", "http://127.0.0.1:9/x"])
def test_the_web_is_read_only(url: str) -> None:
    with pytest.raises(StorageError, match="is read-only; choose another folder with -o"):
        folder_at(url)


@pytest.mark.parametrize("url", ["hf://datasets/me/mine", "hf://datasets/me/mine/sub"])
def test_the_hub_is_read_only_here(url: str) -> None:
    with pytest.raises(StorageError, match="is read-only here; write a local folder and use `coyo"):
        folder_at(url).create()


@pytest.mark.parametrize("scheme", ["foo", "ftp", "github", "simplecache::s3"])
def test_a_scheme_that_is_none_of_ours(scheme: str) -> None:
    with pytest.raises(StorageError, match=f"{scheme}:// is not a known place; name a local path"):
        folder_at(f"{scheme}://127.0.0.1/y")


def test_a_store_whose_client_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtra, match=r"pip install 'coyo-tools\[gcs\]'"):
        folder_at("gs://b/x")


def test_the_empty_object_that_a_console_makes_of_a_folder_is_no_file(s3: str) -> None:
    import s3fs

    for key in ("made/", "made/below/"):
        s3fs.S3FileSystem().call_s3("put_object", Bucket="bucket", Key=key, Body=b"")
    folder = folder_at("s3://bucket/made")
    assert (folder.names(), folder.sizes(), files_below(folder)) == ([], {}, set())


@pytest.mark.parametrize("url", ["s3://", "s3:///", "gs://", "memory:///", "file://"])
def test_an_address_of_nothing(url: str) -> None:
    with pytest.raises(StorageError, match=f"{url}: names no place; .* behind ://"):
        folder_at(url)


def test_a_missing_bucket(s3: str) -> None:
    folder = folder_at("s3://absent/out")
    assert folder.names() == []
    with pytest.raises(StorageError, match=r"s3://absent/out/a: .*bucket does not exist"):
        folder.write_bytes("a", b"x")


def test_a_store_that_cannot_be_reached(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        folder = folder_at("s3://bucket/out")
        for attempt in (folder.names, lambda: folder.write_bytes("a", b"x")):
            with pytest.raises(
                StorageError, match=r"s3://bucket/out.*: the store refuses: Could not"
            ):
                attempt()
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_the_works_own_named_errors_pass_through_a_stage(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound), folder_at(tmp_path).stage("a"):
        raise SourceNotFound("no such file")
