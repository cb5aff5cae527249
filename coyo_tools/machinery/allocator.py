"""What polars' allocator (jemalloc) is told. It reads its settings when polars is loaded, once.

Only a process that is ours is told anything, by `spare`; what a user has set stands. Figures: the
filter of benchmarks/bench_filter.py, two cores.
"""

from __future__ import annotations

import os
import sys

_SETTINGS = "_RJEM_MALLOC_CONF"
# An arena a core instead of four, and what is free goes back to the system after a second, not
# ten: a tenth to a third less memory. With one arena cores wait for one another, which costs up to
# a third more CPU, by where they lie.
_USUAL = "narenas:{cores},dirty_decay_ms:1000,muzzy_decay_ms:0"
# What is larger than 64 KiB has an arena of its own besides, from which it goes back at once: row
# groups of 650,000 rows take 20 to 40 MB less, and 2 % less CPU. Of 50,000, cores would wait for
# one another at that arena, which costs a fifth more CPU.
_LARGE_BLOCKS = _USUAL + ",oversize_threshold:65536"


def spare() -> None:
    """Ask for less memory than polars takes by itself."""
    os.environ.setdefault(_SETTINGS, _for_these_cores(_USUAL))


def expect_large_blocks() -> None:
    """Ask for what suits columns of hundreds of thousands of rows, after `spare` and before polars
    is loaded; otherwise nothing is changed."""
    if os.environ.get(_SETTINGS) == _for_these_cores(_USUAL) and "polars" not in sys.modules:
        os.environ[_SETTINGS] = _for_these_cores(_LARGE_BLOCKS)


def _for_these_cores(settings: str) -> str:
    return settings.format(cores=max(2, os.cpu_count() or 2))
