"""Users behind a recording: which pages lead to others at once, and how many users it takes to ask that often.

An open load asks at its rate however long the answers take. Real users wait for an answer before they ask again, so a slow shop
is asked less. The recording shows half of what a closed load needs::

    set_currency ──┤5 ms├── home                     led to: a redirect, the next step of a form
    product ──────────────────── 4 s ────── cart     some user's pause, but whose?

Where spans carry no user, the pauses must be known from elsewhere: the load generator's settings, a study of real users. The
number of users then follows from Little's law: users = rounds per second · (mean time of a round + mean pause).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

#: Who asks within this time after an answer was led there by it.
AT_ONCE_S = 0.1
#: Pages follow each other by chance too: it takes this many standard errors, and this many cases, to call it a lead.
_LEAST_Z, _LEAST_CASES = 4.0, 5


@dataclass(frozen=True)
class Users:
    """A closed load: how many users, what begins a round, what leads on, and how long a round takes without its pause.

    `rounds` counts what began; `led` how often a page led to another, `asked` how often a page was asked for at all.
    """

    number: int
    rounds: dict[str, int]
    led: dict[str, dict[str, int]]
    asked: dict[str, int]
    round_s: float
    rounds_rps: float

    def load(self, think: Any) -> dict[str, Any]:
        """The load as data for a scenario; `think` is the law of the pauses, as it is to be written."""
        then = {
            page: {to: f"{100 * count / self.asked[page]:.3g} %" for to, count in led.items()} for page, led in self.led.items()
        }
        return {"kind": "closed", "users": self.number, "think": think, "mix": self.rounds, **({"then": then} if then else {})}


def find_users(recorded: pd.DataFrame, think_s: float, name: str) -> Users:
    """The users whose requests were recorded.

    Args:
        recorded: one row per trace: `page`, `arrived_s`, `latency_s`.
        think_s: mean pause between an answer and the next round, in seconds.
        name: of the recording, for messages.

    Raises:
        ScenarioError: all requests came at one moment, so that there is no rate.
    """
    ordered = recorded.sort_values("arrived_s", kind="stable")
    pages = ordered["page"].astype(str).to_numpy()
    arrived_s = ordered["arrived_s"].to_numpy(dtype=float)
    ended_s = arrived_s + ordered["latency_s"].to_numpy(dtype=float)
    led_by = _leads(pages, arrived_s, ended_s)
    led: dict[str, Counter[str]] = {}
    for here, before in led_by.items():
        led.setdefault(pages[before], Counter())[pages[here]] += 1
    begun = np.array([i not in led_by for i in range(len(pages))])
    span_s = float(arrived_s[-1] - arrived_s[0])
    if span_s <= 0:
        raise ScenarioError(f"{name}: all traces begin at the same moment; a rate needs time between them")
    rounds = int(begun.sum())
    rounds_rps = rounds * (1 - 1 / len(pages)) / span_s
    round_s = float((ended_s - arrived_s).sum()) / rounds
    asked = Counter(pages.tolist())
    starts = Counter(pages[begun].tolist())
    return Users(
        number=max(1, round(rounds_rps * (round_s + think_s))),
        rounds={page: starts[page] for page, _ in asked.most_common()},
        led={page: dict(led[page].most_common()) for page, _ in asked.most_common() if page in led},
        asked=dict(asked),
        round_s=round_s,
        rounds_rps=rounds_rps,
    )


def _leads(pages: np.ndarray[Any, Any], arrived_s: np.ndarray[Any, Any], ended_s: np.ndarray[Any, Any]) -> dict[int, int]:
    """For each request that an answer led to: which one. An answer leads to one request at most."""
    kinds = _kinds(pages, arrived_s, ended_s)
    led_by: dict[int, int] = {}
    free = set(range(len(pages)))
    for here in range(len(pages)):
        possible = [before for before in _just_answered(arrived_s[here], ended_s) if before in free]
        possible = [before for before in possible if (pages[before], pages[here]) in kinds]
        if possible:
            led_by[here] = max(possible, key=lambda before: ended_s[before])
            free.remove(led_by[here])
    return led_by


def _kinds(pages: np.ndarray[Any, Any], arrived_s: np.ndarray[Any, Any], ended_s: np.ndarray[Any, Any]) -> set[tuple[str, str]]:
    """Pairs of pages of which the second follows the last answer of the first far more often than by chance."""
    followed: Counter[tuple[str, str]] = Counter()
    for here, moment_s in enumerate(arrived_s):
        answered = _just_answered(moment_s, ended_s)
        if len(answered):
            followed[pages[answered[np.argmax(ended_s[answered])]], pages[here]] += 1
    last = _share_of_time(pages, arrived_s, ended_s)
    asked = Counter(pages.tolist())

    def lead(pair: tuple[str, str], count: int) -> bool:
        by_chance = asked[pair[1]] * last.get(pair[0], 0.0)
        return count >= _LEAST_CASES and count > by_chance + _LEAST_Z * math.sqrt(by_chance)

    return {pair for pair, count in followed.items() if lead(pair, count)}


def _just_answered(moment_s: float, ended_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.flatnonzero((ended_s <= moment_s) & (ended_s > moment_s - AT_ONCE_S))


def _share_of_time(
    pages: np.ndarray[Any, Any], arrived_s: np.ndarray[Any, Any], ended_s: np.ndarray[Any, Any]
) -> Mapping[str, float]:
    """The share of time at which a page's answer was the last one, and not long ago."""
    order = np.argsort(ended_s, kind="stable")
    until_s = np.minimum(np.append(ended_s[order][1:], np.inf), ended_s[order] + AT_ONCE_S)
    lengths_s = until_s - ended_s[order]
    span_s = float(ended_s.max() - arrived_s.min())
    shares: dict[str, float] = {}
    for page, length_s in zip(pages[order].tolist(), lengths_s.tolist(), strict=True):
        shares[page] = shares.get(page, 0.0) + length_s / span_s if span_s > 0 else 0.0
    return shares
