"""Numbers to compare with that are not one line of algebra: transforms, Markov chains, and sample paths request by request.

Nothing here imports the simulator's code: these are second opinions, used to check the closed forms and the simulation alike.
"""

from __future__ import annotations

import heapq
import math
from collections import deque

import numpy as np
from scipy import integrate, sparse, special, stats
from scipy.optimize import brentq
from scipy.sparse.linalg import spsolve

# --- distributions by transform or Markov chain ---------------------------------------------------------------


def mg1_wait_quantile(arrival_rps, mean_s, survival, probability, *, horizon_s, points=2**18):
    """Quantile of the wait in M/G/1 for any service law, given P(S > t) for an array of times.

    The wait is a geometric number of residual service times (Beneš 1956): its transform is (1 - ρ) / (1 - ρ·r), with r that of
    the residual time, inverted by fast Fourier transform on a lattice that must hold nearly all of the wait.
    """
    rho, step_s = arrival_rps * mean_s, horizon_s / points
    half_steps = survival((np.arange(2 * points) + 0.5) * step_s / 2)
    mass = np.concatenate((half_steps[:1], half_steps[1:-1].reshape(-1, 2).sum(axis=1)))
    mass /= mass.sum()
    wait = np.fft.irfft((1 - rho) / (1 - rho * np.fft.rfft(mass)), points)
    reached = np.cumsum(wait) - wait / 2  # a lattice point stands for half a step on each side of it
    return float(np.interp(probability, reached, np.arange(points) * step_s))


def feedback_time_quantile(arrival_rps, service_rps, again, probability):
    """Quantile of the whole time in M/M/1 with feedback to the end of the line.

    The Markov chain of one tagged request, a ahead of it and b behind it, is stepped by uniformisation from the a that a Poisson
    arrival finds (Takács, BSTJ 42, 1963, has the transform).
    """
    rho = arrival_rps / (service_rps * (1 - again))
    size = 20 + int(math.log(1e-9) / math.log(rho))
    state = np.zeros((size, size))
    state[:, 0] = (1 - rho) * rho ** np.arange(size)
    clock_rps = arrival_rps + service_rps
    arrive, serve = arrival_rps / clock_rps, service_rps / clock_rps
    left = [1.0]
    while left[-1] > (1 - probability) / 1000:
        after = np.zeros_like(state)
        after[:, 1:] += arrive * state[:, :-1]
        after[:, -1] += arrive * state[:, -1]
        after[:-1, :] += serve * (1 - again) * state[1:, :]  # the head of the line leaves
        after[:-1, 1:] += serve * again * state[1:, :-1]  # or goes back behind us
        after[:, 0] += serve * again * state[0, :]  # our own turn, and once more: who was behind is ahead
        state = after
        left.append(state.sum())
    still_in, numbers = np.array(left), np.arange(len(left))
    return brentq(lambda t: stats.poisson.pmf(numbers, clock_rps * t) @ still_in - (1 - probability), 1e-6, 1000)


def fork_join_distribution(arrival_rps, service_rps, size):
    """P(n₁, n₂) of two M/M/1 lines that get every arrival at once, from the balance equations, each line cut at `size`."""
    index = np.arange(size * size).reshape(size, size)
    flows = [(index[:-1, :-1], index[1:, 1:], arrival_rps), (index[1:, :], index[:-1, :], service_rps)]
    flows.append((index[:, 1:], index[:, :-1], service_rps))
    rows = np.concatenate([to.ravel() for _, to, _ in flows] + [origin.ravel() for origin, _, _ in flows])
    columns = np.concatenate([origin.ravel() for origin, _, _ in flows] * 2)
    rates = [np.full(origin.size, rate) for origin, _, rate in flows]
    balance = sparse.csc_matrix((np.concatenate(rates + [-r for r in rates]), (rows, columns)), shape=(size**2,) * 2).tolil()
    balance[0, :] = 1.0  # one equation is redundant; in its place: the probabilities add up to 1
    return spsolve(balance.tocsc(), np.eye(1, size**2)[0]).reshape(size, size)


def idle_first_time_mean(rho, size=120):
    """Mean time in system of two M/M/1 lines, each cut at `size`, when an arrival goes to one that is idle, else to either.

    That is join-idle-queue with a single dispatcher: while a server is idle, its announcement is on the list. Unit service time.
    """
    arrival, (rows, columns, rates) = 2 * rho, ([], [], [])

    def flow(a, b, to, rate):
        if max(to) < size:
            for row, sign in ((to, 1.0), ((a, b), -1.0)):
                rows.append(row[0] * size + row[1])
                columns.append(a * size + b)
                rates.append(sign * rate)

    for a in range(size):
        for b in range(size):
            first = 0.5 if (a == 0) == (b == 0) else float(a == 0)
            for to, share in (((a + 1, b), first), ((a, b + 1), 1 - first)):
                if share:
                    flow(a, b, to, arrival * share)
            if a:
                flow(a, b, (a - 1, b), 1.0)
            if b:
                flow(a, b, (a, b - 1), 1.0)
    balance = sparse.csc_matrix((rates, (rows, columns)), shape=(size**2,) * 2).tolil()
    balance[0, :] = 1.0
    chances = spsolve(balance.tocsc(), np.eye(1, size**2)[0]).reshape(size, size)
    inside = np.add.outer(np.arange(size), np.arange(size))
    return float((chances * inside).sum() / arrival)


def fork_join_time_mean_and_quantile(arrival_rps, service_rps, probability, size=60):
    """Mean and quantile of the time until both halves are back: given what it finds, they are independent Erlang times."""
    found = fork_join_distribution(arrival_rps, service_rps, size)
    stages = np.arange(1, size + 1)

    def survival(t):
        ready = stats.gamma.cdf(t, stages, scale=1 / service_rps)
        return 1 - ready @ found @ ready

    times = np.linspace(0, 40 / (service_rps - arrival_rps), 4001)
    mean = np.trapezoid([survival(t) for t in times], times)
    return mean, brentq(lambda t: survival(t) - (1 - probability), 0, times[-1])


def token_ratio_attempts(failure, most=4, tokens=100, ratio=1, cost=10):
    """Attempts per call, and successes, from the chain of the tokens (in tenths), one call after the other."""
    moves = np.zeros((tokens + 1, tokens + 1))
    attempts, successes = np.zeros(tokens + 1), np.zeros(tokens + 1)
    for start in range(tokens + 1):
        at, left = start, 1.0
        for number in range(1, most + 1):
            attempts[start] += left
            successes[start] += left * (1 - failure)
            moves[start, min(tokens, at + ratio)] += left * (1 - failure)
            left, at = left * failure, max(0, at - cost)
            if at <= tokens // 2 or number == most:
                moves[start, at] += left
                break
    design = np.vstack((moves.T - np.eye(tokens + 1), np.ones(tokens + 1)))
    stationary, *_ = np.linalg.lstsq(design, np.append(np.zeros(tokens + 1), 1.0), rcond=None)
    return stationary @ attempts, stationary @ successes


def busy_period_survival(t, rate):
    """P(a busy period of M/M/1 with unit work outlasts t): who comes first is served after all who come later."""

    def density(x):
        return special.ive(1, 2 * x * np.sqrt(rate)) * np.exp(-((1 - np.sqrt(rate)) ** 2) * x) / (x * np.sqrt(rate))

    return integrate.quad(density, t, np.inf, limit=500)[0]


def newest_first_wait_quantile(rho, probability):
    """Quantile of the wait in M/M/1 with unit work when the last come is served first: a busy period, with probability ρ."""
    return brentq(lambda t: rho * busy_period_survival(t, rho) - (1 - probability), 1, 500)


# --- sample paths: the same arrivals and the same work give the same times, request by request -----------------


def fifo(arrivals, services, workers=1):
    """Waits at `workers` FIFO workers: Lindley's recursion for one, Kiefer and Wolfowitz's for more."""
    free = [0.0] * workers
    waits = np.empty(len(arrivals))
    for i, (arrived, service) in enumerate(zip(arrivals, services, strict=True)):
        started = max(arrived, heapq.heappop(free))
        waits[i] = started - arrived
        heapq.heappush(free, started + service)
    return waits


def lifo(arrivals, services):
    """Waits at one worker that always takes the youngest waiting request and finishes what it began."""
    waits, waiting, free = np.empty(len(arrivals)), [], 0.0
    for i, arrived in enumerate(arrivals):
        while waiting and free <= arrived:
            youngest = waiting.pop()
            waits[youngest] = max(0.0, free - arrivals[youngest])
            free = max(free, arrivals[youngest]) + services[youngest]
        waiting.append(i)
        if free <= arrived:
            waits[waiting.pop()], free = 0.0, arrived + services[i]
    while waiting:
        youngest = waiting.pop()
        waits[youngest] = max(0.0, free - arrivals[youngest])
        free += services[youngest]
    return waits


def fifo_with_places(arrivals, services, workers, places):
    """Waits with room for `places` waiting requests; NaN for those refused, whose `services` are not looked at."""
    free, starts = [0.0] * workers, deque()
    waits = np.full(len(arrivals), np.nan)
    for i, (arrived, service) in enumerate(zip(arrivals, services, strict=True)):
        while starts and starts[0] <= arrived:
            starts.popleft()
        if free[0] > arrived and len(starts) >= places:
            continue
        started = max(arrived, heapq.heappop(free))
        waits[i] = started - arrived
        starts.append(started)
        heapq.heappush(free, started + service)
    return waits


def fifo_with_patience(arrivals, services, patience_s):
    """Waits at one worker; NaN for those who would wait longer than their patience and leave, work undone."""
    waits, free = np.full(len(arrivals), np.nan), 0.0
    for i, (arrived, service) in enumerate(zip(arrivals, services, strict=True)):
        if free - arrived <= patience_s:
            waits[i] = max(0.0, free - arrived)
            free = max(free, arrived) + service
    return waits


# --- messages -------------------------------------------------------------------------------------------------


def deliveries_mean(timeout_s, mean_s):
    """Deliveries of a message whose work is exponential and whose visibility ends after `timeout_s`, with consumers enough.

    The (k+1)-th goes out at k·V if none of the k before it is done by then: the first has had k·V, the second (k-1)·V, ..., so
    with probability e^{-V k(k+1)/2 / mean}. The acknowledgement of any of them counts.
    """
    return sum(math.exp(-timeout_s / mean_s * k * (k + 1) / 2) for k in range(1000))


def bulk_mm1_time_mean(bulks_rps, sizes, service_rps):
    """Mean time in M^[X]/M/1: bulks of X arrive, (1 + E[X²]/E[X]) / (2 (mu - lambda E[X])); `sizes` maps X to its probability."""
    mean = sum(size * share for size, share in sizes.items())
    square = sum(size**2 * share for size, share in sizes.items())
    return (1 + square / mean) / (2 * (service_rps - bulks_rps * mean))


# --- logs -----------------------------------------------------------------------------------------------------


def mm1_mixture_mean(arrival_rps, shares, service_rps):
    """Mean time in system of P independent M/M/1 among which arrivals are dealt by `shares`."""
    return sum(share / (service_rps - share * arrival_rps) for share in shares)


def mm1_mixture_quantile(arrival_rps, shares, service_rps, probability):
    """Its percentile: sum of share e^{-(mu - share lambda) t} = 1 - probability."""
    return brentq(lambda t: sum(s * math.exp(-(service_rps - s * arrival_rps) * t) for s in shares) - (1 - probability), 0, 1e6)


def batches(arrival_rps, linger_s, size):
    """Mean size of a batch, and mean wait of a message in it, for Poisson arrivals.

    A batch begins with its first message and ends after `linger_s` or with its `size`-th. Its mean size is
    1 + E[min(N, size - 1)] with N ~ Poisson(a), a = lambda·linger. While it is open k + 1 messages wait with the probability of k
    arrivals, so they wait, all together, (1/lambda) sum over k < size - 1 of (k + 1) P(N > k).
    """
    more = stats.poisson(arrival_rps * linger_s)
    mean_size = 1 + sum(more.sf(k) for k in range(size - 1))
    waited_s = sum((k + 1) * more.sf(k) for k in range(size - 1)) / arrival_rps
    return mean_size, waited_s / mean_size
