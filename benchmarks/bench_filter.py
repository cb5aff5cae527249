"""`coyo filter` beside plain polars, duckdb and `datasets`: whole processes, interleaved, medians.

    python benchmarks/bench_filter.py [--files 8] [--rows 1500000] [--runs 5] [--layout 650000]

Each tool reads the same generated metadata (made once, under benchmarks/out), keeps the rows with
clip_similarity_vitl14 >= A and watermark_score <= B, and writes all 17 columns as parquet with
zstd: level 1 for `coyo filter` (its own choice), each other tool's default. `coyo filter` also
counts the funnel, computes the digest over the sorted ids and flushes to the disk. `datasets`
streams fewer rows, because it takes minutes; its rows/s leave out its import.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import harness

KEPT = {"5 %": (0.31, 0.15), "30 %": (0.25, 0.13)}  # share kept: bounds A and B
LAYOUTS = (650_000, 50_000)  # rows a row group
ROW_WISE, BATCHED = 40_000, 200_000  # rows for `datasets`


def polars_code(source: str, out: Path, low: float, high: float) -> str:
    return (
        f"import polars as pl; pl.scan_parquet({source!r}).filter("
        f"(pl.col('clip_similarity_vitl14') >= {low}) & (pl.col('watermark_score') <= {high}))"
        f".sink_parquet({str(out / 'polars.parquet')!r})"
    )


def duckdb_code(source: str, out: Path, low: float, high: float) -> str:
    query = (
        f"COPY (SELECT * FROM '{source}' WHERE clip_similarity_vitl14 >= {low} "
        f"AND watermark_score <= {high}) TO '{out / 'duckdb.parquet'}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    return f"import duckdb; duckdb.connect().execute({query!r})"


def datasets_code(source: str, rows: int, low: float, high: float, *, batched: bool) -> str:
    keep = (
        f"lambda b: [s >= {low} and w <= {high} for s, w in "
        "zip(b['clip_similarity_vitl14'], b['watermark_score'])]"
        if batched
        else f"lambda r: r['clip_similarity_vitl14'] >= {low} and r['watermark_score'] <= {high}"
    )
    return (
        "from datasets import load_dataset; "
        f"d = load_dataset('parquet', data_files={source!r}, split='train', streaming=True)"
        f".take({rows}).filter({keep}, batched={batched}); print(sum(1 for _ in d))"
    )


def commands(folder: Path, low: float, high: float) -> dict[str, list[str]]:
    source, out, python = str(folder / "*.parquet"), harness.OUT / "written", sys.executable
    coyo = [python, "-m", "coyo_tools", "filter", str(folder), "-o", str(out / "coyo")]
    return {
        "coyo filter": [*coyo, "--min-clip-l14", str(low), "--max-watermark", str(high)],
        "polars scan, filter, sink": [python, "-c", polars_code(source, out, low, high)],
        "duckdb COPY": [python, "-c", duckdb_code(source, out, low, high)],
    }


def fresh(_: str) -> None:
    shutil.rmtree(harness.OUT / "written", ignore_errors=True)
    (harness.OUT / "written").mkdir(parents=True)


def measure(folder: Path, given: argparse.Namespace, layout: int) -> list[str]:
    rows, runs, lines = given.files * given.rows, given.runs, list[str]()
    for share, (low, high) in KEPT.items():
        figures = harness.compare(commands(folder, low, high), runs=runs, before=fresh)
        lines += [f"\n### Keeping about {share} of {rows:,} rows, row groups of {layout:,}\n"]
        lines += [harness.markdown_table(figures, amount=rows)]
    return lines


def measure_datasets(folder: Path, runs: int) -> list[str]:
    low, high = KEPT["5 %"]
    source, python = str(folder / "*.parquet"), sys.executable
    by_row = datasets_code(source, ROW_WISE, low, high, batched=False)
    by_batch = datasets_code(source, BATCHED, low, high, batched=True)
    figures = harness.compare(
        {
            "import datasets": [python, "-c", "from datasets import load_dataset"],
            "row filter": [python, "-c", by_row],
            "batched filter": [python, "-c", by_batch],
        },
        runs=runs,
        env={"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    idle = figures.pop("import datasets").wall_s.median
    lines = ["\n### `datasets`, streaming, nothing written\n", harness.markdown_table(figures), ""]
    for name, rows in (("row filter", ROW_WISE), ("batched filter", BATCHED)):
        busy = figures[name].wall_s.median - idle
        lines.append(
            f"- {name}: {rows / busy:,.0f} rows/s over {rows:,} rows ({idle:.1f} s import left out)"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    harness.size_options(parser, files=8)
    parser.set_defaults(layout=None)
    parser.add_argument("--no-datasets", action="store_true", help="leave out the slow one")
    given = parser.parse_args()
    lines = [
        f"{harness.machine()}; {harness.versions('polars', 'duckdb', 'pyarrow', 'datasets')}.",
        f"{given.files} files of {given.rows:,} rows, snappy, all columns kept; "
        f"medians of {given.runs} runs.",
    ]
    for layout in [given.layout] if given.layout else LAYOUTS:
        lines += measure(harness.metadata(given.files, given.rows, layout), given, layout)
    if not given.no_datasets:
        folder = harness.metadata(given.files, given.rows, LAYOUTS[0])
        lines += measure_datasets(folder, max(1, given.runs // 2))
    print("\n".join(lines))
    if not given.dry_run:
        harness.write_section("filter: rows a second", "\n".join(lines))


if __name__ == "__main__":
    main()
