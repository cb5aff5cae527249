"""Check the words of every tracked text file; part of `make check`.

Nothing unfinished, nothing that only one machine has, no praise: what the tools do is said and
measured. Prints each offence as file:line and exits with 1 where there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES: dict[str, tuple[str, re.Pattern[str]]] = {
    "unfinished": (
        "finish it, or file an issue",
        re.compile(r"\b(TODO|FIXME|XXX|TBD|lorem ipsum)\b"),
    ),
    "one machine's path": (
        "name a path relative to the checkout, or make it an argument",
        re.compile(r"(?<![\w.$}*:/-])/(home|root|Users|work|workspace|mnt)/\w"),
    ),
    "praise": (
        "say what it does, or give the measured figure",
        re.compile(
            r"\b(blazing(ly)?|lightning[- ]fast|seamless(ly)?|effortless(ly)?|cutting[- ]edge|"
            r"state[- ]of[- ]the[- ]art|world[- ]class|game[- ]chang\w+|revolutionary|"
            r"supercharge\w*|unleash\w*|next[- ]gen\w*)\b",
            re.IGNORECASE,
        ),
    ),
    "merge conflict": ("resolve it", re.compile(r"^(<{7}|>{7}) ")),
}
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".cfg", ".html", ".css", ".svg", ""}
# Not our words: licences, vocabularies, titles of pictures, and this list itself.
SKIP = ("LICENSE", "coyo_tools/data/", "tools/demo_pictures.toml", "tools/check_text.py")


def tracked() -> list[Path]:
    """The text files that git knows, without those that are not our words."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [n for n in listed.stdout.split("\0") if n and not n.startswith(SKIP)]
    return [ROOT / n for n in names if Path(n).suffix in TEXT and (ROOT / n).is_file()]


def offences(path: Path) -> list[str]:
    """Each offence of one file as a line to print."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for name, (remedy, pattern) in RULES.items():
            match = pattern.search(line)
            if match:
                place = f"{path.relative_to(ROOT)}:{number}"
                found.append(f"{place}: {name}: {match.group(0)!r}: {remedy}")
    return found


def main() -> None:
    found = [line for path in tracked() for line in offences(path)]
    print("\n".join(found) or "words: clean")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
