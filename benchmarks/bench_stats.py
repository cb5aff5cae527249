"""`coyo stats` beside duckdb's `summarize` and polars: whole processes, interleaved, medians.

    python benchmarks/bench_stats.py [--files 8] [--rows 1500000] [--runs 5] [--layout 650000]

Each tool looks at the 13 numeric columns of the same generated metadata: count, nulls, minimum,
maximum, mean and quantiles. `coyo stats` is exact in all of it, nine quantiles included, and its
mean is rounded once; duckdb's `summarize` approximates its three quantiles and adds the standard
deviation and an estimate of the distinct values; polars sorts each column for nine exact quantiles.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import harness

COLUMNS = (
    "width", "height", "text_length", "word_count", "num_tokens_bert", "num_tokens_gpt",
    "num_faces", "clip_similarity_vitb32", "clip_similarity_vitl14", "nsfw_score_opennsfw2",
    "nsfw_score_gantman", "watermark_score", "aesthetic_score_laion_v2",
)  # fmt: skip
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def duckdb_code(source: str) -> str:
    query = f"SUMMARIZE SELECT {', '.join(COLUMNS)} FROM '{source}'"
    return f"import duckdb; print(duckdb.connect().execute({query!r}).fetchall())"


def polars_code(source: str) -> str:
    return (
        f"import polars as pl; c = pl.col(*{COLUMNS!r}); "
        "figures = {'count': c.count(), 'null': c.null_count(), 'min': c.min(), 'max': c.max(), "
        f"'mean': c.mean()}} | {{str(q): c.quantile(q, 'lower') for q in {QUANTILES!r}}}; "
        f"print(pl.scan_parquet({source!r}).select(e.name.suffix('_' + n) "
        "for n, e in figures.items()).collect(engine='streaming').row(0))"
    )


def commands(folder: Path) -> dict[str, list[str]]:
    source, python = str(folder / "*.parquet"), sys.executable
    return {
        "coyo stats": [python, "-m", "coyo_tools", "stats", str(folder)],
        "duckdb summarize": [python, "-c", duckdb_code(source)],
        "polars, one select": [python, "-c", polars_code(source)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    harness.size_options(parser, files=8)
    given = parser.parse_args()
    folder = harness.metadata(given.files, given.rows, given.layout)
    rows = given.files * given.rows
    figures = harness.compare(commands(folder), runs=given.runs)
    lines = [
        f"{harness.machine()}; {harness.versions('polars', 'duckdb', 'pyarrow')}.",
        f"{given.files} files of {given.rows:,} rows, row groups of {given.layout:,}, snappy; "
        f"{len(COLUMNS)} numeric columns; medians of {given.runs} runs.\n",
        harness.markdown_table(figures, amount=rows),
    ]
    print("\n".join(lines))
    if not given.dry_run:
        harness.write_section("stats: every numeric column", "\n".join(lines))


if __name__ == "__main__":
    main()
