"""What each chart of a study answers, the one that decides most first."""

from __future__ import annotations

from typing import Final

#: Charts by the beginning of their files' names, in the order in which a reader should meet them. Of two that fit a
#: file, the longer one holds.
ANSWERS: Final[dict[str, str]] = {
    "outcomes": "how many requests were answered well, and what became of the others",
    "success_over_time": "when requests failed, and when they were answered well again",
    "latency_percentiles": "how long good answers take: latency over percentile, one curve for each candidate",
    "difference_success": "whether success differs for sure: paired differences to the baseline with intervals",
    "difference_p99_s": "whether the tail of latency differs for sure: paired differences with intervals",
    "effect_times": "how long until the effect has happened, beside the acknowledgement",
    "difference_completeness": "whether more effects happen: paired differences with intervals",
    "difference_effect_p99_s": "whether effects come sooner: paired differences with intervals",
    "difference_attempts_per_request": "whether one needs more calls: paired differences with intervals",
    "difference_busy_s_per_good": "whether one needs more of the workers: paired differences with intervals",
    "price_attempts_per_request": "what a request costs in calls",
    "price_busy_s_per_good": "what a good answer costs in time of workers",
    "price_wire_bytes_per_request": "what a request costs in bytes on links",
    "price_wire_cpu_s": "what a request costs in processor time of its protocols",
    "price_new_connections_per_request": "how many connections a request costs",
    "where_time_went": "where a good answer spends its time: mean latency, divided",
    "where_time_went_slowest": "where the slowest good answers spend theirs: mean latency, divided",
    "states_over_time": "when breakers were open and endpoints ejected",
    "backlog_over_time": "how many messages wait, and when they are caught up with",
    "attempts_over_time": "whether retries multiply: attempts per second",
    "attempts_per_tier": "on which edge tries multiply: first tries and retries",
    "topology_under_load": "who calls whom, with attempts per second and failed ones on every edge",
    "waiting_over_time": "how long the longest line is",
    "workers_over_time": "how many of its workers are held, or of its messages are with consumers",
    "replicas_over_time": "how many replicas are up",
    "staleness_cdf": "how long callers chose replicas that were gone",
    "goodput_over_time": "what a fault costs in good answers, with the burst after it",
    "difference_goodput_rps": "whether good answers per second differ for sure: paired differences with intervals",
    "latency_cdf": "how many good answers are within a time",
}
_PLACES: Final = {name: place for place, name in enumerate(ANSWERS)}


def name_of(stem: str) -> str | None:
    """The name in `ANSWERS` that fits a file's name best.

    >>> name_of("topology_under_load_2"), name_of("where_time_went_slowest"), name_of("mine")
    ('topology_under_load', 'where_time_went_slowest', None)
    """
    return max((name for name in ANSWERS if stem.startswith(name)), key=len, default=None)


def place_of(stem: str) -> int:
    """Where a chart stands in the order, an unknown one at the end."""
    name = name_of(stem)
    return len(ANSWERS) if name is None else _PLACES[name]
