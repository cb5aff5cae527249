"""Write constraints.txt: the exact release of every package that the whole set needs.

    .venv/bin/python tools/make_constraints.py > constraints.txt

Reads what is installed in the environment that runs it, and names only the packages that
`coyo-tools[dev]` leads to, so that what else lies there does not matter.
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "coyo-tools"
HEAD = """\
# The exact releases that this project is tested with: Python {python}, {system} {machine}.
# Made by `make constraints` from the packages installed in .venv: first raise a bound in
# pyproject.toml or install a newer release into .venv, run `make test`, then `make constraints`.
#
# torch and torchvision must be the pair they are: each torchvision is built for one torch.
# opencv-python (wanted by opennsfw2) and opencv-python-headless (wanted by img2dataset) both write
# cv2/, the later install wins: pinned to the same release, it does not matter which.
"""


def closure(name: str, extras: frozenset[str]) -> dict[str, Distribution]:
    """Every installed distribution that `name[extras]` needs here, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(name, extras)]
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is wanted and not installed; run: make setup-all")
        left += [
            (canonicalize_name(wanted.name), frozenset(wanted.extras))
            for wanted in map(Requirement, found[name].requires or [])
            if _applies(wanted, extras)
        ]
    return found


def _applies(wanted: Requirement, extras: frozenset[str]) -> bool:
    return wanted.marker is None or any(
        wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")
    )


def main() -> None:
    found = closure(ROOT, frozenset({"dev"}))
    print(
        HEAD.format(
            python=".".join(platform.python_version_tuple()[:2]),
            system=platform.system().lower(),
            machine=platform.machine(),
        )
    )
    for name in sorted(found):
        if name != ROOT:
            # A local label (+cu130) names one build; the release is what is wanted.
            print(f"{name}=={found[name].version.split('+')[0]}")


if __name__ == "__main__":
    main()
