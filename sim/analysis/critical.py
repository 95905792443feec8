"""Where each request's time went, and at whom: its latency, divided among services and edges along the critical path.

The rows of a run hold the tree of attempts of every request. A moment of a request belongs to the attempt that its caller
waited for, and in there to the call that *that* attempt waited for, down to whoever really worked, queued or was silent::

    client -> shop     |--network--|==== shop works ====|................................|==|
                                                         shop -> payment, first try x
                                                            (lost: no answer)     pause   shop -> payment, second try

Of calls made at the same time, the one that ended last counts: the others were waited for meanwhile. That is the critical path
of Yang & Miller ("Critical path analysis for the execution of parallel and distributed programs", ICDCS 1988); CRISP (Zhang et
al., USENIX ATC 2022) walks recorded spans the same way, from the last end back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from sim.records import DEGRADED, OK, OUTCOMES, PARTS, TIMEOUT, UNREACHABLE

#: Parts of a latency in an explanation: those of `sim.records.PARTS`, and handshakes, which are network time there.
EXPLAINED_PARTS: Final = (*PARTS[:3], "handshake_s", *PARTS[3:])
QUEUE, SERVICE, NETWORK, HANDSHAKE, BACKOFF, LOST = EXPLAINED_PARTS
#: Who calls from outside.
CLIENT: Final = "client"
#: Differences below this are rounding, in seconds.
_EPS_S: Final = 1e-9
#: Less than this is not told.
_DUST_S: Final = 1e-12
#: Subsets of an attempt's calls that are looked at where the plain walk does not fit.
_MOST_STEPS: Final = 4000

#: Seconds by (where, part, retried edge or "").
Shares = dict[tuple[str, str, str], float]
#: When connections were made, by caller, service and endpoint, in order.
Handshakes = Mapping[tuple[str, str, int], Sequence[float]]


class Attempt:
    """One row of the table of attempts, with the attempts that were made inside of it, in order of issue."""

    __slots__ = (
        "attempt", "caller", "children", "ended_s", "network_s", "number", "outcome", "queue_s", "replica", "service_s",
        "started_s", "target",
    )  # fmt: skip

    def __init__(
        self,
        attempt: int,
        caller: str,
        target: str,
        replica: int,
        number: int,
        started_s: float,
        ended_s: float,
        outcome: int,
        queue_s: float,
        service_s: float,
        network_s: float,
    ) -> None:
        self.attempt, self.caller, self.target, self.replica, self.number = attempt, caller, target, replica, number
        self.started_s, self.ended_s, self.outcome = started_s, ended_s, outcome
        self.queue_s, self.service_s, self.network_s = queue_s, service_s, network_s
        self.children: list[Attempt] = []

    @property
    def service(self) -> str:
        """The service, proxy or queue that was called."""
        return self.target.split(".", 1)[0]

    @property
    def edge(self) -> str:
        """Who called whom."""
        return f"{self.caller} -> {self.service}"

    @property
    def seconds(self) -> float:
        """How long its caller waited for it."""
        return self.ended_s - self.started_s

    @property
    def lost(self) -> bool:
        """Whether no answer came: all of its time was waited in vain."""
        return self.outcome in (TIMEOUT, UNREACHABLE)

    @property
    def good(self) -> bool:
        """Whether it was answered well."""
        return self.outcome in (OK, DEGRADED)


def trees(attempts: pd.DataFrame, requests: Iterable[int]) -> dict[int, list[Attempt]]:
    """The attempts of some requests as trees: by request, what was called at its origin, each with what that called.

    Calls of consumers, made long after the request was answered, belong to no answer and are not in it.

    Args:
        attempts: rows of one run as in `sim.records.ATTEMPTS`, decoded.
        requests: numbers of the requests.
    """
    wanted = np.fromiter(requests, dtype=np.int64)
    found: dict[int, list[Attempt]] = {int(number): [] for number in wanted}
    mine = attempts[np.isin(attempts["request"].to_numpy(), wanted)]
    outcomes = mine["outcome"].astype(str).map({name: code for code, name in enumerate(OUTCOMES)})
    columns = (
        mine["attempt"], mine["caller"].astype(str), mine["target"].astype(str), mine["replica"], mine["number"],
        mine["started_s"], mine["ended_s"], outcomes, mine["queue_s"], mine["service_s"], mine["network_s"],
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    by_number: dict[int, Attempt] = {}
    for parent, request, row in zip(mine["parent"].tolist(), mine["request"].tolist(), rows, strict=True):
        one = by_number[row[0]] = Attempt(*row)
        if parent >= 0:
            above = by_number.get(parent)  # a caller's attempt is always issued before those inside of it
            if above is not None:
                above.children.append(one)
        elif one.caller == CLIENT:
            found[request].append(one)
    return found


def handshakes(changes: pd.DataFrame | None) -> dict[tuple[str, str, int], list[float]]:
    """When connections were made, by caller, called service and endpoint; of the table `changes`, None: nothing is known."""
    found: dict[tuple[str, str, int], list[float]] = {}
    if changes is None:
        return found
    made = changes[changes["state"].astype(str) == "connected"].sort_values("time_s")
    rows = (made["caller"].astype(str), made["target"].astype(str), made["endpoint"], made["time_s"])
    for caller, target, endpoint, time_s in zip(*(column.tolist() for column in rows), strict=True):
        found.setdefault((caller, target.split(".", 1)[0], int(endpoint)), []).append(time_s)
    return found


def time_spent(requests: pd.DataFrame, attempts: pd.DataFrame, changes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Divide the latency of every given request of one run: request, where, part, retry, seconds.

    The seconds of a request add up to its latency, to within rounding. `where` is a service for what happened there (waiting for
    a worker, being worked on), and an edge, ``shop -> payment``, for what happened on the way: network, handshakes, back-off,
    waiting for a place under the caller's own limits, and answers that never came (`lost_s`; at the innermost call that was
    open). `retry` names the edge, if any, whose failed try or pause before another try the time belongs to: what retries cost.

    Rows say of an attempt how long it queued, was worked on and was on its own line, and which attempts were made inside. What
    is left is back-off, as far as the request's `backoff_s` says so, and waiting for the caller's own limits. Where branches that
    run in parallel also work themselves and pause, calls of another branch may stand in for those of the one that ended last, and
    a hedge that its caller's own limit refused has no row; the sum is right all the same. Requests in flight have no latency and
    are left out.

    Args:
        requests: rows of `sim.records.REQUESTS`, decoded; choose them first, some 15,000 are divided in a second.
        attempts: rows of `sim.records.ATTEMPTS` of the same run; without them (`run.record_attempts: false`) nothing can be told.
        changes: rows of `sim.records.CHANGES`; absent, handshakes count as network.
    """
    ended = requests[requests["ended_s"].notna()]
    found = trees(attempts, ended["request"])
    made = handshakes(changes)
    columns = ("request", "arrived_s", "ended_s", *PARTS)
    rows: list[tuple[int, str, str, str, float]] = []
    for request, arrived_s, ended_s, *parts in zip(*(ended[column].tolist() for column in columns), strict=True):
        shares = _Division(made).of_request(found[request], arrived_s, ended_s, dict(zip(PARTS, parts, strict=True)))
        rows += [
            (request, where, part, retry, seconds) for (where, part, retry), seconds in shares.items() if abs(seconds) > _DUST_S
        ]
    return pd.DataFrame(rows, columns=["request", "where", "part", "retry", "seconds"])


def critical_path(roots: Sequence[Attempt], arrived_s: float, ended_s: float) -> set[int]:
    """Numbers of the attempts that a request's answer waited for, at any depth."""
    path: set[int] = set()
    open_ends = [(roots, arrived_s, ended_s, math.inf, ended_s == math.inf)]
    while open_ends:
        children, start_s, end_s, room_s, cut_off = open_ends.pop()
        for one in _waited_for(children, start_s, end_s, room_s, cut_off=cut_off):
            path.add(one.attempt)
            until_s = min(_end(one), end_s)
            room_s = until_s - one.started_s - one.queue_s - one.service_s - one.network_s
            open_ends.append((one.children, one.started_s, until_s, room_s, cut_off or one.lost))
    return path


class _Division:
    """The time of one request, divided."""

    def __init__(self, made: Handshakes) -> None:
        self._made = made
        self._shares: Shares = {}
        self._waits: list[tuple[str, str, float, bool]] = []  # what is left: edge, retried edge, seconds, between two tries

    def of_request(self, roots: list[Attempt], arrived_s: float, ended_s: float, parts: Mapping[str, float]) -> Shares:
        """Divide it; `parts` are those of its row, which settle what attempts alone leave open."""
        chain = _waited_for(roots, arrived_s, ended_s)
        for one in chain:
            self._attempt(one, _retried(chain, one))
        left_s = ended_s - arrived_s - sum(one.seconds for one in chain)
        # Outside of all attempts there is no server: what a client's own cache took is service.
        served_s = sum(seconds for (_, part, _), seconds in self._shares.items() if part == SERVICE)
        cached_s = min(max(parts[SERVICE] - served_s, 0.0), max(left_s, 0.0))
        if cached_s > _EPS_S:
            self._add(CLIENT, SERVICE, "", cached_s)
            left_s -= cached_s
        self._left(roots, chain, arrived_s, CLIENT, left_s, "")
        self._settle_waits(parts[BACKOFF])
        return self._shares

    def _add(self, where: str, part: str, retry: str, seconds: float) -> None:
        key = (where, part, retry)
        self._shares[key] = self._shares.get(key, 0.0) + seconds

    def _attempt(self, one: Attempt, retry: str) -> None:
        if one.lost:
            self._lost(one, one.ended_s, retry)
            return
        handshake_s = self._handshake_s(one)
        self._add(one.service, QUEUE, retry, one.queue_s)
        self._add(one.service, SERVICE, retry, one.service_s)
        self._add(one.edge, NETWORK, retry, one.network_s - handshake_s)
        self._add(one.edge, HANDSHAKE, retry, handshake_s)
        room_s = one.seconds - one.queue_s - one.service_s - one.network_s
        chain = _waited_for(one.children, one.started_s, one.ended_s, room_s)
        inside_s = sum(child.seconds for child in chain)
        if inside_s > room_s + _EPS_S:  # calls beside the path only, or too many to tell: what is known of the attempt goes first
            self._left(one.children, [], one.started_s, one.service, room_s, retry)
            return
        for child in chain:
            self._attempt(child, retry or _retried(chain, child))
        self._left(one.children, chain, one.started_s, one.service, room_s - inside_s, retry)

    def _lost(self, one: Attempt, until_s: float, retry: str) -> None:
        """No answer came in time: what was waited for inside is where the time was lost."""
        inside_s = 0.0
        for child in _waited_for(one.children, one.started_s, until_s, cut_off=True):
            end_s = min(_end(child), until_s)
            inside_s += end_s - child.started_s
            self._lost(child, end_s, retry)
        self._add(one.edge, LOST, retry, until_s - one.started_s - inside_s)

    def _handshake_s(self, one: Attempt) -> float:
        made = self._made.get((one.caller, one.service, one.replica))
        if not made or one.network_s <= 0:
            return 0.0
        place = bisect_left(made, one.started_s + _EPS_S)
        took_s = made[place] - one.started_s if place < len(made) else math.inf
        return took_s if took_s <= one.network_s + _EPS_S else 0.0

    def _left(self, all_calls: list[Attempt], chain: list[Attempt], began_s: float, here: str, left_s: float, retry: str) -> None:
        """Note what is neither an attempt nor the server's own time: pauses between tries, waits under the caller's limits."""
        if abs(left_s) <= _EPS_S:
            return
        gaps = list(_gaps(all_calls, chain, began_s))
        between_s = sum(gap_s for _, gap_s, again in gaps if again)
        scale = min(1.0, left_s / between_s) if between_s > 0 else 0.0
        for edge, gap_s, again in gaps:
            if again and gap_s > 0:
                self._waits.append((edge, retry or edge, gap_s * scale, True))
        left_s -= between_s * scale
        before = [(edge, gap_s) for edge, gap_s, again in gaps if not again and gap_s > 0]
        whole_s = sum(gap_s for _, gap_s in before)
        if left_s <= _EPS_S or whole_s <= 0:
            edge = chain[-1].edge if chain else here
            self._waits.append((edge, retry, left_s, bool(chain)))
            return
        for edge, gap_s in before:
            self._waits.append((edge, retry, left_s * gap_s / whole_s, False))

    def _settle_waits(self, backoff_s: float) -> None:
        """Say which of the waits were pauses: as many seconds as the request's row has, those between two tries first."""
        for between in (True, False):
            waits = [wait for wait in self._waits if wait[3] is between]
            whole_s = sum(seconds for _, _, seconds, _ in waits)
            share = min(1.0, backoff_s / whole_s) if whole_s > _EPS_S else 0.0
            for edge, retry, seconds, _ in waits:
                if seconds * share:
                    self._add(edge, BACKOFF, retry or edge, seconds * share)
                if seconds * (1 - share):
                    self._add(edge, QUEUE, retry, seconds * (1 - share))
            backoff_s -= whole_s * share


def _end(one: Attempt) -> float:
    return math.inf if math.isnan(one.ended_s) else one.ended_s


def _gaps(all_calls: list[Attempt], chain: list[Attempt], began_s: float) -> Iterator[tuple[str, float, bool]]:
    """Time before each call of a chain in which nothing else of it ran: edge, seconds, whether it lies between two tries."""
    end_s = began_s
    for one in chain:
        first = _first_try(all_calls, chain, one) if one.number > 1 else None
        yield one.edge, one.started_s - (end_s if first is None else max(end_s, first)), one.number > 1
        end_s = one.ended_s


def _first_try(all_calls: list[Attempt], chain: list[Attempt], one: Attempt) -> float | None:
    """When the tries began of which this is a later one; None if one of them is in the chain and ended before it."""
    if any(other.target == one.target and other.number == one.number - 1 for other in chain if other is not one):
        return None
    earlier = [o.started_s for o in all_calls if o.target == one.target and o.number == 1 and o.started_s <= one.started_s]
    return max(earlier, default=None)


def _retried(chain: list[Attempt], one: Attempt) -> str:
    """The edge, if this try failed and another followed on the path."""
    if one.good:
        return ""
    again = any(o.target == one.target and o.number > one.number and o.started_s >= one.ended_s - _EPS_S for o in chain)
    return one.edge if again else ""


def _waited_for(
    calls: Sequence[Attempt], start_s: float, end_s: float, room_s: float = math.inf, *, cut_off: bool = False
) -> list[Attempt]:
    """The calls that were waited for one after the other until `end_s`, in order; together they take at most `room_s`.

    Of somebody who was cut off at `end_s`, calls that were open then count, too.
    """
    left = [one for one in calls if start_s - _EPS_S <= one.started_s < end_s and (cut_off or one.ended_s <= end_s + _EPS_S)]
    left.sort(key=lambda one: (min(_end(one), end_s), one.started_s))
    chain: list[Attempt] = []
    until_s = end_s + _EPS_S
    for one in reversed(left):
        if min(_end(one), end_s) <= until_s + _EPS_S and one.started_s < until_s - _EPS_S:
            chain.append(one)
            until_s = one.started_s
    chain.reverse()
    if cut_off or room_s == math.inf:
        return chain
    spent_s = sum(one.seconds for one in chain)
    if abs(spent_s - room_s) <= 2 * _EPS_S:
        return chain
    best = _fitting(left, room_s)
    fits = abs(sum(one.seconds for one in best) - room_s) <= 2 * _EPS_S
    return best if fits or spent_s > room_s else chain


def _fitting(calls: list[Attempt], room_s: float) -> list[Attempt]:
    """Calls that do not overlap and take as much as possible of the room, but no more; those that end last are tried first."""
    best: tuple[float, list[Attempt]] = (0.0, [])
    steps = 0
    last_first = calls[::-1]
    stack: list[tuple[int, float, float, list[Attempt]]] = [(0, math.inf, 0.0, [])]
    while stack and steps < _MOST_STEPS:
        steps += 1
        place, until_s, spent_s, chosen = stack.pop()
        if spent_s > best[0] + _EPS_S:
            best = spent_s, chosen
            if room_s - spent_s <= _EPS_S:
                break
        if place == len(last_first):
            continue
        one = last_first[place]
        stack.append((place + 1, until_s, spent_s, chosen))
        if one.ended_s <= until_s + _EPS_S and spent_s + one.seconds <= room_s + _EPS_S:
            stack.append((place + 1, one.started_s, spent_s + one.seconds, [one, *chosen]))
    return best[1]
