"""Numbers as people read them: thousands separators, units, no false precision."""

from __future__ import annotations

import math

_SPACE = "\u202f"  # narrow and unbreakable: 42.48 % stays on one line


def count(number: float) -> str:
    """12,345."""
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """42.48 %. Less than half a hundredth is "< 0.01 %"; no whole gives a dash."""
    if not whole:
        return "\u2013"
    percent = 100 * part / whole
    if 0 < percent < 0.005:
        return f"<{_SPACE}0.01{_SPACE}%"
    if 99.995 <= percent < 100:
        return f">{_SPACE}99.99{_SPACE}%"
    digits = 0 if percent in (0, 100) else 2
    return f"{percent:.{digits}f}{_SPACE}%"


def size(number: float) -> str:
    """Bytes in decimal units: 471.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:,.0f}{_SPACE}B" if unit == "B" else f"{number:,.1f}{_SPACE}{unit}"
        number /= 1000
    return f"{number:,.2f}{_SPACE}TB"


def value(number: float | None, *, whole: bool = False, digits: int = 4) -> str:
    """A column's value: whole numbers with separators, others to `digits` significant ones."""
    if number is None or math.isnan(number):
        return "\u2013"
    if math.isinf(number):
        return "\u221e" if number > 0 else "\u2212\u221e"
    if whole or (number == int(number) and abs(number) >= 1000):
        return _signed(f"{number:,.0f}")
    return _signed(_significant(number, digits))


def _significant(number: float, digits: int) -> str:
    if number == 0:
        return "0"
    power = math.floor(math.log10(abs(number)))
    if power < -digits:
        return f"{number:.{max(0, digits - 3)}e}".replace("e-0", "e-").replace("e-", "e\u2212")
    return f"{number:,.{max(0, min(digits, digits - 1 - power))}f}"


def _signed(digits: str) -> str:
    return digits.replace("-", "\u2212", 1) if digits.startswith("-") else digits


def tick(number: float) -> str:
    """A number on an axis, as short as it can be."""
    if abs(number) >= 10_000:
        return _signed(f"{number / 1000:,.6g}k")
    return _signed(f"{number:,.6g}")
