"""Every line of docs/wrong-input.md, by every verb that reads metadata."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import DownloadSettings, FilterSettings, ScoreSettings
from coyo_tools.words.errors import CoyoError, SourceError
from tests.metadata import bytes_of, cut, metadata, write_parts
from tests.servers.folder import FolderServer
from tests.wrong_input import CASES, READERS, Case, two_parts


def done_by(verb: str, source: Path, out: Path) -> Any:
    """The verb over the source, in its plainest form."""
    match verb:
        case "filter":
            return coyo_tools.filter(source, out)
        case "stats":
            return coyo_tools.stats(source, out)
        case "inspect":
            return coyo_tools.inspect(source)
        case "score":
            return coyo_tools.score(source, out, ScoreSettings(columns=("text_length",)))
    return coyo_tools.download(source, out, DownloadSettings(processes=1, retries=0))


def told_by(verb: str, result: Any) -> str:
    """Everything that the verb says beside its figures."""
    match verb:
        case "filter":
            return "\n".join([*result.notes, *map(str, result.casts)])
        case "inspect":
            notes = [column.note for column in result.columns]
            return "\n".join([*result.notes, *result.problems, *notes])
        case "stats":
            return "\n".join(result.notes)
    return ""


def rows_of(verb: str, result: Any) -> int:
    return int(result.rows_in if verb == "filter" else result.rows)


refused = [(case, verb) for case in CASES if case.refused for verb in case.by]
accepted = [
    (case, verb)
    for case in CASES
    for verb in READERS
    # What is read is not fetched here: addresses of the rows lead nowhere.
    if not (case.refused and verb in case.by) and verb != "download"
]


LOCAL = ("broken_link", "name_of_bytes")  # no web server would list them


def named(value: Any) -> str:
    return value.name if isinstance(value, Case) else str(value)


@pytest.mark.parametrize(("case", "verb"), refused, ids=named)
def test_what_cannot_be_read_is_one_sentence(tmp_path, case, verb):
    case.make(tmp_path / "m")
    if verb == "inspect" and case.name != "name_of_bytes":
        seen = coyo_tools.inspect(tmp_path / "m")
        [said] = seen.problems  # the other part is counted
        assert seen.rows == 30
    else:
        with pytest.raises(CoyoError) as caught:
            done_by(verb, tmp_path / "m", tmp_path / "out")
        said = str(caught.value)
    assert case.refused in said
    assert "part-1" in said
    assert "\n" not in said
    assert not list((tmp_path / "out").glob("part-1*"))


@pytest.mark.parametrize(("case", "verb"), accepted, ids=named)
def test_what_can_be_read_is_read_and_told(tmp_path, case, verb):
    case.make(tmp_path / "m")
    result = done_by(verb, tmp_path / "m", tmp_path / "out")
    assert rows_of(verb, result) == case.rows
    assert case.noted.get(verb, "") in told_by(verb, result)
    if verb == "filter":
        again = coyo_tools.filter(tmp_path / "m", tmp_path / "out")
        assert (again.complete_before, told_by(verb, again)) == (True, told_by(verb, result))
        assert pq.read_table(sorted((tmp_path / "out").glob("*.parquet"))).num_rows == case.rows


@pytest.mark.parametrize("case", [c for c in CASES if c.refused and c.name not in LOCAL], ids=named)
def test_the_same_is_said_over_http(tmp_path, case):
    case.make(tmp_path / "m")
    by = [verb for verb in ("filter", "stats", "inspect") if verb in case.by]
    with FolderServer(tmp_path / "m") as server:
        for verb in by:
            try:
                said = "\n".join(done_by(verb, server.base_url, tmp_path / verb).problems)
            except CoyoError as error:
                said = str(error)
            assert f"{server.base_url}/part-1.parquet: " in said
            assert case.refused in said, (verb, said)
            assert "\n" not in said


@pytest.mark.parametrize("verb", READERS)
def test_a_part_that_a_manifest_lists_and_is_gone_is_named(tmp_path, verb):
    two_parts(tmp_path / "m")
    coyo_tools.filter(tmp_path / "m", tmp_path / "subset")
    (tmp_path / "subset" / "part-1.parquet").unlink()
    with pytest.raises(SourceError) as caught:
        done_by(verb, tmp_path / "subset", tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path}/subset: its manifest lists part-1.parquet, which is not there; "
        "run the `coyo filter` that made it again: it makes what is gone"
    )


@contextlib.contextmanager
def no_superuser():
    """As root, who may read everything, for a while as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("closed", "said"), [
    ("part-1.parquet", "part-1.parquet: may not be read: permission denied"),
    ("inner", "inner: cannot be listed: Permission denied"),
])  # fmt: skip
def test_what_may_not_be_read_is_named(tmp_path, closed, said):
    two_parts(tmp_path / "m")
    (tmp_path / "m" / "inner").mkdir()
    coyo_tools.inspect(tmp_path / "m")  # what it imports may be out of nobody's reach
    (tmp_path / "m" / closed).chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    try:
        with no_superuser(), pytest.raises(SourceError) as caught:
            coyo_tools.stats(tmp_path / "m")
    finally:
        (tmp_path / "m" / closed).chmod(0o755)
    assert said in str(caught.value)


@pytest.mark.slow
def test_two_thousand_tiny_parts_need_no_more_files_open_than_a_few(tmp_path):
    write_parts(tmp_path / "m", cut(metadata(2000, 1).select(["id", "width"]), *[1] * 1999))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, hard))
    try:
        kept = coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(workers=4))
        assert (kept.rows_out, kept.parts, kept.notes) == (2000, 2000, ())
        assert coyo_tools.stats(tmp_path / "m").rows == 2000
        assert coyo_tools.inspect(tmp_path / "m").files == 2000
        before = bytes_of(tmp_path / "s")
        (tmp_path / "s" / "part-77.parquet").unlink()
        assert coyo_tools.filter(tmp_path / "m", tmp_path / "s").digest == kept.digest
        assert bytes_of(tmp_path / "s") == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_manifest_counts_repeated_ids_where_there_are_any(tmp_path):
    write_parts(tmp_path / "m", cut(metadata(60, 1), 30))
    coyo_tools.filter(tmp_path / "m", tmp_path / "s")
    said = json.loads((tmp_path / "s" / "manifest.json").read_text())["result"]
    assert "ids_repeated" not in said
    write_parts(tmp_path / "twice", [metadata(60, 1)] * 3)
    coyo_tools.filter(tmp_path / "twice", tmp_path / "t")
    said = json.loads((tmp_path / "t" / "manifest.json").read_text())["result"]
    assert said["ids_repeated"] == 120
