"""The manifest: a folder belongs to one command, its settings and its inputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.machinery import manifest
from coyo_tools.machinery.manifest import (
    MANIFEST,
    begin,
    digest_of_ids,
    read_manifest,
    sha256_of,
)
from coyo_tools.machinery.storage import folder_at
from coyo_tools.words.errors import CorruptFile, FolderBusy, SettingsConflict, SourceError
from tests.faults.mounts import mounted, remount
from tests.machinery.runs import INPUTS, begun, contents, finished
from tests.servers.s3 import s3_server


def test_a_run_that_fails_before_its_first_file_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), begun(tmp_path / "new"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()


def test_a_run_that_fails_later_leaves_its_files_and_no_temporary_one(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), begun(tmp_path / "new") as run:
        run.folder.write_bytes("a.parquet", b"data")
        (tmp_path / "new" / ".b.parquet.0a.coyo-tmp").touch()
        raise ZeroDivisionError
    found = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert found == [".coyo.lock", "a.parquet", MANIFEST]


def test_a_folder_that_was_continued_by_another_version_names_both(tmp_path: Path) -> None:
    for versions in ({"pillow": "12.1"}, {"pillow": "13.0", "av": "18"}, {"pillow": "13.0"}):
        with contextlib.suppress(ZeroDivisionError), begun(tmp_path, versions=versions) as run:
            run.folder.write_bytes("a.parquet", b"data")
            raise ZeroDivisionError
    with begun(tmp_path, versions={"pillow": "12.1"}) as run:
        run.finish({"rows_out": 1}, ["a.parquet"], "sha256:00")
    assert versions_in(tmp_path) == {"pillow": "12.1 and 13.0", "av": "18"}


def test_what_made_nothing_of_a_folder_is_not_named(tmp_path: Path) -> None:
    finished(tmp_path, versions={"pillow": "12.1"})
    before = (tmp_path / MANIFEST).read_bytes()
    with begun(tmp_path, versions={"pillow": "13.0"}) as run:
        assert run.done
        assert (tmp_path / MANIFEST).read_bytes() == before
        run.reopen()
        assert not run.done
    assert versions_in(tmp_path) == {"pillow": "12.1 and 13.0"}
    with begun(tmp_path, versions={"pillow": "13.1"}, overwrite=True):
        assert versions_in(tmp_path) == {"pillow": "13.1"}


def versions_in(folder: Path) -> Any:
    found = read_manifest(folder_at(folder))
    assert found is not None
    return found.versions


def test_runs_that_cannot_be_told_of_are_named_and_what_was_made_stays(tmp_path: Path) -> None:
    (tmp_path / manifest.RUNS).mkdir()
    with pytest.raises(SourceError, match=r"runs\.jsonl: cannot be read: Is a directory"):
        finished(tmp_path)
    found = read_manifest(folder_at(tmp_path))
    assert found is not None
    assert found.complete


def test_a_run_is_incomplete_until_it_finishes(tmp_path: Path) -> None:
    with begun(tmp_path) as run:
        assert not run.done
        found = read_manifest(folder_at(tmp_path))
        assert found is not None
        assert (found.complete, found.digest, found.files) == (False, None, [])
        run.finish({"rows_out": 3}, ["a.parquet"], "sha256:00")
    found = read_manifest(folder_at(tmp_path))
    assert found is not None
    assert found.complete
    assert (found.result, found.files) == ({"rows_out": 3}, ["a.parquet"])
    assert found.versions["coyo-tools"]


def test_an_interrupted_run_is_continued_and_a_finished_one_is_done(tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), begun(tmp_path) as run:
        run.folder.write_bytes("a.parquet", b"data")
        raise KeyError
    with begun(tmp_path) as run:
        assert not run.done
        assert run.folder.names() == ["a.parquet", MANIFEST]
        run.finish({}, ["a.parquet"], None)
    before = contents(tmp_path)
    with begun(tmp_path) as run:
        assert run.done
    assert contents(tmp_path) == before


def test_continued_or_not_the_manifest_has_the_same_bytes(tmp_path: Path) -> None:
    finished(tmp_path / "one")
    with pytest.raises(KeyError), begun(tmp_path / "two"):
        raise KeyError
    finished(tmp_path / "two")
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


def test_finished_runs_are_logged_apart(tmp_path: Path) -> None:
    finished(tmp_path)
    finished(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / manifest.RUNS).read_text().splitlines()]
    assert [line["command"] for line in lines] == ["filter", "filter"]
    assert set(lines[0]) == {"command", "started_at", "seconds", "machine"}


def test_tuples_and_lists_are_the_same_settings(tmp_path: Path) -> None:
    finished(tmp_path, rules=({"a": (1, 2)},))
    with begun(tmp_path, rules=[{"a": [1, 2]}]) as run:
        assert run.done


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"coyo_tools": 2}', "{", "null", "\xff"])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptFile, match=r"manifest\.json: is no manifest of this version"):
        read_manifest(folder_at(tmp_path))


def test_two_runs_cannot_write_at_once(tmp_path: Path) -> None:
    with begun(tmp_path), pytest.raises(FolderBusy), begun(tmp_path):
        pass


def test_a_run_that_came_in_between_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may take and finish the folder between the first look and the lock."""
    folder = folder_at(tmp_path / "out")
    create = folder.create

    def interrupted_create() -> None:
        create()
        finished(tmp_path / "out")

    monkeypatch.setattr(folder, "create", interrupted_create)
    with pytest.raises(SettingsConflict), begin(folder, "filter", {"rules": 2}, INPUTS):
        pass
    found = read_manifest(folder)
    assert found is not None
    assert found.complete


def test_a_refused_run_makes_no_folder(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        remount(disk, "ro")
        with pytest.raises(Exception, match="cannot be written"), begun(disk / "out"):
            pass
        assert os.listdir(disk) == []


# --overwrite


def test_overwrite_starts_anew(tmp_path: Path) -> None:
    finished(tmp_path)
    with begun(tmp_path, rules=2, overwrite=True) as run:
        assert not run.done
        assert run.folder.names() == [MANIFEST]


def test_overwrite_leaves_what_is_not_this_tools(tmp_path: Path) -> None:
    finished(tmp_path)
    for name in ("notes.txt", "notes.json", "labels.parquet"):
        (tmp_path / name).write_text("mine")
    with begun(tmp_path, overwrite=True):
        for name in ("notes.txt", "notes.json", "labels.parquet"):
            assert (tmp_path / name).read_text() == "mine"


def test_overwrite_removes_what_an_unfinished_run_made(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), begun(tmp_path) as run:
        for name in ("a.parquet", "00000.tar", "00000_stats.json", "00001.parquet.next"):
            run.folder.write_bytes(name, b"part of it")
        raise ZeroDivisionError
    with begun(tmp_path, rules=2, overwrite=True) as run:
        assert run.folder.names() == [MANIFEST]


def test_overwrite_removes_what_an_unfinished_run_may_have_made_below(tmp_path: Path) -> None:
    makes = {"a.parquet": ["x/a.npy", "a.done"]}
    with begun(tmp_path, makes=makes) as run:
        for name in ("x/a.npy", "x/mine.npy", "y/x/a.npy", "a.done"):
            run.folder.write_bytes(name, b"data")
    with begun(tmp_path, rules=2, overwrite=True) as run:
        assert run.folder.names() == [MANIFEST]
        found = (path.relative_to(tmp_path) for path in tmp_path.rglob("*.npy"))
        assert sorted(map(str, found)) == ["x/mine.npy", "y/x/a.npy"]


def test_an_overwrite_that_was_interrupted_goes_on_with_overwrite_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)
    folder = folder_at(tmp_path)
    monkeypatch.setattr(folder, "delete", _power_cut)
    with pytest.raises(OSError, match="power"):
        begin(folder, "filter", {"rules": 2}, INPUTS, overwrite=True).__enter__()
    monkeypatch.undo()
    for rules in (1, 2):
        with (
            pytest.raises(SettingsConflict, match=r"was being emptied .* with --overwrite again"),
            begun(tmp_path, rules=rules),
        ):
            pass
    with begun(tmp_path, rules=2, overwrite=True) as run:
        assert run.folder.names() == [MANIFEST]


def _power_cut(name: str) -> None:
    raise OSError("power")


def test_killed_at_any_step_a_folder_is_never_taken_for_complete(tmp_path: Path) -> None:
    """strace-like: end the process at its Nth rename or unlink, then look and go on."""
    script = (
        "import os, sys; from pathlib import Path\n"
        "left = int(sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "def cut(own):\n"
        "    def step(*args, **kwargs):\n"
        "        global left\n"
        "        if left == 0: os._exit(7)\n"
        "        left -= 1\n"
        "        return own(*args, **kwargs)\n"
        "    return step\n"
        "Path.replace, Path.unlink = cut(Path.replace), cut(Path.unlink)\n"
        "from tests.machinery.runs import finished\n"
        "finished(sys.argv[3], rules=2, overwrite=True)\n"
    )
    root = str(Path(__file__).parents[2])
    statuses = []
    for steps in range(12):
        place = tmp_path / str(steps)
        finished(place)
        done = subprocess.run(
            [sys.executable, "-c", script, str(steps), root, str(place)], check=False
        )
        statuses.append(done.returncode)
        found = read_manifest(folder_at(place))
        if found is not None and found.complete:
            assert (place / "a.parquet").read_bytes() == b"data"
        finished(place, rules=2, overwrite=True)
    assert set(statuses) == {0, 7}
    assert statuses == sorted(statuses, reverse=True)


def test_on_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        finished("s3://bucket/out")
        with begun("s3://bucket/out") as run:
            assert run.done
            assert run.folder.names() == ["a.parquet", MANIFEST, manifest.RUNS]
        with (
            pytest.raises(SettingsConflict, match="rules was 1, is 2"),
            begun("s3://bucket/out", 2),
        ):
            pass
        with begun("s3://bucket/out", 2, overwrite=True) as run:
            assert run.folder.names() == [MANIFEST]


# The digest.

IDS = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=60)
NEAR = st.lists(st.integers(0, 9), max_size=60)


def _naive(ids: list[int]) -> str:
    data = b"".join(i.to_bytes(8, "little", signed=True) for i in sorted(ids))
    return "sha256:" + hashlib.sha256(data).hexdigest()


@settings(max_examples=300)
@given(st.lists(IDS | NEAR, max_size=6), st.integers(1, 20))
def test_the_digest_is_the_naive_definitions(lists: list[list[int]], chunk_rows: int) -> None:
    runs = [np.sort(np.array(ids, dtype=np.int64)) for ids in lists]
    assert digest_of_ids(runs, chunk_rows) == _naive([i for ids in lists for i in ids])


def test_the_digest_of_nothing_and_of_a_million() -> None:
    assert digest_of_ids([]) == "sha256:" + hashlib.sha256().hexdigest()
    ids = np.random.default_rng(0).integers(1 << 40, 1 << 50, 1_000_000)
    runs = [np.sort(part) for part in np.array_split(ids, 7)]
    whole = hashlib.sha256(np.sort(ids).astype("<i8").tobytes()).hexdigest()
    assert digest_of_ids(runs, 10_000) == f"sha256:{whole}"


def test_the_digest_reads_memory_maps(tmp_path: Path) -> None:
    ids = np.arange(1000, dtype=np.int64)
    ids.tofile(tmp_path / "run.i64")
    mapped = np.memmap(tmp_path / "run.i64", dtype=np.int64, mode="r")
    assert digest_of_ids([mapped, mapped], 64) == _naive([*range(1000)] * 2)


def test_the_digest_of_a_file_is_of_all_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    assert sha256_of(tmp_path / "w").startswith("ba7816bf8f01cfea")
