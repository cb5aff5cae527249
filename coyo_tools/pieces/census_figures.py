"""What the answers of some urls say of all: shares, bytes to a picture, pictures to a second.

The urls are a simple random sample, each of the subset's different urls as likely as another.

- A share is x / n with Wilson's interval (Wilson, Probable inference, the law of succession, and
  statistical inference, JASA 1927): it stays within 0 and 1, and is of use where x is 0 or n.
- Bytes to a picture are the ratio of two sums over the urls, R = sum(b) / sum(p), with
  s^2 = sum((b_i - R p_i)^2) / (n - 1) and variance s^2 n / sum(p)^2 (Cochran, Sampling Techniques,
  3rd edition, 1977, chapter 6).
- Pictures to a second come from `BLOCKS` stretches of equal length, into which the time of fetching
  is cut: their mean, and Student's t times their standard error.

Intervals are of 95 %, and speak of urls such as these; they do not shrink where the sample is a
large part of the subset.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.clusters import Estimate
from coyo_tools.words.failures import SUCCESS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BLOCKS = 20
QUANTILES = 10
HOSTS = 20  # named in a census, those with most urls
_Z = 1.959964
_T = 2.0930  # Student's t at 97.5 %, BLOCKS - 1 degrees of freedom


def share(count: int, of: int) -> Estimate:
    """A share and Wilson's interval; 0 to 1 of nothing."""
    if not of:
        return Estimate(0.0, 0.0, 1.0)
    p, z2 = count / of, _Z**2
    centre = (p + z2 / (2 * of)) / (1 + z2 / of)
    wide = _Z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of**2))
    low = max(0.0, centre - wide) if count else 0.0
    return Estimate(p, min(p, low), max(p, min(1.0, centre + wide)) if count < of else 1.0)


def to_a_picture(amounts: np.ndarray[Any, Any], alive: np.ndarray[Any, Any]) -> Estimate:
    """Amounts (n,), of all urls, to each picture. alive: bool (n,). Without a picture: 0, and at
    most what came."""
    import numpy as np

    pictures, whole = int(alive.sum()), float(amounts.sum())
    if not pictures:
        return Estimate(0.0, 0.0, whole)
    ratio, n = whole / pictures, len(amounts)
    squares = float(np.square(amounts - ratio * alive).sum()) / max(n - 1, 1)
    wide = _Z * math.sqrt(squares * n) / pictures
    return Estimate(ratio, max(0.0, ratio - wide), ratio + wide)


def to_a_second(
    ended_at: np.ndarray[Any, Any], spans: Sequence[tuple[float, float]]
) -> tuple[Estimate, float]:
    """Pictures to a second, and the seconds. ended_at: when each picture was done with, seconds.
    spans: start and end of each part; what lies between two runs does not count."""
    import numpy as np

    busy = _joined(spans)
    whole = math.fsum(end - start for start, end in busy)
    if not whole:
        return Estimate(0.0, 0.0, 0.0), 0.0
    before = np.concatenate([[0.0], np.cumsum([end - start for start, end in busy])])
    starts = np.array([start for start, _ in busy])
    run = np.clip(np.searchsorted(starts, ended_at, "right") - 1, 0, None)
    at = before[run] + ended_at - starts[run]
    counts, _ = np.histogram(at, BLOCKS, (0.0, max(whole, float(at.max(initial=0.0)))))
    rates = counts / (whole / BLOCKS)
    mean, wide = len(ended_at) / whole, _T * float(rates.std(ddof=1)) / math.sqrt(BLOCKS)
    return Estimate(mean, max(0.0, mean - wide), mean + wide), whole


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that overlap made one, in order."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


@dataclass(frozen=True)
class OfHost:
    """A host's urls. worst: the most frequent class of failure, None where all are alive."""

    host: str
    urls: int
    alive: Estimate
    worst: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "host": self.host,
            "urls": self.urls,
            "alive": self.alive.to_dict(),
            "worst": self.worst,
        }


def by_host(hosts: Sequence[str], errors: Sequence[str | None]) -> tuple[OfHost, ...]:
    """The `HOSTS` hosts with most urls; of equal ones in the order of their names."""
    urls = Counter(hosts)
    failed: dict[str, Counter[str]] = {}
    for host, error in zip(hosts, errors, strict=True):
        if error is not None:
            failed.setdefault(host, Counter())[error] += 1
    ranked = sorted(urls.items(), key=lambda item: (-item[1], item[0]))[:HOSTS]
    return tuple(
        OfHost(host, count, share(count - failed.get(host, Counter()).total(), count), worst)
        for host, count in ranked
        for worst in [_most_frequent(failed.get(host))]
    )


def _most_frequent(errors: Counter[str] | None) -> str | None:
    return min(errors, key=lambda name: (-errors[name], name)) if errors else None


@dataclass(frozen=True)
class OfValues:
    """Urls whose score lies within `low` and `high`; both None of those without a value."""

    low: float | None
    high: float | None
    urls: int
    alive: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "low": self.low,
            "high": self.high,
            "urls": self.urls,
            "alive": self.alive.to_dict(),
        }


def by_quantile(values: np.ndarray[Any, Any], alive: np.ndarray[Any, Any]) -> tuple[OfValues, ...]:
    """Tenths of the urls by value, fewer where ties are many: equal values are never parted; last
    those without a value. values: float (n,), NaN for none. alive: bool (n,)."""
    import numpy as np

    known = ~np.isnan(values)
    found, good = values[known], alive[known]
    cells = []
    if len(found):
        inner = np.quantile(found, np.arange(1, QUANTILES) / QUANTILES, method="inverted_cdf")
        cell = np.searchsorted(np.unique(inner), found, "left")  # up to and with the edge
        for number in np.unique(cell):
            inside = cell == number
            low, high = float(found[inside].min()), float(found[inside].max())
            count = int(inside.sum())
            cells.append(OfValues(low, high, count, share(int(good[inside].sum()), count)))
    if not known.all():
        count = int((~known).sum())
        cells.append(OfValues(None, None, count, share(int(alive[~known].sum()), count)))
    return tuple(cells)


@dataclass(frozen=True)
class Figures:
    """What the answers say. outcomes: urls by class, success first, then the most frequent.

    opt_outs: the share that X-Robots-Tag forbids. drift: pictures by what became of them, where
    that was looked at. hosts: those with most urls. by_score: by column of floats. seconds: of
    fetching, without the time between two runs.
    """

    urls: int
    alive: Estimate
    bytes_per_image: Estimate
    stored_bytes_per_image: Estimate
    images_per_s: Estimate
    outcomes: Mapping[str, int]
    opt_outs: Estimate
    drift: Mapping[str, int] | None
    hosts: tuple[OfHost, ...]
    hosts_seen: int
    by_score: Mapping[str, tuple[OfValues, ...]]
    seconds: float


def figures(table: pa.Table, hosts: Sequence[str], spans: Sequence[tuple[float, float]]) -> Figures:
    """Of a census's rows (see `census_parts`). hosts: of each row. spans: see `to_a_second`."""
    import numpy as np

    errors = table.column("error").to_pylist()
    alive = np.array([error is None for error in errors], bool)
    fetched, stored, ended = (
        np.asarray(table.column(name).to_numpy(), np.float64)
        for name in ("fetched_bytes", "stored_bytes", "ended_at")
    )
    rate, seconds = to_a_second(ended[alive], spans)
    failed = Counter(error for error in errors if error is not None)
    ranked = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    return Figures(
        urls=len(errors),
        alive=share(int(alive.sum()), len(errors)),
        bytes_per_image=to_a_picture(fetched, alive),
        stored_bytes_per_image=to_a_picture(stored, alive),
        images_per_s=rate,
        outcomes={SUCCESS: int(alive.sum())} | dict(ranked),
        opt_outs=share(failed["opt_out"], len(errors)),
        drift=_drift(table),
        hosts=by_host(hosts, errors),
        hosts_seen=len(set(hosts)),
        by_score={name: by_quantile(_floats(table, name), alive) for name in _scores(table)},
        seconds=seconds,
    )


def _drift(table: pa.Table) -> dict[str, int] | None:
    """Pictures by drift, most frequent first, placeholders among the urls asked told apart."""
    from coyo_tools.pieces import placeholders

    if "drift" not in table.column_names:
        return None
    marked = [False] * table.num_rows
    if "image_phash" in table.column_names:
        evidence = placeholders.Evidence()
        evidence.add_rows(table, placeholders.may_be(table))
        marked = placeholders.is_marked(table, evidence.found()).tolist()
    columns = (table.column("status").to_pylist(), table.column("drift").to_pylist(), marked)
    found = Counter(
        placeholders.PLACEHOLDER if is_one else drift or "unknown"
        for status, drift, is_one in zip(*columns, strict=True)
        if status == SUCCESS
    )
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _scores(table: pa.Table) -> list[str]:
    """The metadata's columns of floats."""
    import pyarrow as pa

    return [f.name for f in table.schema if pa.types.is_floating(f.type) and f.name != "ended_at"]


def _floats(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    column = table.column(name).cast("float64").to_numpy()
    return np.where(np.isinf(column), np.nan, column)
