"""What the metrics of `sim.analysis` are called on an axis, in which unit, and which direction is better.

Figures in words (``41.2 ms``) come from `sim.analysis.words`; here are axes only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axis import Axis

from sim.plots import style

Kind = Literal["time", "ratio", "number"]
Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Word:
    """A metric for readers: its name, kind, unit (of plain numbers) and which direction is better, if any is."""

    text: str
    kind: Kind
    unit: str = ""
    better: Better = ""

    @property
    def grain(self) -> float:
        """Half width of an axis on which every value is zero: 1 ms, 0.1 percentage points, or 1."""
        return {"time": 1e-3, "ratio": 1e-3, "number": 1.0}[self.kind]


_WORDS: Final[dict[str, Word]] = {
    "success": Word("requests answered well", "ratio", better="higher"),
    "offered_rps": Word("offered load", "number", "requests/s"),
    "throughput_rps": Word("throughput", "number", "requests/s", "higher"),
    "goodput_rps": Word("goodput", "number", "good answers/s", "higher"),
    "attempts_per_request": Word("attempts per request", "number", "attempts/request", "lower"),
    "tries_per_call_to": Word("tries per call, by what is called", "number", "tries/call", "lower"),
    "tries_per_call": Word("tries per call", "number", "tries/call", "lower"),
    "recovery_s": Word("time from the last fault's end to recovery", "time", better="lower"),
    "busy_s_per_good": Word("worker time held per good answer, waiting included", "time", better="lower"),
    "wire_bytes_per_request": Word("bytes on links per request", "number", "bytes/request", "lower"),
    "wire_cpu_s": Word("processor time for protocols per request", "time", better="lower"),
    "first_message_s": Word("time until the first message of a stream", "time", better="lower"),
    "new_connections_per_request": Word("new connections per request", "number", "connections/request", "lower"),
    "completeness": Word("effects that happened", "ratio", better="higher"),
    "duplicates": Word("duplicate effects", "number", "effects/run", "lower"),
    "out_of_order": Word("effects out of order", "number", "effects/run", "lower"),
    "expired": Word("messages expired", "number", "messages/run", "lower"),
    "dead": Word("messages given up", "number", "messages/run", "lower"),
    "dropped": Word("messages lost", "number", "messages/run", "lower"),
    "unfinished": Word("messages unfinished at the end", "number", "messages/run", "lower"),
    "stale_mean_s": Word("time that callers chose from the gone, mean", "time", better="lower"),
    "stale_max_s": Word("time that callers chose from the gone, longest", "time", better="lower"),
    "deliveries_per_message": Word("deliveries per message", "number", "deliveries/message", "lower"),
}
_TIMES: Final = {"": "latency", "ack_": "time to acknowledgement", "effect_": "time to effect"}


def of_metric(metric: str) -> Word:
    """Read a metric's name; an unknown one keeps its name, and its unit is taken from its last syllable.

    >>> of_metric("effect_p99_s").text, of_metric("share_timeout").text, of_metric("cache_hit_rps").unit
    ('p99 time to effect', 'share of timeout', '1/s')
    """
    if metric in _WORDS:
        return _WORDS[metric]
    found = re.fullmatch(r"(ack_|effect_|)(mean|p[\d.]+)_s", metric)
    if found:
        return Word(f"{found[2]} {_TIMES[found[1]]}", "time", better="lower")
    if metric.startswith("share_"):
        outcome = metric.removeprefix("share_")
        better: Better = "higher" if outcome == "ok" else "" if outcome == "degraded" else "lower"
        return Word(f"share of {outcome.replace('_', ' ')}", "ratio", better=better)
    text = metric.replace("_", " ")
    if metric.endswith("_s"):
        return Word(text.removesuffix(" s"), "time")
    if metric.endswith("_rps"):
        return Word(text.removesuffix(" rps"), "number", "1/s")
    return Word(text, "number", "no unit")


def capital(text: str) -> str:
    """The text with a capital first letter, except for names such as p99.

    >>> capital("goodput"), capital("p99 latency")
    ('Goodput', 'p99 latency')
    """
    return text if re.match(r"p\d", text) else text[:1].upper() + text[1:]


def set_axis(axis: Axis, word: Word, values: Iterable[Any], *, difference: bool = False) -> None:
    """Label an axis with the metric, its unit and the better direction; linear."""
    what = f"difference in {word.text}" if difference else word.text
    if word.kind == "time":
        style.set_time_axis(axis, what, values, log=False)
    elif word.kind == "ratio" and difference:
        style.set_number_axis(axis, f"{what} (pp)")
        axis.set_major_formatter(lambda value, _: style.plain(100 * value))
    elif word.kind == "ratio":
        style.set_ratio_axis(axis, what)
    else:
        style.set_number_axis(axis, f"{what} ({word.unit})")
    if word.better:
        axis.set_label_text(f"{axis.get_label_text()}, {word.better} is better")
