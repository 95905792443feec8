"""Quantities with units: text such as ``250ms``, ``120/s``, ``16 KiB`` or ``99.9 %`` into SI floats and back.

Inside the simulator every number is in base units: seconds, per second, bytes, bytes per second, and ratios between 0 and 1.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, DecimalException
from typing import Final

#: Far beyond any time, rate or size of a real system; larger numbers only overflow what is computed from them.
_LARGEST: Final = 1e15

#: What each kind of quantity looks like, for messages that teach.
EXAMPLES: Final = {
    "duration": "250ms, 1.5 s, 2min or 1h",
    "rate": "120/s, 40/min or 1000/h",
    "size": "512 B, 16 KiB or 1.5 MB",
    "bandwidth": "10 Mbit/s, 1 Gbit/s or 1.25 MB/s",
    "ratio": "99.9 % or 0.999",
}

#: The base unit of each kind; ratios have none.
BASE: Final = {"duration": "s", "rate": "/s", "size": "B", "bandwidth": "B/s"}

_SECONDS: Final = {
    name: Decimal(scale)
    for scale, names in {
        "1": "s sec second seconds",
        "1e-3": "ms millisecond milliseconds",
        "1e-6": "us µs μs microsecond microseconds",
        "1e-9": "ns nanosecond nanoseconds",
        "60": "min minute minutes",
        "3600": "h hour hours",
        "86400": "d day days",
    }.items()
    for name in names.split()
}
_BYTES: Final = {
    name: Decimal(scale)
    for scale, names in {
        "1": "B byte bytes",
        "1e3": "kB",
        "1e6": "MB",
        "1e9": "GB",
        "1024": "KiB",
        "1048576": "MiB",
        "1073741824": "GiB",
    }.items()
    for name in names.split()
}
_BITS: Final = {"bit": Decimal("0.125"), "kbit": Decimal(125), "Mbit": Decimal(125_000), "Gbit": Decimal(125_000_000)}
# What stands behind the number: a rate is one of something per unit of time.
_SCALES: Final = {
    "duration": _SECONDS,
    "rate": {f"{per}{unit}": 1 / scale for unit, scale in _SECONDS.items() for per in ("/", "per ")},
    "size": _BYTES,
    "bandwidth": {f"{unit}/s": scale for unit, scale in {**_BYTES, **_BITS}.items()},
    "ratio": {"": Decimal(1), "%": Decimal("0.01"), "percent": Decimal("0.01")},
}
_FORM: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)\s*(.*)", re.DOTALL)


class BaseUnits(float):
    """A number that is known to be in base units, where a bare one would be asked for its unit.

    It was read from a CSV column, or is a preset's.
    """


def _parse_text(text: str, kind: str) -> float:
    # No arithmetic, no unit algebra: a general parser reads 12:30 as a quotient, and 9**9**9 s keeps it busy for ever.
    found = _FORM.fullmatch(text)
    meant = ""
    if found:
        number, unit = found.groups()
        unit = re.sub(r"^/\s+", "/", unit)
        scale = _SCALES[kind].get(unit)
        try:
            if scale is not None:
                return float(Decimal(number) * scale)
            if not unit:
                return float(number)
        except DecimalException:
            pass
        same = next((known for known in _SCALES[kind] if known.casefold() == unit.casefold() != ""), None)
        meant = f"did you mean '{number} {same}'? " if same and same != unit else ""
    raise ValueError(f"{text!r} is not a {kind}; {meant}write for example {EXAMPLES[kind]}")


def parse(value: object, kind: str, *, bare_numbers: bool = True) -> float:
    """Read a quantity of the given kind (``duration``, ``rate``, ``size``, ``bandwidth``, ``ratio``) into base units.

    Args:
        value: text with a unit, or a number in base units.
        kind: one of `EXAMPLES`.
        bare_numbers: whether a number without a unit is taken as base units; zero and ratios always are.

    Raises:
        ValueError: not a finite quantity of that kind; the message shows what would be right.

    >>> parse("250ms", "duration"), parse("120/min", "rate"), parse("16 KiB", "size"), parse("99.9 %", "ratio")
    (0.25, 2.0, 16384.0, 0.999)
    >>> parse("10 Mbit/s", "bandwidth")
    1250000.0
    >>> parse("20 kb", "size")
    Traceback (most recent call last):
    ...
    ValueError: '20 kb' is not a size; did you mean '20 kB'? write for example 512 B, 16 KiB or 1.5 MB
    >>> parse("100 MB/s", "rate")
    Traceback (most recent call last):
    ...
    ValueError: '100 MB/s' is not a rate; write for example 120/s, 40/min or 1000/h
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a {kind}; write for example {EXAMPLES[kind]}")
    if isinstance(value, str):
        text = value.strip()
        number = _parse_text(text, kind)
        if kind != "ratio" and number != 0 and _is_number(text):
            raise ValueError(f"{text} has no unit; write for example {EXAMPLES[kind]}")
    else:
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond 1e308
            number = math.inf
        if not bare_numbers and not isinstance(value, BaseUnits) and kind != "ratio" and number != 0:
            raise ValueError(f"{value} has no unit; write for example {EXAMPLES[kind]}")
    if math.isfinite(number) and abs(number) > _LARGEST:
        raise ValueError(f"{value!r} is larger than anything that can be simulated; write for example {EXAMPLES[kind]}")
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite; write for example {EXAMPLES[kind]}")
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def format_duration(seconds: float, digits: int = 3) -> str:
    """Write seconds with the unit a reader would choose.

    >>> format_duration(0.02345), format_duration(0), format_duration(125), format_duration(7e-5), format_duration(0.9999)
    ('23.4 ms', '0 s', '125 s', '70 µs', '1 s')
    """
    if seconds == 0 or not math.isfinite(seconds):
        return f"{seconds:g} s"
    size = abs(float(f"{seconds:.{digits}g}"))  # rounded first: 0.9999 s is 1 s and not 1e+03 ms
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if size >= scale or unit == "µs":
            return f"{seconds / scale:.{digits}g} {unit}" if size / scale < 1000 else f"{seconds / scale:.0f} {unit}"
    raise AssertionError("unreachable")


def exact(value: float, unit: str) -> str:
    """Write a base-unit number as a person would, so that `parse` gives exactly the same float back.

    >>> exact(0.25, "s"), exact(120.0, "/s"), exact(0.1 + 0.2, "s")
    ('250ms', '120/s', '300.00000000000004ms')
    """
    number, written = Decimal(repr(value)), unit
    if unit == "s" and number and abs(number) < 1:
        written = "ms" if abs(number) >= Decimal("1e-3") else "us"
        number /= _SECONDS[written]
    text = f"{number.normalize():f}" if Decimal("1e-9") <= abs(number) < Decimal("1e18") or not number else f"{number}"
    return text + written
