"""Closed forms: what a simulation must reproduce, and sometimes all that a question needs.

Durations are in seconds, rates per second, probabilities from 0 to 1. `arrival_rps` is λ; `service_rps` is μ,
the rate of *one* busy worker; ρ = λ / (c·μ). Arrivals are Poisson and lines FIFO unless stated. Where a line
grows without bound (ρ ≥ 1) means and quantiles are ``inf``; arguments outside their range raise `ValueError`.
Not for bursts, retries, timeouts and crashes all at once: that is what the simulator is for.

Sources: Kleinrock, *Queueing Systems* I (1975); Tijms, *A First Course in Stochastic Models* (2003).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_rates(arrival_rps: float, service_rps: float) -> None:
    _require(0 <= arrival_rps < math.inf, f"arrival_rps = {arrival_rps!r} must be zero or more, and finite")
    _require(0 < service_rps < math.inf, f"service_rps = {service_rps!r} must be positive and finite")


def _require_count(name: str, value: int, least: int = 1) -> None:
    whole = isinstance(value, int) and value >= least
    _require(whole, f"{name} = {value!r} must be a whole number, at least {least}")


def _require_ratio(name: str, value: float) -> None:
    _require(0 <= value <= 1, f"{name} = {value!r} must lie between 0 and 1")


def _invert(cdf: Callable[[float], float], probability: float, scale_s: float) -> float:
    """Find the time at which a distribution function reaches a probability, by bisection to 12 digits."""
    _require(0 <= probability < 1, f"probability = {probability!r} must be at least 0 and less than 1")
    if cdf(0.0) >= probability:
        return 0.0
    low, high = 0.0, scale_s
    while cdf(high) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if cdf(middle) >= probability else (middle, high)
    return high


def _poisson(mean: float, count: int) -> _Array:
    """P(N = 0), …, P(N = count - 1) for a Poisson number N, by logarithms: a large mean does not overflow."""
    numbers = np.arange(count)
    if mean == 0:
        return np.where(numbers == 0, 1.0, 0.0)
    log_factorials = np.array([math.lgamma(n + 1) for n in range(count)])
    return np.asarray(np.exp(numbers * math.log(mean) - mean - log_factorials))


# --- one line -----------------------------------------------------------------------------------------------


def mm1_time_mean(arrival_rps: float, service_rps: float) -> float:
    """Mean time in an M/M/1 system, waiting and service: 1 / (μ - λ), in seconds.

    >>> [round(mm1_time_mean(rho, 1), 6) for rho in (0.5, 0.8, 0.9, 1.0)]
    [2.0, 5.0, 10.0, inf]
    """
    _require_rates(arrival_rps, service_rps)
    return 1 / (service_rps - arrival_rps) if arrival_rps < service_rps else math.inf


def mm1_time_quantile(arrival_rps: float, service_rps: float, probability: float) -> float:
    """Quantile of the time in an M/M/1 system, exponential with rate μ - λ, in seconds. FIFO only.

    >>> [round(mm1_time_quantile(rho, 1, 0.99), 3) for rho in (0.5, 0.8, 0.9)]
    [9.21, 23.026, 46.052]
    """
    return max_of_exponentials_quantile(1, mm1_time_mean(arrival_rps, service_rps), probability)


def erlang_b(servers: int, offered_load: float) -> float:
    """Share of requests lost by c workers without a line (M/G/c/c), for an offered load a = λ/μ in Erlang.

    B(0) = 1, B(c) = a·B(c-1) / (c + a·B(c-1)), a stable recursion. Any law of service times will do.

    >>> [round(erlang_b(c, a), 7) for a, c in ((5, 5), (5, 10), (10, 10))]
    [0.2848678, 0.0183846, 0.2145823]
    """
    _require_count("servers", servers, least=0)
    _require(0 <= offered_load < math.inf, f"offered_load = {offered_load!r} must be zero or more, finite")
    blocked = 1.0
    for c in range(1, servers + 1):
        blocked = offered_load * blocked / (c + offered_load * blocked)
    return blocked


def erlang_c(servers: int, offered_load: float) -> float:
    """Probability that a request finds all c workers of M/M/c busy: B / (1 - ρ·(1 - B)); 1 when ρ ≥ 1.

    >>> round(erlang_c(2, 1.6), 6), round(erlang_c(6, 5), 6)
    (0.711111, 0.587516)
    """
    _require_count("servers", servers)
    blocked = erlang_b(servers, offered_load)
    return 1.0 if offered_load >= servers else blocked / (1 - offered_load / servers * (1 - blocked))


def mmc_wait_mean(arrival_rps: float, service_rps: float, servers: int) -> float:
    """Mean wait in M/M/c: C / (c·μ - λ) with Erlang's C, in seconds; add 1/μ for the time in system.

    >>> [round(mmc_wait_mean(a, 1, c), 6) for c, a in ((2, 1.6), (5, 4), (10, 9))]
    [1.777778, 0.554113, 0.668732]
    """
    _require_rates(arrival_rps, service_rps)
    spare_rps = servers * service_rps - arrival_rps
    return erlang_c(servers, arrival_rps / service_rps) / spare_rps if spare_rps > 0 else math.inf


def mmc_wait_quantile(arrival_rps: float, service_rps: float, servers: int, probability: float) -> float:
    """Quantile of the wait in M/M/c, from P(W > t) = C·e^(-(c·μ - λ)·t), in seconds; 0 up to 1 - C.

    >>> round(mmc_wait_quantile(4, 1, 5, 0.99), 5), mmc_wait_quantile(4, 1, 5, 0.4)
    (4.01478, 0.0)
    """
    _require_rates(arrival_rps, service_rps)
    waits, spare_rps = erlang_c(servers, arrival_rps / service_rps), servers * service_rps - arrival_rps
    if spare_rps <= 0:
        return math.inf
    return _invert(lambda t_s: 1 - waits * math.exp(-spare_rps * t_s), probability, 1 / spare_rps)


def _mmck_states(arrival_rps: float, service_rps: float, servers: int, capacity: int) -> _Array:
    _require_rates(arrival_rps, service_rps)
    _require_count("servers", servers)
    _require_count("capacity (waiting and at work)", capacity, least=servers)
    states = [1.0]
    for n in range(1, capacity + 1):
        states.append(states[-1] * arrival_rps / (service_rps * min(n, servers)))
        if states[-1] > 1e200:
            states = [p / states[-1] for p in states]
    return np.array(states) / sum(states)


def mmck_blocking(arrival_rps: float, service_rps: float, servers: int, capacity: int) -> float:
    """Share of requests refused by M/M/c/K: c workers and K places in all, those at work included.

    >>> [round(mmck_blocking(a, 1, c, k), 7) for c, k, a in ((1, 10, 0.9), (1, 5, 1.5), (5, 15, 4.5))]
    [0.0508137, 0.3654135, 0.034949]
    """
    return float(_mmck_states(arrival_rps, service_rps, servers, capacity)[-1])


def mmck_time_mean(arrival_rps: float, service_rps: float, servers: int, capacity: int) -> float:
    """Mean time in an M/M/c/K system of those that were let in, by Little's law, in seconds.

    >>> round(mmck_time_mean(0.9, 1, 1, 10), 5)
    4.6466
    """
    states = _mmck_states(arrival_rps, service_rps, servers, capacity)
    if arrival_rps == 0:
        return 1 / service_rps
    return float(states @ np.arange(capacity + 1)) / (arrival_rps * (1 - float(states[-1])))


def mmck_wait_quantile(arrival_rps: float, service_rps: float, servers: int, capacity: int, probability: float) -> float:
    """Quantile of the wait of those let in by M/M/c/K: who finds n waits for n - c + 1 ends of work; in s.

    >>> round(mmck_wait_quantile(0.9, 1, 1, 300, 0.99), 3), round(mmc_wait_quantile(0.9, 1, 1, 0.99), 3)
    (44.998, 44.998)
    """
    states = _mmck_states(arrival_rps, service_rps, servers, capacity)[:-1]
    found = states[servers:] / states.sum()

    def cdf(t_s: float) -> float:
        return 1 - float(found @ np.cumsum(_poisson(servers * service_rps * t_s, len(found))))

    return _invert(cdf, probability, 1 / service_rps)


def mg1_wait_mean(arrival_rps: float, mean_s: float, variance_s2: float) -> float:
    """Mean wait in M/G/1, from mean and variance of the service time: λ·E[S²] / (2·(1 - ρ)), in seconds.

    Source: Pollaczek 1930, Khinchine 1932.

    >>> [round(mg1_wait_mean(0.8, 1, variance), 6) for variance in (0, 0.5, 1, 4)]
    [2.0, 3.0, 4.0, 10.0]
    """
    _require(mean_s > 0, f"mean_s = {mean_s!r} must be positive")
    _require(variance_s2 >= 0, f"variance_s2 = {variance_s2!r} must be zero or more")
    _require_rates(arrival_rps, 1 / mean_s)
    rho = arrival_rps * mean_s
    return arrival_rps * (variance_s2 + mean_s**2) / (2 * (1 - rho)) if rho < 1 else math.inf


def md1_wait_quantile(arrival_rps: float, service_s: float, probability: float) -> float:
    """Quantile of the wait in M/D/1 (constant service D), in seconds.

    P(W ≤ t) = Σⱼ e^(-x)·xʲ/j! · P(at most k-1-j wait), with (k-1)·D ≤ t < k·D and x = λ·(k·D - t): no minus
    signs, so exact where Erlang's series of 1909 loses its digits. Source: Franx, OR Letters 29 (2001).

    >>> [round(md1_wait_quantile(0.8, 1, p), 4) for p in (0.5, 0.9, 0.99)]
    [1.2759, 5.0115, 10.3559]
    """
    _require(service_s > 0, f"service_s = {service_s!r} must be positive")
    _require_rates(arrival_rps, 1 / service_s)
    if arrival_rps * service_s >= 1:
        return math.inf
    at_most: _Array = np.array([])

    def cdf(t_s: float) -> float:
        nonlocal at_most
        k = int(t_s / service_s) + 1
        if len(at_most) < k:
            states = _md1_states(arrival_rps * service_s, 2 * k + 1)
            at_most = np.cumsum(states)[1:]
        return float(_poisson(arrival_rps * (k * service_s - t_s), k) @ at_most[:k][::-1])

    return _invert(cdf, probability, service_s)


def _md1_states(rho: float, count: int) -> _Array:
    """P(n in system) for n < count in M/D/1: Tijms' recursion, again with positive terms only."""
    # P(N > n), summed from the small end: 1 - P(N ≤ n) would lose the far tail.
    more_arrive = np.cumsum(_poisson(rho, count + 60)[::-1])[::-1][1:]
    states = np.zeros(count)
    states[0] = 1 - rho
    for j in range(1, count):
        states[j] = more_arrive[j - 1] * states[0] + more_arrive[j - 1 : 0 : -1] @ states[1:j]
        states[j] /= 1 - more_arrive[0]
    return states


# --- several stations, several passes, several users --------------------------------------------------------


def sum_of_exponentials_quantile(rates_rps: Sequence[float], probability: float) -> float:
    """Quantile of a sum of independent exponential times (Erlang when the rates are equal), in seconds.

    The time in a tandem of M/M/1 stations is such a sum, with the rates μᵢ - λ (Burke 1956, Reich 1957).
    Computed by uniformisation: equal or nearly equal rates need no special case.

    >>> round(sum_of_exponentials_quantile([0.2] * 3, 0.99), 2)  # three stations, μ = 1, λ = .8
    42.03
    """
    _require(len(rates_rps) > 0 and min(rates_rps) > 0, f"rates_rps = {list(rates_rps)} must all be positive")
    clock_rps = max(rates_rps)
    moves = np.array(rates_rps) / clock_rps

    def cdf(t_s: float) -> float:
        mean = clock_rps * t_s
        stage, left = np.eye(1, len(moves))[0], 0.0
        for chance in _poisson(mean, int(mean + 12 * math.sqrt(mean) + 40)):
            left += chance * stage.sum()
            gone = stage * moves
            stage = stage - gone
            stage[1:] += gone[:-1]
        return 1 - left

    return _invert(cdf, probability, sum(1 / rate for rate in rates_rps))


def mm1_feedback_time_mean(arrival_rps: float, service_rps: float, again: float) -> float:
    """Mean time in M/M/1 if a request lines up again with probability p: 1 / (μ·(1 - p) - λ), in seconds.

    An immediate retry through the same line is this: the load is λ / (1 - p), and every pass waits.

    >>> round(mm1_feedback_time_mean(0.7, 1, 0.2), 6)
    10.0
    """
    _require(0 <= again < 1, f"again = {again!r} must be at least 0 and less than 1")
    return mm1_time_mean(arrival_rps, service_rps * (1 - again))


def fork_join_mm1_2_time_mean(arrival_rps: float, service_rps: float) -> float:
    """Mean time until both halves are back from two M/M/1 lines: (12 - ρ)/8 / (μ - λ), in seconds.

    Exact for two lines, and for two only. Source: Nelson and Tantawi, IEEE ToC 37 (1988).

    >>> round(fork_join_mm1_2_time_mean(0.8, 1), 6), round(fork_join_mm1_2_time_mean(0.9, 1), 6)
    (7.0, 13.875)
    """
    return (12 - arrival_rps / service_rps) / 8 * mm1_time_mean(arrival_rps, service_rps)


def mva_closed(users: int, think_s: float, demands_s: Sequence[float]) -> tuple[float, float]:
    """Throughput (per second) and response time (seconds) of N users who think, and single-worker stations.

    Exact mean value analysis: Rₖ(n) = Dₖ·(1 + Lₖ(n-1)), X(n) = n / (Z + ΣR). `demands_s` is the work at each
    station, exponential; think times may have any law. Source: Reiser and Lavenberg, JACM 27 (1980).

    >>> throughput_rps, response_s = mva_closed(10, 1, [0.1])
    >>> round(throughput_rps, 6), round(response_s, 7)
    (7.854177, 0.2732079)
    """
    _require_count("users", users)
    _require(think_s >= 0, f"think_s = {think_s!r} must be zero or more")
    _require(len(demands_s) > 0 and min(demands_s) > 0, f"demands_s = {list(demands_s)} must all be positive")
    demands, lengths = np.array(demands_s, dtype=np.float64), np.zeros(len(demands_s))
    throughput_rps, response_s = 0.0, 0.0
    for n in range(1, users + 1):
        times = demands * (1 + lengths)
        response_s = float(times.sum())
        throughput_rps = n / (think_s + response_s)
        lengths = throughput_rps * times
    return throughput_rps, response_s


def closed_time_quantile(users: int, think_s: float, demand_s: float, probability: float) -> float:
    """Quantile of the response time of N users who think and one exponential worker, in seconds.

    A request finds what N - 1 users leave there (arrival theorem): it takes that many services and its own.

    >>> round(closed_time_quantile(1, 1, 0.1, 0.99), 6)  # alone: exponential
    0.460517
    """
    _require_count("users", users)
    _require(think_s > 0 and demand_s > 0, f"think_s = {think_s!r}, demand_s = {demand_s!r} must be positive")
    found = [1.0]
    for n in range(1, users):
        found.append(found[-1] * (users - n) * demand_s / think_s)
    chances = np.array(found) / sum(found)
    return _invert(lambda t_s: 1 - float(chances @ np.cumsum(_poisson(t_s / demand_s, users))), probability, demand_s)


# --- fan-out, hedging, balancing ----------------------------------------------------------------------------


def max_of_exponentials_mean(count: int, mean_s: float) -> float:
    """Mean of the slowest of n parallel exponential times: mean · (1 + 1/2 + … + 1/n), in seconds.

    >>> round(max_of_exponentials_mean(10, 1), 5), round(max_of_exponentials_mean(100, 1), 5)
    (2.92897, 5.18738)
    """
    _require_count("count", count)
    return mean_s * sum(1 / k for k in range(1, count + 1))


def max_of_exponentials_quantile(count: int, mean_s: float, probability: float) -> float:
    """Quantile of the slowest of n parallel exponential times: -mean · ln(1 - p^(1/n)), in seconds.

    >>> [round(max_of_exponentials_quantile(n, 1, 0.99), 5) for n in (1, 10, 100)]
    [4.60517, 6.90324, 9.20537]
    """
    _require_count("count", count)
    _require(0 <= probability < 1, f"probability = {probability!r} must be at least 0 and less than 1")
    return 0.0 if probability == 0 else -mean_s * math.log(-math.expm1(math.log(probability) / count))


def slow_fan_out(slow: float, count: int) -> float:
    """Probability that at least one of n independent calls is slow: 1 - (1 - p)^n. Dean, Barroso 2013.

    >>> round(slow_fan_out(0.01, 100), 3)
    0.634
    """
    _require_ratio("slow", slow)
    return float(1 - (1 - slow) ** count)


def hedged_time_quantile(survival: Callable[[float], float], delay_s: float, probability: float) -> float:
    """Quantile of the first answer when a second call follows after d: P(T > t) = S(t)·S(t - d), in seconds.

    The second call is sent for a share S(d) of the requests. For independent answers: not for a hot shard.

    >>> p95_s = max_of_exponentials_quantile(1, 1.0, 0.95)
    >>> [round(hedged_time_quantile(lambda t_s: math.exp(-t_s), p95_s, p), 5) for p in (0.99, 0.999)]
    [3.80045, 4.95174]
    """
    _require(delay_s >= 0, f"delay_s = {delay_s!r} must be zero or more")

    def cdf(t_s: float) -> float:
        return 1 - survival(t_s) * (survival(t_s - delay_s) if t_s > delay_s else 1.0)

    return _invert(cdf, probability, 1.0)


def round_robin_time_mean(arrival_rps: float, service_rps: float, servers: int) -> float:
    """Mean time in system behind one round-robin balancer and n single workers: 1 / (μ·(1 - σ)), in s.

    Each worker sees every n-th arrival, E_n/M/1: σ is the root below 1 of σ = (λ / (λ + μ·(1 - σ)))^n, λ
    of all together. The time is exponential: its quantile is -ln(1 - p) times the mean. Many balancers with
    turns of their own come near to random choice instead, which is n = 1 here.

    >>> [round(round_robin_time_mean(0.9 * n, 1, n), 3) for n in (1, 2, 10, 100)]
    [10.0, 7.588, 5.66, 5.227]
    """
    _require_rates(arrival_rps, service_rps)
    _require_count("servers", servers)
    if arrival_rps >= servers * service_rps:
        return math.inf
    low, high = 0.0, 1.0  # the right side lies above σ from 0 to the root, below it from there to 1
    while (sigma := (low + high) / 2) not in (low, high):
        above = (arrival_rps / (arrival_rps + service_rps * (1 - sigma))) ** servers > sigma
        low, high = (sigma, high) if above else (low, sigma)
    return 1 / (service_rps * (1 - low))


# --- giving up, trying again, catching up -------------------------------------------------------------------


def _offered_mass(arrival_rps: float, service_rps: float, t_s: float) -> float:
    """P(V ≤ t) / P(V = 0) of the offered wait V, t up to the patience: 1 + λ·(1 - e^(-(μ-λ)·t)) / (μ - λ)."""
    spare_rps = service_rps - arrival_rps
    return 1 + arrival_rps * (t_s if spare_rps == 0 else -math.expm1(-spare_rps * t_s) / spare_rps)


def mm1_deterministic_patience_lost(arrival_rps: float, service_rps: float, patience_s: float) -> float:
    """Share of requests that leave an M/M/1 line, removed, when their wait reaches a constant patience.

    (1 - ρ)·ρ·e / (1 - ρ²·e) with e = e^(-(μ - λ)·τ), and 1 / (2 + μ·τ) at ρ = 1; for overload too.
    Source: Barrer, Operations Research 5 (1957).

    >>> [round(mm1_deterministic_patience_lost(*case), 6) for case in ((0.9, 1, 5), (1.2, 1, 10))]
    [0.107306, 0.183955]
    """
    _require_rates(arrival_rps, service_rps)
    _require(patience_s >= 0, f"patience_s = {patience_s!r} must be zero or more")
    above = arrival_rps / service_rps * math.exp((arrival_rps - service_rps) * patience_s)
    return above / (_offered_mass(arrival_rps, service_rps, patience_s) + above)


def mm1_deterministic_patience_wait_quantile(
    arrival_rps: float, service_rps: float, patience_s: float, probability: float
) -> float:
    """Quantile of the wait of those that are served by that line, in seconds: never above the patience.

    >>> round(mm1_deterministic_patience_wait_quantile(0.9, 1, 500, 0.99), 3)  # patience without end: M/M/1
    44.998
    """
    _require_rates(arrival_rps, service_rps)
    _require(patience_s >= 0, f"patience_s = {patience_s!r} must be zero or more")
    total = _offered_mass(arrival_rps, service_rps, patience_s)

    def cdf(t_s: float) -> float:
        return _offered_mass(arrival_rps, service_rps, min(t_s, patience_s)) / total

    return _invert(cdf, probability, 1 / service_rps)


def goodput_unnoticed_timeouts(arrival_rps: float, service_rps: float, timeout_s: float) -> float:
    """Answers in time per second when clients give up after τ and servers work on: λ·(1 - e^(-(μ - λ)·τ)).

    The line is an ordinary M/M/1; in overload it grows for ever, and in the end no answer is in time.

    >>> round(goodput_unnoticed_timeouts(0.9, 1, 5), 6), goodput_unnoticed_timeouts(1, 1, 5)
    (0.354122, 0.0)
    """
    _require_rates(arrival_rps, service_rps)
    _require(timeout_s >= 0, f"timeout_s = {timeout_s!r} must be zero or more")
    spare_rps = service_rps - arrival_rps
    return -arrival_rps * math.expm1(-spare_rps * timeout_s) if spare_rps > 0 else 0.0


def success_with_retries(failure: float, max_attempts: int) -> float:
    """Share of calls that succeed within a attempts, the first included, each failing by itself: 1 - f^a.

    >>> success_with_retries(0.5, 4)
    0.9375
    """
    _require_ratio("failure", failure)
    return float(1 - failure**max_attempts)


def attempts_with_retries(failure: float, max_attempts: int, layers: int = 1) -> float:
    """Mean attempts per call, (1 - f^a) / (1 - f), the first included; a^n behind n layers if all fails.

    Layers multiply as simply as that only for f = 1; with any other f, more than one raises `ValueError`.

    >>> [attempts_with_retries(*case) for case in ((0.5, 4), (1, 4, 3), (1, 3, 5))]
    [1.875, 64.0, 243.0]
    """
    _require_ratio("failure", failure)
    _require(layers == 1 or failure == 1, f"layers = {layers!r} multiply simply only for failure = 1")
    return float(max_attempts**layers if failure == 1 else (1 - failure**max_attempts) / (1 - failure))


def survivable_outage_s(arrival_rps: float, service_rps: float, attempts: int, patience_s: float) -> float:
    """The longest outage from which a line comes back by itself, if each try waits `patience_s` and the next follows at once.

    In an outage of D seconds λ·Σ(D − k·τ)⁺ tries gather, k from 0 to attempts − 1 and τ the patience. If working them off takes
    longer than τ, whoever comes meanwhile gives up and tries again, and so do all after them: with λ·attempts > μ that never
    ends. Else it does, however long the outage was (``inf``). Tries that nobody waits for are worked on all the same, in order of
    arrival. Left out are chance and those who give up while the line is worked off: the border lies up to a tenth lower.

    Source: the model of N. Bronson et al., "Metastable failures in distributed systems", HotOS 2021.

    >>> round(survivable_outage_s(60, 100, 2, 1.0), 3), survivable_outage_s(45, 100, 2, 1.0)
    (1.333, inf)
    """
    _require_rates(arrival_rps, service_rps)
    _require_count("attempts", attempts)
    _require(0 < patience_s < math.inf, f"patience_s = {patience_s!r} must be positive and finite")
    if arrival_rps * attempts <= service_rps:
        return math.inf
    # With n tries on their way: λ·(n·D − τ·n(n−1)/2) = μ·τ, where D must be long enough for the n-th, and too short for another.
    for n in range(1, attempts + 1):
        length_s = (service_rps * patience_s / arrival_rps + patience_s * n * (n - 1) / 2) / n
        if n == attempts or length_s <= n * patience_s:
            break
    return length_s


def backlog(arrival_rps: float, service_rps: float, length_s: float) -> float:
    """Messages that pile up while more comes than is served, for `length_s` seconds; μ = 0: consumers down.

    >>> backlog(80, 0, 60), backlog(200, 120, 60)
    (4800.0, 4800.0)
    """
    return max(0.0, float(arrival_rps - service_rps)) * length_s


def drain_s(waiting: float, arrival_rps: float, service_rps: float) -> float:
    """Time until a backlog B is gone while more keeps coming: B / (μ - λ), in seconds.

    >>> drain_s(4800, 80, 100), round(drain_s(4800, 50, 120), 1)
    (240.0, 68.6)
    """
    return waiting / (service_rps - arrival_rps) if arrival_rps < service_rps else math.inf
