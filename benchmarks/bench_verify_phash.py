"""What `--verify-phash` costs: CPU of a picture from fetched bytes to what is stored, with and
without.

    python benchmarks/bench_verify_phash.py [--runs 7] [--pictures 40]

The same pictures as in bench_phash.py, by `pieces.outcomes.outcome_of` at the download's defaults
(384 px). Runs are interleaved; the figure is CPU time of the one thread that works.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

from bench_phash import sets
from harness import Spread, machine, versions, write_section

from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.outcomes import outcome_of
from coyo_tools.words.config import DownloadSettings

WITHOUT = DownloadSettings()
WITH = replace(WITHOUT, verify_phash=True)


def ms(pictures: Sequence[bytes], settings: DownloadSettings) -> float:
    """CPU milliseconds a picture, of this thread."""
    started = time.thread_time()
    for data in pictures:
        outcome_of(data, settings, BlockList())
    return 1000 * (time.thread_time() - started) / len(pictures)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--pictures", type=int, default=40)
    options.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    asked = options.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        f"{machine()}; {versions('pillow', 'simplejpeg', 'cykooz-resizer', 'numpy')}. "
        f"One core; CPU milliseconds a picture, medians of {asked.runs} interleaved runs.",
        "",
        "| pictures | without | with --verify-phash | more, ms | more, % |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, pictures in sets(asked.pictures).items():
        ms(pictures, WITH)  # weights of a width are made once
        pairs = [(ms(pictures, WITHOUT), ms(pictures, WITH)) for _ in range(asked.runs)]
        more = statistics.median(b - a for a, b in pairs)
        plain, verified = Spread.of([a for a, _ in pairs]), Spread.of([b for _, b in pairs])
        share = 100 * more / plain.median
        lines.append(
            f"| {name} | {plain.text(2)} | {verified.text(2)} | {more:.2f} | {share:.0f} |"
        )
    print("\n".join(lines))
    if not asked.dry_run:
        write_section("verify-phash: CPU of a picture", "\n".join(lines))


if __name__ == "__main__":
    main()
