"""The manifest: a folder belongs to one command, its settings and its inputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
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
from coyo_tools.words.errors import CorruptFile, FolderBusy, SettingsConflict, SettingsError
from tests.faults.mounts import mounted, remount
from tests.servers.s3 import s3_server

INPUTS = [{"name": "a.parquet", "bytes": 5, "rows": 2, "footer_sha256": "00"}]


@contextlib.contextmanager
def _begun(
    place: Path | str, rules: Any = 1, inputs: Any = INPUTS, command: str = "filter", **rest: Any
) -> Iterator[manifest.Run]:
    with begin(folder_at(place), command, {"rules": rules, "columns": None}, inputs, **rest) as run:
        yield run


def _finished(place: Path | str, **rest: Any) -> None:
    with _begun(place, **rest) as run:
        run.folder.write_bytes("a.parquet", b"data")
        run.finish({"rows_out": 1}, ["a.parquet"], "sha256:00")


def test_a_run_that_fails_before_its_first_file_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), _begun(tmp_path / "new"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()


def test_a_run_that_fails_later_leaves_its_files_and_no_temporary_one(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), _begun(tmp_path / "new") as run:
        run.folder.write_bytes("a.parquet", b"data")
        (tmp_path / "new" / ".b.parquet.0a.coyo-tmp").touch()
        raise ZeroDivisionError
    found = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert found == [".coyo.lock", "a.parquet", MANIFEST]


def test_a_run_is_incomplete_until_it_finishes(tmp_path: Path) -> None:
    with _begun(tmp_path) as run:
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
    with contextlib.suppress(KeyError), _begun(tmp_path) as run:
        run.folder.write_bytes("a.parquet", b"data")
        raise KeyError
    with _begun(tmp_path) as run:
        assert not run.done
        assert run.folder.names() == ["a.parquet", MANIFEST]
        run.finish({}, ["a.parquet"], None)
    before = _contents(tmp_path)
    with _begun(tmp_path) as run:
        assert run.done
    assert _contents(tmp_path) == before


def test_continued_or_not_the_manifest_has_the_same_bytes(tmp_path: Path) -> None:
    _finished(tmp_path / "one")
    with pytest.raises(KeyError), _begun(tmp_path / "two"):
        raise KeyError
    _finished(tmp_path / "two")
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


def test_finished_runs_are_logged_apart(tmp_path: Path) -> None:
    _finished(tmp_path)
    _finished(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / manifest.RUNS).read_text().splitlines()]
    assert [line["command"] for line in lines] == ["filter", "filter"]
    assert set(lines[0]) == {"command", "started_at", "seconds", "machine"}


def test_tuples_and_lists_are_the_same_settings(tmp_path: Path) -> None:
    _finished(tmp_path, rules=({"a": (1, 2)},))
    with _begun(tmp_path, rules=[{"a": [1, 2]}]) as run:
        assert run.done


def test_a_run_that_fails_later_leaves_what_it_finished_and_no_temporary_file(
    tmp_path: Path,
) -> None:
    with contextlib.suppress(KeyError), _begun(tmp_path) as run:
        run.folder.write_bytes("a.parquet", b"data")
        (tmp_path / ".b.parquet.0123abcd.coyo-tmp").touch()  # a worker's, stopped
        raise KeyError
    assert sorted(os.listdir(tmp_path)) == [".coyo.lock", "a.parquet", MANIFEST]


# Refusals name the difference and touch nothing.

CONFLICTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "setting": ({"rules": 2}, "settings: rules was 1, is 2; choose another folder with -o, or"),
    "long setting": ({"rules": "x" * 200}, r"rules was 1, is \"x{76}\.\.\."),
    "command": ({"command": "score"}, "it was made by `coyo filter`, this is `coyo score`"),
    "number": ({"inputs": INPUTS * 2}, "its input had 1 files, this one has 2"),
    "bytes": ({"inputs": [INPUTS[0] | {"bytes": 6}]}, "input a.parquet differs in bytes"),
    "revision": ({"inputs": [INPUTS[0] | {"revision": "x"}]}, "a.parquet differs in revision"),
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_another_run_is_refused_with_the_difference(tmp_path: Path, what: str) -> None:
    _finished(tmp_path)
    before = _contents(tmp_path)
    other, sentence = CONFLICTS[what]
    with pytest.raises(SettingsConflict, match=sentence), _begun(tmp_path, **other):
        pass
    assert _contents(tmp_path) == before


def test_what_is_new_in_a_long_setting_is_named_though_it_is_null(tmp_path: Path) -> None:
    long = {"where": "x" * 100}
    _finished(tmp_path, rules=[long])
    sentence = r"rules\[0\]\.by was absent, is null; choose"
    with pytest.raises(SettingsConflict, match=sentence):
        _finished(tmp_path, rules=[{**long, "by": None}])


def test_an_unfinished_run_of_other_settings_is_refused_too(tmp_path: Path) -> None:
    with _begun(tmp_path):
        pass
    with pytest.raises(SettingsConflict, match="rules was 1, is 2"), _begun(tmp_path, rules=2):
        pass


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_foreign_files_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(SettingsConflict, match=r"files that are not this tool's \(thesis.tex\)"),
        _begun(tmp_path, overwrite=overwrite),
    ):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"coyo_tools": 2}', "{", "null", "\xff"])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptFile, match=r"manifest\.json: is no manifest of this version"):
        read_manifest(folder_at(tmp_path))


def test_two_runs_cannot_write_at_once(tmp_path: Path) -> None:
    with _begun(tmp_path), pytest.raises(FolderBusy), _begun(tmp_path):
        pass


def test_a_run_that_came_in_between_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may take and finish the folder between the first look and the lock."""
    folder = folder_at(tmp_path / "out")
    create = folder.create

    def interrupted_create() -> None:
        create()
        _finished(tmp_path / "out")

    monkeypatch.setattr(folder, "create", interrupted_create)
    with pytest.raises(SettingsConflict), begin(folder, "filter", {"rules": 2}, INPUTS):
        pass
    found = read_manifest(folder)
    assert found is not None
    assert found.complete


def test_a_refused_run_makes_no_folder(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        remount(disk, "ro")
        with pytest.raises(Exception, match="cannot be written"), _begun(disk / "out"):
            pass
        assert os.listdir(disk) == []


# --overwrite


def test_overwrite_starts_anew(tmp_path: Path) -> None:
    _finished(tmp_path)
    with _begun(tmp_path, rules=2, overwrite=True) as run:
        assert not run.done
        assert run.folder.names() == [MANIFEST]


def test_overwrite_leaves_what_is_not_this_tools(tmp_path: Path) -> None:
    _finished(tmp_path)
    for name in ("notes.txt", "notes.json", "labels.parquet"):
        (tmp_path / name).write_text("mine")
    with _begun(tmp_path, overwrite=True):
        for name in ("notes.txt", "notes.json", "labels.parquet"):
            assert (tmp_path / name).read_text() == "mine"


def test_overwrite_removes_what_an_unfinished_run_made(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), _begun(tmp_path) as run:
        for name in ("a.parquet", "00000.tar", "00000_stats.json", "00001.parquet.next"):
            run.folder.write_bytes(name, b"part of it")
        raise ZeroDivisionError
    with _begun(tmp_path, rules=2, overwrite=True) as run:
        assert run.folder.names() == [MANIFEST]


def test_overwrite_removes_what_an_unfinished_run_may_have_made_below(tmp_path: Path) -> None:
    makes = {"a.parquet": ["x/a.npy", "a.done"]}
    with _begun(tmp_path, makes=makes) as run:
        for name in ("x/a.npy", "x/mine.npy", "y/x/a.npy", "a.done"):
            run.folder.write_bytes(name, b"data")
    with _begun(tmp_path, rules=2, overwrite=True) as run:
        assert run.folder.names() == [MANIFEST]
        found = (path.relative_to(tmp_path) for path in tmp_path.rglob("*.npy"))
        assert sorted(map(str, found)) == ["x/mine.npy", "y/x/a.npy"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a.parquet", "labels.parquet", "x/a.npy"])
def test_what_the_run_reads_is_never_removed(tmp_path: Path, name: str, overwrite: bool) -> None:
    with _begun(tmp_path, makes={"a.parquet": ["x/a.npy"]}) as run:
        for each in ("a.parquet", "labels.parquet", "x/a.npy", "x/mine.npy"):
            run.folder.write_bytes(each, b"data")
    rest: dict[str, Any] = {"rules": 2, "overwrite": overwrite}
    reads = [f"{tmp_path}/{name}", f"{tmp_path}/x/mine.npy", "s3://bucket/a.parquet"]
    sentence = f"holds {name}, which is input of this run; choose a folder beside it with -o"
    with pytest.raises(SettingsError, match=sentence), _begun(tmp_path, reads=reads, **rest):
        pass
    assert (tmp_path / name).read_bytes() == b"data"
    if overwrite:  # what no run of this folder wrote is in no danger
        with _begun(tmp_path, reads=reads[1:], **rest):
            assert (tmp_path / "x" / "mine.npy").read_bytes() == b"data"


CHANGED = [INPUTS[0] | {"footer_sha256": "01"}]


def test_an_input_of_which_nothing_came_yet_may_change(tmp_path: Path) -> None:
    makes = {"a.parquet": ["x/a.npy", "a.done"]}
    with _begun(tmp_path, makes=makes) as run:
        run.folder.write_bytes("x/a.npy", b"half of it")
    with _begun(tmp_path, inputs=CHANGED, makes=makes) as run:
        assert not run.done
        assert (run.folder.read_json(MANIFEST)["inputs"], run.manifest.inputs) == (CHANGED,) * 2
        run.folder.write_bytes("a.done", b"data")
    with pytest.raises(SettingsConflict, match=r"input a\.parquet differs in footer_sha256"):
        _finished(tmp_path, makes=makes)
    _finished(tmp_path, inputs=CHANGED, makes=makes)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(SettingsConflict, match=r"input a\.parquet differs in footer_sha256"):
        _finished(tmp_path, makes=makes)


@pytest.mark.parametrize(
    "other", [{"inputs": CHANGED * 2}, {"inputs": [{"name": "b"}]}, {"rules": 2}, {"makes": {}}]
)
def test_that_it_may_change_is_all(tmp_path: Path, other: Mapping[str, Any]) -> None:
    asked = {"inputs": CHANGED, "makes": {"a.parquet": ["a.parquet"], "b": ["b"]}}
    with _begun(tmp_path):
        pass
    with pytest.raises(SettingsConflict), _begun(tmp_path, **asked | other):
        pass
    with _begun(tmp_path, **asked):
        pass


def test_an_overwrite_that_was_interrupted_goes_on_with_overwrite_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finished(tmp_path)
    folder = folder_at(tmp_path)
    monkeypatch.setattr(folder, "delete", _power_cut)
    with pytest.raises(OSError, match="power"):
        begin(folder, "filter", {"rules": 2}, INPUTS, overwrite=True).__enter__()
    monkeypatch.undo()
    for rules in (1, 2):
        with (
            pytest.raises(SettingsConflict, match=r"was being emptied .* with --overwrite again"),
            _begun(tmp_path, rules=rules),
        ):
            pass
    with _begun(tmp_path, rules=2, overwrite=True) as run:
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
        "from tests.machinery.test_manifest import _finished\n"
        "_finished(sys.argv[3], rules=2, overwrite=True)\n"
    )
    root = str(Path(__file__).parents[2])
    statuses = []
    for steps in range(12):
        place = tmp_path / str(steps)
        _finished(place)
        done = subprocess.run(
            [sys.executable, "-c", script, str(steps), root, str(place)], check=False
        )
        statuses.append(done.returncode)
        found = read_manifest(folder_at(place))
        if found is not None and found.complete:
            assert (place / "a.parquet").read_bytes() == b"data"
        _finished(place, rules=2, overwrite=True)
    assert set(statuses) == {0, 7}
    assert statuses == sorted(statuses, reverse=True)


def test_on_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        _finished("s3://bucket/out")
        with _begun("s3://bucket/out") as run:
            assert run.done
            assert run.folder.names() == ["a.parquet", MANIFEST, manifest.RUNS]
        with (
            pytest.raises(SettingsConflict, match="rules was 1, is 2"),
            _begun("s3://bucket/out", 2),
        ):
            pass
        with _begun("s3://bucket/out", 2, overwrite=True) as run:
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


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_the_digest_of_a_file_is_of_all_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    assert sha256_of(tmp_path / "w").startswith("ba7816bf8f01cfea")
