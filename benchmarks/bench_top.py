"""`coyo filter --top` beside polars and duckdb in two passes: whole processes, medians.

    python benchmarks/bench_top.py [--files 8] [--rows 1500000] [--runs 5] [--layout 650000]

Each tool keeps the 30 % of the rows with the largest value of a column and writes all 17 columns as
parquet with zstd. polars and duckdb find the quantile first and filter by it in a second pass; they
keep every row tied at it, where `coyo filter` breaks ties and keeps the exact count. It also counts
the funnel, computes the digest over the sorted ids and flushes to the disk. "with kept histogram":
after one `coyo stats` of the column; "plain threshold": a filter by the value where the top cuts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import harness

WRITTEN = harness.OUT / "written"
STATS = harness.OUT / "top.stats"
COLUMNS = {
    "clip_similarity_vitl14": "--min-clip-l14",  # float16 values: many ties
    "watermark_score": "--min-watermark",  # full precision: hardly any
}


def polars_code(source: str, column: str) -> str:
    return (
        f"import polars as pl; rows = pl.scan_parquet({source!r}); score = pl.col({column!r}); "
        "cut = rows.select(score.quantile(0.7, 'higher')).collect(engine='streaming').item(); "
        f"rows.filter(score >= cut).sink_parquet({str(WRITTEN / 'polars.parquet')!r})"
    )


def duckdb_code(source: str, column: str) -> str:
    cut = f"CREATE TABLE found AS SELECT quantile_disc({column}, 0.7) AS cut FROM '{source}'"
    write = (
        f"COPY (SELECT * FROM '{source}' WHERE {column} >= (SELECT cut FROM found)) "
        f"TO '{WRITTEN / 'duckdb.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
    )
    return f"import duckdb; c = duckdb.connect(); c.execute({cut!r}); c.execute({write!r})"


def coyo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coyo_tools", *arguments]


def cut_of(folder: Path, column: str) -> float:
    """Where the top cuts; the histogram is kept on the way."""
    shutil.rmtree(STATS, ignore_errors=True)
    subprocess.run(
        coyo("stats", str(folder), "-o", str(STATS), "--of", column),
        check=True,
        capture_output=True,
    )
    fresh("")
    out = WRITTEN / "cut"
    asked = ["--top", "30%", "--by", column, "--columns", "id"]
    subprocess.run(
        coyo("filter", str(folder), "-o", str(out), *asked), check=True, capture_output=True
    )
    cuts = json.loads((out / "manifest.json").read_text())["result"]["cuts"]
    return float(cuts[0]["value"])


def commands(folder: Path, column: str, cut: float) -> dict[str, list[str]]:
    source, out, python = str(folder / "*.parquet"), str(WRITTEN / "coyo"), sys.executable
    top = coyo("filter", str(folder), "-o", out, "--top", "30%", "--by", column)
    return {
        "coyo filter --top": top,
        "coyo filter --top, with kept histogram": [*top, "--stats", str(STATS)],
        "coyo filter, plain threshold": coyo(
            "filter", str(folder), "-o", out, COLUMNS[column], repr(cut)
        ),
        "polars, two passes": [python, "-c", polars_code(source, column)],
        "duckdb, two passes": [python, "-c", duckdb_code(source, column)],
    }


def fresh(_: str) -> None:
    shutil.rmtree(WRITTEN, ignore_errors=True)
    WRITTEN.mkdir(parents=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    harness.size_options(parser, files=8)
    given = parser.parse_args()
    folder = harness.metadata(given.files, given.rows, given.layout)
    rows = given.files * given.rows
    lines = [
        f"{harness.machine()}; {harness.versions('polars', 'duckdb', 'pyarrow')}.",
        f"{given.files} files of {given.rows:,} rows, row groups of {given.layout:,}, snappy; "
        f"all columns written; medians of {given.runs} runs.",
    ]
    for column in COLUMNS:
        figures = harness.compare(
            commands(folder, column, cut_of(folder, column)), runs=given.runs, before=fresh
        )
        lines += [f"\n### The top 30 % of {rows:,} rows by {column}\n"]
        lines += [harness.markdown_table(figures, amount=rows)]
    print("\n".join(lines))
    if not given.dry_run:
        harness.write_section("filter --top", "\n".join(lines))


if __name__ == "__main__":
    main()
