"""The heap loop once more, on arrays, compiled by numba: what Python costs when nothing of Python is left.

Visits and servers are rows of arrays, and lines are visits that know who stands behind them. Each kind of event is a function
that returns what follows at once: a kind and a visit.
"""

from __future__ import annotations

import heapq
from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import njit

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload

ARRIVE, REACH, WORKED, ANSWER, EXPIRE, CALL, LEAVE, AGAIN, NOTHING = range(9)
PARENT, LEVEL, SERVER, TRIES, MENTIONS, GIVEN_UP, OK, BEHIND = range(8)  # columns of a visit
BUSY, FIRST, LAST, FAILURES, PROBING = range(5)  # columns of a server; the client is the last one
ENTRIES, ISSUED, ANSWERED, ATTEMPTS, TIMEOUTS, LEFT = range(6)  # counts
MOST_OPEN = 1 << 16  # visits at any moment

Model = namedtuple(
    "Model",
    "requests rate_rps work_s services replicas workers network_s timeouts_s max_attempts backoff_base_s backoff_cap_s "
    "breaker_failures breaker_open_s",
)
#: Written into the loop where it is called; a call with all the arrays in hand would double the time.
step = njit(inline="always")
State = namedtuple("State", "heap visits arrived_s unused servers until_s latencies_s counts")


@step
def later(state, time_s, kind, visit):
    """Put an entry on the heap."""
    heapq.heappush(state.heap, (time_s, state.counts[ENTRIES], kind, visit))
    state.counts[ENTRIES] += 1
    return NOTHING, visit


@step
def fresh(state, parent, level, server, now_s):
    """A new visit, mentioned once."""
    state.counts[LEFT] -= 1
    visit = state.unused[state.counts[LEFT]]
    state.visits[visit] = (parent, level, server, 0, 1, 0, 1, -1)
    state.arrived_s[visit] = now_s
    return visit


@step
def forget(state, visit):
    """One mention less; the last one frees the row."""
    state.visits[visit, MENTIONS] -= 1
    if state.visits[visit, MENTIONS] == 0:
        state.unused[state.counts[LEFT]] = visit
        state.counts[LEFT] += 1
    return NOTHING, visit


@step
def arrive(model, state, now_s):
    """A request begins; the next one is drawn."""
    state.counts[ISSUED] += 1
    if state.counts[ISSUED] < model.requests:
        later(state, now_s + np.random.exponential(1 / model.rate_rps), ARRIVE, 0)
    return CALL, fresh(state, -1, -1, model.services * model.replicas, now_s)


@step
def call(model, state, now_s, caller):
    """One try of the call to the next level."""
    row = state.visits[caller]
    row[TRIES] += 1
    if model.breaker_failures and not allowed(model, state, now_s, row[SERVER]):
        return AGAIN, caller
    state.counts[ATTEMPTS] += 1
    level = row[LEVEL] + 1
    server = level * model.replicas + (int(np.random.random() * model.replicas) if model.replicas > 1 else 0)
    visit = fresh(state, caller, level, server, now_s)
    if model.timeouts_s[level] > 0:
        state.visits[visit, MENTIONS] += 1
        later(state, now_s + model.timeouts_s[level], EXPIRE, visit)
    return later(state, now_s + model.network_s, REACH, visit) if model.network_s > 0 else (REACH, visit)


@step
def reach(model, state, now_s, visit):
    """A visit arrives at its server: it gets a worker or stands in line."""
    at = state.servers[state.visits[visit, SERVER]]
    if at[BUSY] < model.workers:
        at[BUSY] += 1
        return later(state, now_s + np.random.exponential(model.work_s), WORKED, visit)
    if at[LAST] >= 0:
        state.visits[at[LAST], BEHIND] = visit
    else:
        at[FIRST] = visit
    at[LAST] = visit
    return NOTHING, visit


@step
def leave(model, state, now_s, visit):
    """Free the worker for the next in line and send the answer."""
    at = state.servers[state.visits[visit, SERVER]]
    following = at[FIRST]
    if following >= 0:
        at[FIRST] = state.visits[following, BEHIND]
        if at[FIRST] < 0:
            at[LAST] = -1
        later(state, now_s + np.random.exponential(model.work_s), WORKED, following)
    else:
        at[BUSY] -= 1
    return later(state, now_s + model.network_s, ANSWER, visit) if model.network_s > 0 else (ANSWER, visit)


@step
def settle(model, state, now_s, visit, ok):
    """An answer or a timeout: whichever comes first decides what the caller does."""
    row = state.visits[visit]
    late, caller = row[GIVEN_UP], row[PARENT]
    row[GIVEN_UP] = 1
    forget(state, visit)
    if late:
        return NOTHING, visit
    at = state.servers[state.visits[caller, SERVER]]
    at[PROBING] = 0
    at[FAILURES] = 0 if ok else at[FAILURES] + 1
    if model.breaker_failures and at[FAILURES] >= model.breaker_failures:
        state.until_s[state.visits[caller, SERVER]] = now_s + model.breaker_open_s
    if not ok:
        return AGAIN, caller
    if state.visits[caller, LEVEL] >= 0:
        return LEAVE, caller
    state.latencies_s[state.counts[ANSWERED]] = now_s - state.arrived_s[caller]
    state.counts[ANSWERED] += 1
    return forget(state, caller)


@step
def again(model, state, now_s, caller):
    """Pause and try again, or fail."""
    row = state.visits[caller]
    if row[TRIES] < model.max_attempts:
        pause_s = min(model.backoff_cap_s, model.backoff_base_s * 2.0 ** (row[TRIES] - 1))
        return later(state, now_s + np.random.random() * pause_s, CALL, caller)
    row[OK] = 0
    return (LEAVE, caller) if row[LEVEL] >= 0 else forget(state, caller)


@step
def allowed(model, state, now_s, process):
    """Whether a process's breaker lets a call through."""
    at = state.servers[process]
    if at[FAILURES] < model.breaker_failures:
        return True
    if now_s < state.until_s[process] or at[PROBING]:
        return False
    at[PROBING] = 1
    return True


@step
def happen(model, state, now_s, kind, visit):
    """One event; return what follows at once."""
    if kind == ARRIVE:
        return arrive(model, state, now_s)
    if kind == CALL:
        return call(model, state, now_s, visit)
    if kind == REACH:
        return reach(model, state, now_s, visit)
    if kind == WORKED:
        return (CALL if state.visits[visit, LEVEL] + 1 < model.services else LEAVE), visit
    if kind == LEAVE:
        return leave(model, state, now_s, visit)
    if kind == ANSWER:
        return settle(model, state, now_s, visit, state.visits[visit, OK] == 1)
    if kind == EXPIRE:
        state.counts[TIMEOUTS] += 1 - state.visits[visit, GIVEN_UP]
        return settle(model, state, now_s, visit, False)
    return again(model, state, now_s, visit)


@njit
def simulate(model, seed):
    """Run the model; return the latencies in seconds and the counts."""
    np.random.seed(seed)
    processes = model.services * model.replicas + 1
    servers = np.zeros((processes, 5), np.int64)
    servers[:, FIRST] = servers[:, LAST] = -1
    counts = np.zeros(6, np.int64)
    counts[LEFT] = MOST_OPEN
    state = State(
        [(np.random.exponential(1 / model.rate_rps), np.int64(-1), ARRIVE, np.int64(0))],
        np.zeros((MOST_OPEN, 8), np.int64), np.zeros(MOST_OPEN), np.arange(MOST_OPEN),
        servers, np.zeros(processes), np.empty(model.requests), counts,
    )  # fmt: skip
    while state.heap:
        now_s, _, kind, visit = heapq.heappop(state.heap)
        while kind != NOTHING:
            kind, visit = happen(model, state, now_s, kind, visit)
    return state.latencies_s[: counts[ANSWERED]], counts


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Observed]:
    """Compile, outside the measured time."""
    timeouts_s = np.array(workload.timeouts_s or (0.0,) * workload.services)
    numbers = {name: getattr(workload, name) for name in Model._fields if name not in ("requests", "timeouts_s")}
    simulate(Model(requests=10, timeouts_s=timeouts_s, **numbers), seed)

    def run() -> Observed:
        latencies_s, counts = simulate(Model(requests=requests, timeouts_s=timeouts_s, **numbers), seed)
        return Observed(latencies_s.tolist(), int(counts[ATTEMPTS]), int(counts[TIMEOUTS]), int(counts[ENTRIES]))

    return run


if __name__ == "__main__":
    compete(prepare)
