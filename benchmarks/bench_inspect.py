"""inspect of 128 remote footers: whole processes, against a hub that takes 20 ms a request.

    python benchmarks/bench_inspect.py [--runs N] [--files N] [--delay-ms N] [--dry-run]

The hub is a local server in a process of its own: dataset info, listing, a redirect a file and its
"CDN" are all delayed. Files have COYO's columns and 9 row groups, as parts of COYO's size have at
650,000 rows a group. --dry-run prints without writing RESULTS.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from harness import compare, machine, markdown_table, versions, write_section
from make_metadata import table

SERVE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.servers.hub import HubServer
with HubServer(Path(sys.argv[2]), delay_s=float(sys.argv[3])) as hub:
    print(hub.endpoint, flush=True)
    sys.stdin.read()
"""
ROW_GROUPS, ROWS = 9, 1000


def make_files(folder: Path, files: int) -> None:
    first = folder / "part-00000.parquet"
    pq.write_table(table(ROW_GROUPS * ROWS), first, row_group_size=ROWS)
    for number in range(1, files):
        (folder / f"part-{number:05d}.parquet").hardlink_to(first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=128)
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_files(Path(scratch), args.files)
        root = str(Path(__file__).resolve().parent.parent)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, root, scratch, str(args.delay_ms / 1000)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            endpoint = server.stdout.readline().strip()
            coyo = str(Path(sys.executable).parent / "coyo")
            named = f"`coyo inspect`, {args.files} files, {args.delay_ms:g} ms a request"
            figures = compare(
                {named: [coyo, "inspect"], "`coyo inspect`, one of them": [
                    coyo, "inspect", "hf://datasets/kakaobrain/coyo-700m/part-00000.parquet"]},
                runs=args.runs,
                env={"HF_ENDPOINT": endpoint},
            )  # fmt: skip
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
    body = (
        f"{markdown_table(figures)}\n\n"
        f"{machine()}; {versions('coyo-tools', 'aiohttp', 'pyarrow', 'huggingface_hub')}."
    )
    print(body)
    if not args.dry_run:
        write_section("inspect of a hub: seconds", body)


if __name__ == "__main__":
    main()
