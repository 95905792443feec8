"""Numbers as people say them: with their unit, three digits, and the interval beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from sim.analysis.metrics import COSTS, is_of_effects, is_ratio
from sim.units import format_duration

#: What is said of a recovery that no replication has seen.
NEVER: Final = "never"
#: What is said of differences that are all exactly 0.
SAME: Final = "the same in every replication"

#: Differences that are a smaller share of what they change are not worth their digits.
_NOTICED: Final = 1e-3
#: What is said of these metrics of an effect.
_OF_EFFECTS: Final = {
    "completeness": "completeness of {}",
    "effect_recovery_s": "recovery of {} after the last fault",
    "done_though_failed": "{} done, though the user was told failed",
    "discarded": "duplicates of {} discarded",
}


def amount(metric: str, value: float) -> str:
    """One value of a metric with its unit.

    >>> amount("success", 0.99873), amount("p99_s", 0.0412), amount("goodput_rps", 95.04), amount("dead", 3.0)
    ('99.87 %', '41.2 ms', '95 /s', '3')
    >>> amount("wire_bytes_per_request", 18211.4)
    '18,211'
    """
    if math.isnan(value):
        return NEVER if metric.endswith("recovery_s") else "no value"
    if is_ratio(metric):
        return f"{_percent(value)} %"
    if _is_time(metric):
        return format_duration(value)
    if metric.endswith("_rps"):
        return f"{value:.3g} /s" if abs(value) < 1000 else f"{value:.0f} /s"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _is_time(metric: str) -> bool:
    return metric.endswith("_s") or metric == "busy_s_per_good"


def is_latency(metric: str) -> bool:
    """Whether a metric is the mean or a percentile of the latencies of what was answered well: without such answers it is NaN.

    >>> is_latency("p99_s"), is_latency("mean_s"), is_latency("effect_p99_s")
    (True, True, False)
    """
    return metric == "mean_s" or re.fullmatch(r"p[\d.]+_s", metric) is not None


def _percent(ratio: float) -> str:
    text = f"{100 * ratio:.{_percent_decimals(ratio)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _percent_decimals(ratio: float) -> int:
    """Two digits after the point, more close to 0 and 100 %, where they are the message: 99.9987 %."""
    percent = 100 * ratio
    distance = min(abs(percent), abs(100 - percent))
    return 2 if distance == 0 or distance >= 0.1 else min(6, 2 - math.floor(math.log10(distance)))


def with_interval(metric: str, value: float, low: float, high: float) -> str:
    """A value and its 95 % interval, all in the same unit and with the same number of decimals.

    >>> with_interval("p99_s", 0.0412, 0.0401, 0.0423), with_interval("p99_s", 0.0412, float("nan"), float("nan"))
    ('41.2 ms [40.1 ms, 42.3 ms]', '41.2 ms [one replication: no interval]')
    >>> with_interval("p99_s", 1.32, 0.507, 2.14), with_interval("success", 0.7951, 0.7643, 0.826)
    ('1.32 s [0.51 s, 2.14 s]', '79.51 % [76.43 %, 82.60 %]')
    """
    if math.isnan(value):
        return amount(metric, value)
    if math.isnan(low) or math.isnan(high):
        return f"{amount(metric, value)} [one replication: no interval]"
    unit, scale = _unit(metric, (value, low, high))
    scaled = [scale * number for number in (value, low, high)]
    inside = [number for number in (value, low, high) if number not in (0.0, 1.0)]
    decimals = min(map(_percent_decimals, inside), default=2) if is_ratio(metric) else _decimals(scaled)
    first, *ends = [f"{text}{unit}" for text in _alike(scaled, decimals)]
    return f"{first} [{', '.join(ends)}]"


def difference(metric: str, value: float, low: float, high: float) -> str:
    """A signed difference of a metric with its interval; ratios differ in percentage points.

    >>> difference("success", 0.0412, 0.04, 0.0424), difference("p99_s", -0.02, -0.03, -0.01)
    ('+4.12 [+4.00, +4.24] percentage points', '-20 ms [-30 ms, -10 ms]')
    >>> difference("p99_s", 0.0000522, -0.007052, 0.0071565)
    '+0.05 ms [-7.05 ms, +7.16 ms]'
    """
    if math.isnan(value):
        return "no value in common"
    if value == low == high == 0:
        return SAME
    numbers = [value] if math.isnan(low) or math.isnan(high) else [value, low, high]
    unit, scale = ("", 100.0) if is_ratio(metric) else _unit(metric, numbers)
    scaled = [scale * number for number in numbers]
    texts = _alike(scaled, _decimals(scaled))
    first, *ends = [f"{'+' if number > 0 else ''}{text}{unit}" for number, text in zip(numbers, texts, strict=True)]
    interval = f" [{', '.join(ends)}]" if ends else ""
    return f"{first}{interval}{' percentage points' if is_ratio(metric) else ''}"


def change(row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """The difference in a row of `paired_differences`, in words; one that nobody would notice is no row of digits.

    That is a time or a number whose whole interval is within a thousandth of the baseline's value (`relative`, where the row has
    it). Ratios are told in full: a thousandth of them may be all that fails.

    >>> row = {"metric": "p99_s", "difference": -8e-7, "low": -2.4e-6, "high": 8e-7}
    >>> change(row), change(row | {"relative": -2e-5, "relative_low": -6e-5, "relative_high": 2e-5})
    ('-0.8 µs [-2.4 µs, +0.8 µs]', '0 (below 0.1 %)')
    """
    metric = str(row["metric"])
    numbers = [float(row[name]) for name in ("difference", "low", "high")]
    parts = [float(row.get(name, math.nan)) for name in ("relative", "relative_low", "relative_high")]
    known = [part for part in parts if not math.isnan(part)]
    tiny = bool(known) and max(map(abs, known)) < _NOTICED and any(numbers)
    return "0 (below 0.1 %)" if tiny and not is_ratio(metric) else difference(metric, *numbers)


def _unit(metric: str, numbers: Sequence[float]) -> tuple[str, float]:
    """The unit of the number that leads (see `_leading`); and what a value in base units is multiplied with."""
    if is_ratio(metric):
        return " %", 100.0
    if _is_time(metric):
        unit = format_duration(_leading(numbers)).rpartition(" ")[2]
        return f" {unit}", {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit]
    return (" /s" if metric.endswith("_rps") else ""), 1.0


def _leading(numbers: Sequence[float]) -> float:
    """The first number, or the largest where that one is next to nothing: a difference near 0 with a wide interval."""
    largest = max(numbers, key=abs)
    return numbers[0] if abs(numbers[0]) >= abs(largest) / 10 else largest


def _decimals(numbers: Sequence[float]) -> int:
    """Decimals that give three digits to the number that leads, and to the others unless they are far smaller."""
    sizes = [abs(float(f"{number:.3g}")) for number in numbers]
    least = abs(_leading(numbers)) / 2
    return max((2 - math.floor(math.log10(size)) for size in sizes if size and size >= least), default=0)


def _alike(numbers: Sequence[float], decimals: int) -> list[str]:
    """Numbers with the same number of decimals; zeros at the end of all of them are left out."""
    decimals = max(0, decimals)
    texts = [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in numbers]
    spare = min(len(text) - len(text.rstrip("0")) for text in texts) if decimals else 0
    return [f"{round(number, decimals) + 0.0:.{max(0, decimals - spare)}f}" for number in numbers]


def with_unit(value: float, unit: str) -> str:
    """The value of a setting, whose unit is s, /s, B or none.

    >>> with_unit(0.05, "s"), with_unit(120.0, "/s"), with_unit(3, "")
    ('50 ms', '120/s', '3')
    """
    return format_duration(value) if unit == "s" else f"{value:.6g}{f' {unit}' if unit == 'B' else unit}"


def metric_words(metric: str, of: str = "all") -> str:
    """A metric's name as people say it; of an effect with the effect that it is about.

    >>> metric_words("effect_p99_s"), metric_words("attempts_per_request"), metric_words("goodput_rps")
    ('effect p99', 'attempts per request', 'goodput')
    >>> metric_words("share_error"), metric_words("ack_p99_s", "mail.send")
    ('share with outcome error', 'acknowledgement p99 of mail.send')
    >>> metric_words("completeness", "email.send"), metric_words("effect_recovery_s", "email.send")
    ('completeness of email.send', 'recovery of email.send after the last fault')
    """
    plain = metric.removesuffix("_s").removesuffix("_rps").replace("_", " ")
    for short, long in (("share ", "share with outcome "), ("ack ", "acknowledgement ")):
        plain = long + plain.removeprefix(short) if plain.startswith(short) else plain
    if metric in _OF_EFFECTS:
        return _OF_EFFECTS[metric].format("effects" if of == "all" else of)
    if is_of_effects(metric) and of != "all":
        return f"{plain} of {of}"
    known = {
        "busy_s_per_good": "busy worker time per good request",
        "recovery_s": "recovery of requests after the last fault",
        "cross_zone": "calls across zones",
        "wire_bytes_per_request": "bytes on links per request",
        "wire_cpu_s": "processor time for protocols per request",
        "stale_mean_s": "chosen from though gone, mean",
        "stale_max_s": "longest of a run",
    }
    return known.get(metric, plain)


def of_whom(metric: str, focus: str | None) -> str:
    """What is said behind a cost where there is a focus, which it is not about.

    >>> of_whom("attempts_per_request", "shop.buy"), of_whom("attempts_per_request", None), of_whom("p99_s", "shop.buy")
    (' (all requests)', '', '')
    """
    return " (all requests)" if focus is not None and metric in COSTS else ""


def listing(names: list[str]) -> str:
    """Names in a sentence.

    >>> listing(["a", "b", "c"]), listing(["client-side, pushed", "mesh", "tier"])
    ('a, b and c', 'client-side, pushed; mesh and tier')
    """
    between = "; " if any("," in name for name in names) else ", "
    return names[0] if len(names) == 1 else f"{between.join(names[:-1])} and {names[-1]}" if names else "none"
