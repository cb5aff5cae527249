"""Running work over units: in this process, or in several.

Work is a picklable object, called once in each worker as `work(units, emit)`: it takes units
from the iterator when it wants the next, so that it can load a model once or start on the next
shard before the last one is finished, and yields one `(unit, result)` for each. Several processes
are `coyo_tools.machinery.fleet`, which is loaded when there are any.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from coyo_tools.words.errors import EngineError, portable

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Emit = Callable[[Any], None]


def cores() -> int:
    """Processor cores this process may use; all of the machine's where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Work(Protocol[Unit, Result_co]):
    """What an engine runs. Picklable where there are several processes."""

    def __call__(self, units: Iterator[Unit], emit: Emit) -> Iterable[tuple[Unit, Result_co]]:
        """Take units, yield each with its result. emit: send an event to the parent."""
        ...


def run(
    work: Work[Unit, Result],
    units: Iterable[Unit],
    *,
    processes: int = 1,
    on_event: Emit = lambda _: None,
) -> Iterator[tuple[Unit, Result]]:
    """Yield each unit with its result, as they are finished.

    processes: 0 runs in this process. Raises what the work raised where that is a CoyoError,
    else EngineError, also where the work ends without a result for every unit.
    """
    if processes == 0:
        yield from _run_here(work, units, on_event)
        return
    yield from _run_fleet([work], units, processes, on_event)


def run_each(
    works: Sequence[Work[Unit, Result]],
    units: Iterable[Unit],
    *,
    on_event: Emit = lambda _: None,
) -> Iterator[tuple[Unit, Result]]:
    """As `run`, with one process for each of `works`: such as one for each device.

    They share the units. A worker that dies is replaced by one with the same work.
    """
    yield from _run_fleet(works, units, len(works), on_event)


def _run_fleet(
    works: Sequence[Any], units: Iterable[Any], processes: int, on_event: Emit
) -> Iterator[tuple[Any, Any]]:
    from coyo_tools.machinery.fleet import Fleet

    fleet = Fleet(works, units, on_event)
    try:
        yield from fleet.run(processes)
    finally:
        fleet.stop()


def _run_here(
    work: Work[Unit, Result], units: Iterable[Unit], on_event: Emit
) -> Iterator[tuple[Unit, Result]]:
    given = 0

    def counted() -> Iterator[Unit]:
        nonlocal given
        for unit in units:
            given += 1
            yield unit

    source = counted()
    try:
        for pair in work(source, on_event):
            given -= 1
            yield pair
    except Exception as error:
        raise portable(error) from error
    if given or next(source, None) is not None:
        raise EngineError("the work ended without a result for every unit")
