"""Start-up: how long `coyo --help` and `coyo filter --help` take, as whole processes.

    python benchmarks/bench_startup.py [--runs N] [--dry-run]

Beside them: an interpreter that does nothing (the floor), `import coyo_tools`, and
`img2dataset --help` where that is installed. --dry-run prints without writing RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from harness import compare, machine, markdown_table, versions, write_section


def commands() -> dict[str, list[str]]:
    """What is compared, by the name shown."""
    bin_ = Path(sys.executable).parent
    found = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`coyo --help`": [str(bin_ / "coyo"), "--help"],
        "`coyo filter --help`": [str(bin_ / "coyo"), "filter", "--help"],
        "`import coyo_tools`": [sys.executable, "-c", "import coyo_tools"],
    }
    if importlib.util.find_spec("img2dataset"):
        found["`img2dataset --help`"] = [str(bin_ / "img2dataset"), "--help"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    # img2dataset imports albumentations, which otherwise asks the network for its newest version.
    figures = compare(commands(), runs=args.runs, env={"NO_ALBUMENTATIONS_UPDATE": "1"})
    body = (
        f"{markdown_table(figures)}\n\n"
        f"{machine()}; {versions('coyo-tools', 'click', 'img2dataset')}."
    )
    print(body)
    if not args.dry_run:
        write_section("start-up: seconds", body)


if __name__ == "__main__":
    main()
