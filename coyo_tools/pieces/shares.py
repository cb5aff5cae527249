"""Columns in an order that gives polars' threads equal shares of a row group to decode.

Of a query with a predicate in Python, polars decodes first the columns that it looks at, then the
others; each time it cuts them, in the order of the schema, into runs of one length, one a thread.
In COYO's order one of two threads has id, url, text and image_phash: nearly all of the work.
"""

from __future__ import annotations

from collections.abc import Mapping


def in_shares(weights: Mapping[str, int], threads: int) -> list[str]:
    """The names, so that runs of ceil(n / threads) of them weigh about the same.

    weights: of n names, in any unit. The heaviest first, each goes to the lightest run with room.
    """
    length = max(1, -(-len(weights) // threads))
    rooms = [min(length, len(weights) - start) for start in range(0, len(weights), length)]
    runs: list[list[str]] = [[] for _ in rooms]
    loads = [0] * len(runs)
    for name in sorted(weights, key=lambda name: weights[name], reverse=True):
        lightest = min(
            (load, run) for run, load in enumerate(loads) if len(runs[run]) < rooms[run]
        )[1]
        runs[lightest].append(name)
        loads[lightest] += weights[name]
    return [name for run in runs for name in run]
