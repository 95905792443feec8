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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

#: Who asks within this time after an answer may have been led there by it.
AT_ONCE_S = 0.1
#: Pages follow each other by chance too: it takes this many standard errors, and this many cases, to call it a lead.
_LEAST_Z, _LEAST_CASES = 4.0, 5


Seconds = NDArray[np.float64]


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
    pages = ordered["page"].astype(str).to_list()
    arrived_s = ordered["arrived_s"].to_numpy(dtype=float)
    ended_s = arrived_s + ordered["latency_s"].to_numpy(dtype=float)
    span_s = float(arrived_s[-1] - arrived_s[0])
    if span_s <= 0:
        raise ScenarioError(f"{name}: all traces begin at the same moment; a rate needs time between them")
    led_by = _leads(pages, arrived_s, ended_s)
    led: dict[str, Counter[str]] = {}
    for here, before in led_by.items():
        led.setdefault(pages[before], Counter())[pages[here]] += 1
    rounds = len(pages) - len(led_by)
    rounds_rps = rounds * (1 - 1 / len(pages)) / span_s
    round_s = float((ended_s - arrived_s).sum()) / rounds
    asked = Counter(pages)
    starts = Counter(page for i, page in enumerate(pages) if i not in led_by)
    return Users(
        number=max(1, round(rounds_rps * (round_s + think_s))),
        rounds={page: starts[page] for page, _ in asked.most_common()},
        led={page: dict(led[page].most_common()) for page, _ in asked.most_common() if page in led},
        asked=dict(asked),
        round_s=round_s,
        rounds_rps=rounds_rps,
    )


def _leads(pages: list[str], arrived_s: Seconds, ended_s: Seconds) -> dict[int, int]:
    """For each request that an answer led to: which one. An answer leads to one request at most."""
    longest_s = _kinds(pages, arrived_s, ended_s)
    led_by: dict[int, int] = {}
    free = set(range(len(pages)))
    for here, answered in enumerate(_just_answered(arrived_s, ended_s)):
        for before in reversed(answered):
            gap_s = arrived_s[here] - ended_s[before]
            if before in free and gap_s <= longest_s.get((pages[before], pages[here]), -1.0):
                led_by[here] = before
                free.remove(before)
                break
    return led_by


def _kinds(pages: list[str], arrived_s: Seconds, ended_s: Seconds) -> dict[tuple[str, str], float]:
    """Pairs of pages of which the second follows the last answer of the first far more often than by chance, and how late.

    Gaps by chance are as likely to be long as short, those of leads are short: the longest is where the surplus is largest.
    """
    gaps_s: dict[tuple[str, str], list[float]] = {}
    for here, answered in enumerate(_just_answered(arrived_s, ended_s)):
        if answered:
            gap_s = float(arrived_s[here] - ended_s[answered[-1]])
            gaps_s.setdefault((pages[answered[-1]], pages[here]), []).append(gap_s)
    shares = _share_of_time(pages, arrived_s, ended_s)
    asked = Counter(pages)
    found: dict[tuple[str, str], float] = {}
    for (page, to), gaps in gaps_s.items():
        by_chance = asked[to] * shares[page]
        if len(gaps) >= _LEAST_CASES and len(gaps) > by_chance + _LEAST_Z * math.sqrt(by_chance):
            ordered = np.sort(gaps)
            surplus = np.arange(1, len(ordered) + 1) - by_chance * ordered / AT_ONCE_S
            found[page, to] = float(ordered[np.argmax(surplus)])
    return found


def _just_answered(arrived_s: Seconds, ended_s: Seconds) -> Iterator[list[int]]:
    """For each request those that were answered shortly before it, the last one last."""
    order = np.argsort(ended_s, kind="stable")
    first, last = (np.searchsorted(ended_s[order], arrived_s - ago_s, side="right") for ago_s in (AT_ONCE_S, 0.0))
    for here, (begin, end) in enumerate(zip(first, last, strict=True)):
        yield [before for before in order[begin:end].tolist() if before != here]


def _share_of_time(pages: list[str], arrived_s: Seconds, ended_s: Seconds) -> dict[str, float]:
    """The share of time at which a page's answer was the last one, and not long ago."""
    order = np.argsort(ended_s, kind="stable")
    until_s = np.minimum(np.append(ended_s[order][1:], np.inf), ended_s[order] + AT_ONCE_S)
    lengths_s = until_s - ended_s[order]
    span_s = float(ended_s.max() - arrived_s.min())
    shares: dict[str, float] = {}
    for i, length_s in zip(order.tolist(), lengths_s.tolist(), strict=True):
        shares[pages[i]] = shares.get(pages[i], 0.0) + length_s / span_s
    return shares
