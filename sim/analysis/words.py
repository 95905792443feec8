"""Numbers as people say them: with their unit, three digits, and the interval beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sim.analysis.metrics import COSTS, is_of_effects, is_ratio
from sim.units import format_duration

#: What is said of a recovery that no replication has seen.
NEVER: Final = "never"
#: What is said of differences that are all exactly 0.
SAME: Final = "the same in every replication"


def amount(metric: str, value: float) -> str:
    """One value of a metric with its unit.

    >>> amount("success", 0.99873), amount("p99_s", 0.0412), amount("goodput_rps", 95.04), amount("dead", 3.0)
    ('99.87 %', '41.2 ms', '95 /s', '3')
    """
    if math.isnan(value):
        return NEVER if metric == "recovery_s" else "no value"
    if is_ratio(metric):
        return f"{_percent(value)} %"
    if metric.endswith("_s") or metric == "busy_s_per_good":
        return format_duration(value)
    if metric.endswith("_rps"):
        return f"{value:.3g} /s" if abs(value) < 1000 else f"{value:.0f} /s"
    return f"{value:.3g}"


def _percent(ratio: float) -> str:
    # Two digits after the point, more close to 0 and 100 %, where they are the message: 99.9987 %.
    percent = 100 * ratio
    distance = min(abs(percent), abs(100 - percent))
    digits = 2 if distance == 0 or distance >= 0.1 else min(6, 2 - math.floor(math.log10(distance)))
    text = f"{percent:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_interval(metric: str, value: float, low: float, high: float) -> str:
    """A value and its 95 % interval.

    >>> with_interval("p99_s", 0.0412, 0.0401, 0.0423), with_interval("p99_s", 0.0412, float("nan"), float("nan"))
    ('41.2 ms [40.1 ms, 42.3 ms]', '41.2 ms [one replication: no interval]')
    """
    if math.isnan(value):
        return amount(metric, value)
    if math.isnan(low) or math.isnan(high):
        return f"{amount(metric, value)} [one replication: no interval]"
    return f"{amount(metric, value)} [{amount(metric, low)}, {amount(metric, high)}]"


def difference(metric: str, value: float, low: float, high: float) -> str:
    """A signed difference of a metric with its interval; ratios differ in percentage points.

    >>> difference("success", 0.0412, 0.04, 0.0424), difference("p99_s", -0.02, -0.03, -0.01)
    ('+4.12 [+4, +4.24] percentage points', '-20 ms [-30 ms, -10 ms]')
    """
    if math.isnan(value):
        return "no value in common"
    if value == low == high == 0:
        return SAME
    ends = [] if math.isnan(low) or math.isnan(high) else [low, high]
    if is_ratio(metric):
        first, *rest = [f"{100 * number:+.3g}" for number in (value, *ends)]
        return f"{first}{f' [{rest[0]}, {rest[1]}]' if rest else ''} percentage points"
    first, *rest = [_signed(metric, number) for number in (value, *ends)]
    return f"{first}{f' [{rest[0]}, {rest[1]}]' if rest else ''}"


def _signed(metric: str, value: float) -> str:
    return f"{'+' if value > 0 else ''}{amount(metric, value)}"


def metric_words(metric: str, effects: Sequence[str] = ()) -> str:
    """A metric's name as people say it; where the effects are known, with what it is about: one of them, or all together.

    >>> metric_words("effect_p99_s"), metric_words("attempts_per_request"), metric_words("goodput_rps")
    ('effect p99', 'attempts per request', 'goodput')
    >>> metric_words("completeness", ["email.send"]), metric_words("completeness", ["email.send", "stock.log"])
    ('completeness of email.send', 'completeness, all 2 effects together')
    """
    plain = metric.removesuffix("_s").removesuffix("_rps").replace("_", " ")
    if is_of_effects(metric) and effects:
        return f"{plain} of {effects[0]}" if len(effects) == 1 else f"{plain}, all {len(effects)} effects together"
    known = {
        "busy_s_per_good": "busy worker time per good request",
        "recovery_s": "recovery after the last fault",
        "cross_zone": "calls across zones",
        "completeness": "completeness of effects",
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

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
