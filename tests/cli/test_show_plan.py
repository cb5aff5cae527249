"""`coyo filter --plan` as a user meets it: what it prints, at every width, and its refusals."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from coyo_tools.cli import show
from coyo_tools.pieces.expected import bytes_per_pixel
from tests.metadata import metadata, rows_of, write_parts
from tests.pieces.test_census import write as write_census


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    rows = [
        {"num_faces": n % 3, "watermark_score": n / 10, "clip_similarity_vitl14": 0.2 + n / 100,
         "url": f"http://a.example/{n % 7}.jpg", "text": f"text {n}"}
        for n in range(10)
    ]  # fmt: skip
    write_parts(tmp_path / "metadata", [rows_of(*rows), rows_of(*rows)])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "metadata"


def test_a_plan_reads_well_and_writes_nothing(coyo, source, tmp_path):
    status, said, heard = coyo("filter", source, "--plan", "--min-clip-l14", "0.25",
                               "--max-watermark", "0.75", "--max-nsfw", "0.5")  # fmt: skip
    lines = said.splitlines()
    assert (status, heard) == (0, "")
    assert lines[:20] == [
        "rule                             dropped   dropped alone   unique kills   left",
        "all rows                                                                    20",
        "clip_similarity_vitl14 >= 0.25        10              10             10     10",
        "watermark_score <= 0.75                4               4              4      6",
        "nsfw_score_* <= 0.5                    0               0              0      6"
        "   drops nothing: COYO was cut there already",
        "",
        "all rows                        100.00 %  " + "#" * 58,
        "clip_similarity_vitl14 >= 0.25   50.00 %  " + "#" * 29,
        "watermark_score <= 0.75          30.00 %  " + "#" * 17,
        "nsfw_score_* <= 0.5              30.00 %  " + "#" * 17,
        "",
        "kept      6 of 20 rows, 30.00 %",
        "by file   file             rows   kept     share",
        "          part-0.parquet     10      3   30.00 %",
        "          part-1.parquet     10      3   30.00 %",
        "unique    url 3 (exact), image_phash 1 (exact), text 3 (exact)",
        "download  3 urls, each once",
        "          bytes and hours are unknown without a census of some urls; to make one:",
        "          coyo download SUBSET --census 10000 -o census",
        "disk      449.8 kB at 384 px if every picture is still there (0.36 bytes a pixel)",
    ]
    assert lines[20] == (
        "columns   clip_similarity_vitl14, watermark_score, nsfw_score_opennsfw2, "
        "nsfw_score_gantman, url, image_phash, text, width, height: no other was read"
    )
    assert lines[21].startswith("nothing was written, ")
    assert lines[21].endswith(" s   next: the same without --plan, with -o subset")
    assert len(lines) == 22
    assert [p.name for p in tmp_path.iterdir()] == ["metadata"]


def test_json_is_one_document_and_complete(coyo, source):
    _, said, heard = coyo("filter", source, "--plan", "--max-faces", "0", "--json")
    document = json.loads(said)
    assert heard == ""
    assert document["by_file"][1] == {
        "name": "part-1.parquet", "rows": 10, "kept": 4, "share": 0.4,
    }  # fmt: skip
    (step,) = document["funnel"]
    assert (step["dropped"], step["unique_kills"], step["left"]) == (12, 12, 8)
    assert step["whole"]["left"] == {"value": 8, "low": 8, "high": 8}
    assert document["unique"]["url"] == {"values": 4, "method": "exact", "standard_error": 0.0}
    assert document["download"]["bytes"] is None
    assert document["disk"]["image_size"] == 384


def test_with_a_census_bytes_and_hours_are_said(coyo, source, tmp_path):
    place = write_census(tmp_path / "census", source="elsewhere")
    _, said, heard = coyo("filter", source, "--plan", "--image-size", "256")
    assert heard == f"note: {place} is the census of elsewhere\n"
    assert "download  7 urls, each once\n          4 (4 to 4) pictures, 785.5 kB (" in said
    assert f"by the census of 10,000 urls of another source, elsewhere, in {place}" in said
    assert " at 256 px if every picture is still there, " in said
    assert f" of those still there ({bytes_per_pixel(256):.2f} bytes a pixel)" in said
    _, other, heard = coyo("filter", source, "--plan", "--census", tmp_path)
    assert (other, heard.split(":")[0]) == ("", "coyo")


def test_a_census_of_the_source_itself_needs_no_word(coyo, source, tmp_path):
    write_census(tmp_path / "census", source="elsewhere")
    own = write_census(tmp_path / "own", age_s=9, source="metadata")
    _, said, heard = coyo("filter", source, "--plan")
    assert f"by the census of 10,000 urls in {own}" in said
    assert heard == ""


def test_a_sample_says_so_and_gives_intervals(coyo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "m", [metadata(500, n) for n in range(12)])
    _, said, _ = coyo("filter", "m", "--plan", "--limit-files", "3", "--max-faces", "0")
    head = said.splitlines()[0]
    assert head.endswith("left   left of all files, 95 %")
    assert "by file   3 of 12 looked at, drawn by a hash of their names" in said
    assert "(in the files looked at)" in said
    assert "next: the same without --plan and --limit-files, with -o subset" in said
    _, one, _ = coyo("filter", "m", "--plan", "--limit-files", "1", "--no-uniques", "--no-disk")
    assert "one alone says nothing of how they differ" in one
    assert "urls at most: how many differ was not counted" in one
    assert "disk" not in one
    assert "columns   none: no other was read" in one


def test_many_files_are_told_by_their_extremes_and_outliers(coyo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = [4, 5, 4, 5, 4, 5, 4, 5, 19, 4, 5]
    write_parts(tmp_path / "m", [rows_of(*[{"num_faces": int(n >= k)} for n in range(20)])
                                 for k in shares])  # fmt: skip
    _, said, _ = coyo("filter", "m", "--plan", "--max-faces", "0")
    assert (
        "by file   11 files keep 20.00 % (part-0.parquet) to 95.00 % (part-8.parquet), "
        "the middle one 25.00 %\n          unlike the others: part-8.parquet 95.00 %\n"
    ) in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image-size", "256", "-o", "s"], "--image-size goes with --plan."),
        (["--no-uniques", "-o", "s"], "--uniques goes with --plan."),
        ([], "Missing option '-o' / '--out', or --plan."),
        (["--plan", "--image-size", "0"], "Invalid value for '--image-size'"),
    ],
)
def test_usage_errors(coyo, source, arguments, said):
    status, printed, heard = coyo("filter", source, *arguments)
    assert (status, printed) == (2, "")
    assert said in heard


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_on_a_terminal_bars_are_blocks_as_wide_as_it_is(source, columns):
    said = on_a_terminal(columns, "filter", str(source), "--plan", "--max-faces", "0")
    lines = said.splitlines()
    bars = [line for line in lines if "█" in line]
    assert [line.split("%")[0].split()[-1] for line in bars] == ["100.00", "40.00"]
    assert max(map(len, bars)) == columns
    assert bars[0].count("█") - bars[1].count("█") >= 0.5 * bars[0].count("█")
    assert "#" not in said


def on_a_terminal(columns: int, *arguments: str) -> str:
    """What the command prints on a real terminal of that width."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    done = subprocess.Popen(
        [sys.executable, "-m", "coyo_tools", *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=env | {"PYTHONIOENCODING": "utf-8"},
    )
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    assert done.wait(60) == 0
    return said.decode().replace("\r\n", "\n")


def test_a_bar_shows_what_is_above_nothing_and_its_eighths(monkeypatch):
    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    bars = [show.bar(share, 8) for share in (0, 1e-9, 0.5, 0.51, 9 / 64, 1, 2)]
    assert bars == ["", "▏", "████", "████▏", "█▏", "████████", "████████"]
    Terminal.encoding = "ascii"
    assert [show.bar(share, 8) for share in (0, 1e-9, 0.5, 1)] == ["", "#", "####", "########"]
