"""The closed forms: against published values, and against independent computations that share no formula with them."""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, linalg, special, stats

from sim import theory

sys.path.insert(0, str(Path(__file__).parent / "theory"))
import oracles

RHOS = st.floats(0.05, 0.95)
RATES = st.floats(0.1, 50)

# --- published --------------------------------------------------------------------------------------------------

PUBLISHED = [
    ("Q1 mean .5", lambda: theory.mm1_time_mean(0.5, 1), 2),
    ("Q1 mean .8", lambda: theory.mm1_time_mean(0.8, 1), 5),
    ("Q1 mean .9", lambda: theory.mm1_time_mean(0.9, 1), 10),
    ("Q1 p99 .5", lambda: theory.mm1_time_quantile(0.5, 1, 0.99), 9.210),
    ("Q1 p99 .8", lambda: theory.mm1_time_quantile(0.8, 1, 0.99), 23.026),
    ("Q1 p99 .9", lambda: theory.mm1_time_quantile(0.9, 1, 0.99), 46.052),
    ("Q2 c=2", lambda: theory.mmc_wait_mean(1.6, 1, 2), 1.77778),
    ("Q2 c=5", lambda: theory.mmc_wait_mean(4, 1, 5), 0.554113),
    ("Q2 c=5 p99", lambda: theory.mmc_wait_quantile(4, 1, 5, 0.99), 4.01478),
    ("Q2 c=10", lambda: theory.mmc_wait_mean(9, 1, 10), 0.668732),
    ("Q3 5, 5", lambda: theory.erlang_b(5, 5), 0.284868),
    ("Q3 5, 10", lambda: theory.erlang_b(10, 5), 0.0183846),
    ("Q3 10, 10", lambda: theory.erlang_b(10, 10), 0.214582),
    ("Q4 1, 10", lambda: theory.mmck_blocking(0.9, 1, 1, 10), 0.0508137),
    ("Q4 1, 10 T", lambda: theory.mmck_time_mean(0.9, 1, 1, 10), 4.64660),
    ("Q4 1, 5", lambda: theory.mmck_blocking(1.5, 1, 1, 5), 0.365414),
    ("Q4 5, 15", lambda: theory.mmck_blocking(4.5, 1, 5, 15), 0.0349490),
    ("Q5 constant", lambda: theory.mg1_wait_mean(0.8, 1, 0), 2),
    ("Q5 Erlang-2", lambda: theory.mg1_wait_mean(0.8, 1, 0.5), 3),
    ("Q5 exponential", lambda: theory.mg1_wait_mean(0.8, 1, 1), 4),
    ("Q5 lognormal", lambda: theory.mg1_wait_mean(0.8, 1, 4), 10),
    ("Q6 p50", lambda: theory.md1_wait_quantile(0.8, 1, 0.5), 1.27594),
    ("Q6 p90", lambda: theory.md1_wait_quantile(0.8, 1, 0.9), 5.01151),
    ("Q6 p99", lambda: theory.md1_wait_quantile(0.8, 1, 0.99), 10.3559),
    ("Q8 p99", lambda: theory.sum_of_exponentials_quantile([0.2] * 3, 0.99), 42.03),
    ("Q9", lambda: theory.mm1_feedback_time_mean(0.7, 1, 0.2), 10),
    ("Q10 X", lambda: theory.mva_closed(10, 1, [0.1])[0], 7.854177),
    ("Q10 R", lambda: theory.mva_closed(10, 1, [0.1])[1], 0.2732079),
    ("Q12 .9", lambda: theory.mm1_deterministic_patience_lost(0.9, 1, 5), 0.107306),
    ("Q12 1.2", lambda: theory.mm1_deterministic_patience_lost(1.2, 1, 10), 0.183955),
    ("Q12 goodput", lambda: 0.9 * (1 - theory.mm1_deterministic_patience_lost(0.9, 1, 5)), 0.803424),
    ("Q13", lambda: theory.goodput_unnoticed_timeouts(0.9, 1, 5), 0.354122),
    ("Q14 .8", lambda: theory.fork_join_mm1_2_time_mean(0.8, 1), 7.0),
    ("Q14 .9", lambda: theory.fork_join_mm1_2_time_mean(0.9, 1), 13.875),
    ("Q15 10", lambda: theory.max_of_exponentials_mean(10, 1), 2.92897),
    ("Q15 10 p99", lambda: theory.max_of_exponentials_quantile(10, 1, 0.99), 6.90324),
    ("Q15 100", lambda: theory.max_of_exponentials_mean(100, 1), 5.18738),
    ("Q15 100 p99", lambda: theory.max_of_exponentials_quantile(100, 1, 0.99), 9.20537),
    ("LB1 random", lambda: theory.round_robin_time_mean(0.9, 1, 1), 10),
    ("LB1 2", lambda: theory.round_robin_time_mean(1.8, 1, 2), 7.588),
    ("LB1 10", lambda: theory.round_robin_time_mean(9, 1, 10), 5.660),
    ("LB1 100", lambda: theory.round_robin_time_mean(90, 1, 100), 5.227),
    ("H1 p99", lambda: theory.hedged_time_quantile(lambda t: math.exp(-t), 2.99573, 0.99), 3.80045),
    ("H1 p99.9", lambda: theory.hedged_time_quantile(lambda t: math.exp(-t), 2.99573, 0.999), 4.95174),
    ("T1", lambda: theory.slow_fan_out(0.01, 100), 0.634),
    ("R1 success", lambda: theory.success_with_retries(0.5, 4), 0.9375),
    ("R1 attempts", lambda: theory.attempts_with_retries(0.5, 4), 1.875),
    ("R2 3 layers", lambda: theory.attempts_with_retries(1, 4, layers=3), 64),
    ("R2 5 layers", lambda: theory.attempts_with_retries(1, 3, layers=5), 243),
    ("A1 backlog", lambda: theory.backlog(80, 0, 60), 4800),
    ("A1 drain", lambda: theory.drain_s(4800, 80, 100), 240),
    ("A3 backlog", lambda: theory.backlog(200, 120, 60), 4800),
    ("A3 drain", lambda: theory.drain_s(4800, 50, 120), 68.6),
    ("A3 delay", lambda: theory.drain_s(4800, 0, 120), 40),
    ("P3 waits", lambda: theory.erlang_c(6, 5), 0.587516),
    ("P3 wait", lambda: theory.mmc_wait_mean(50, 10, 6), 0.05875),
]


@pytest.mark.parametrize(("form", "value"), [case[1:] for case in PUBLISHED], ids=[case[0] for case in PUBLISHED])
def test_published(form, value):
    # Half a unit of the last published digit, at most 1e-3 of the value.
    assert form() == pytest.approx(value, rel=1e-3)
    assert form() == pytest.approx(value, abs=0.51 * 10.0 ** -_decimals(value))


def _decimals(value):
    text = repr(value)
    return len(text.split(".")[1]) if "." in text else 6


# --- independent computations ------------------------------------------------------------------------------------


def stationary(rates):
    """Stationary distribution of a continuous-time Markov chain, by linear algebra."""
    generator = rates - np.diag(rates.sum(axis=1))
    return linalg.null_space(generator.T)[:, 0] / linalg.null_space(generator.T)[:, 0].sum()


def birth_death(births, deaths):
    return stationary(np.diag(births, 1) + np.diag(deaths, -1))


@given(st.integers(1, 40), st.floats(0.01, 60))
def test_erlang_b_is_the_truncated_poisson_law(servers, load):
    n = np.arange(servers + 1)
    weights = np.exp(n * math.log(load) - special.gammaln(n + 1) - load)
    assert theory.erlang_b(servers, load) == pytest.approx(weights[-1] / weights.sum(), rel=1e-9)


@given(st.integers(1, 40), RHOS)
def test_erlang_c_by_its_sum(servers, rho):
    load, n = servers * rho, np.arange(servers)
    waits = load**servers / special.factorial(servers) / (1 - rho)
    assert theory.erlang_c(servers, load) == pytest.approx(waits / ((load**n / special.factorial(n)).sum() + waits), rel=1e-9)


@given(RHOS, RATES)
def test_one_worker_is_the_same_by_four_formulas(rho, mu):
    wait = theory.mm1_time_mean(rho * mu, mu) - 1 / mu
    assert theory.mmc_wait_mean(rho * mu, mu, 1) == pytest.approx(wait)
    assert theory.mg1_wait_mean(rho * mu, 1 / mu, 1 / mu**2) == pytest.approx(wait)
    assert theory.round_robin_time_mean(rho * mu, mu, 1) - 1 / mu == pytest.approx(wait)
    assert theory.mm1_feedback_time_mean(rho * mu, mu, 0) - 1 / mu == pytest.approx(wait)


@given(st.integers(1, 6), st.integers(0, 12), st.floats(0.1, 2), RATES)
def test_mmck_solves_its_balance_equations(servers, places, rho, mu):
    capacity, lam = servers + places, rho * servers * mu
    chances = birth_death(np.full(capacity, lam), mu * np.minimum(np.arange(1, capacity + 1), servers))
    assert theory.mmck_blocking(lam, mu, servers, capacity) == pytest.approx(chances[-1], rel=1e-6)
    in_system = chances @ np.arange(capacity + 1)
    assert theory.mmck_time_mean(lam, mu, servers, capacity) == pytest.approx(in_system / (lam * (1 - chances[-1])), rel=1e-6)


def test_mmck_wait_quantile_against_its_mean_and_its_limit():
    # The mean is the area above the quantile function, and equals the time in system less the service.
    grid = (np.arange(2000) + 0.5) / 2000
    mean = np.mean([theory.mmck_wait_quantile(4.5, 1, 5, 15, p) for p in grid])
    assert mean == pytest.approx(theory.mmck_time_mean(4.5, 1, 5, 15) - 1, rel=2e-3)
    assert theory.mmck_wait_quantile(4, 1, 5, 200, 0.99) == pytest.approx(theory.mmc_wait_quantile(4, 1, 5, 0.99), rel=1e-9)
    assert theory.mmck_wait_quantile(5, 1, 5, 5, 0.99) == 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("rho", [0.3, 0.8, 0.95])
def test_md1_against_transform_inversion(rho, p):
    constant = oracles.mg1_wait_quantile(rho, 1, lambda t: (t < 1).astype(float), p, horizon_s=40 / (1 - rho), points=2**20)
    assert theory.md1_wait_quantile(rho, 1, p) == pytest.approx(constant, rel=5e-4, abs=1e-4)


def test_md1_scales_with_the_service_time():
    assert theory.md1_wait_quantile(80, 0.01, 0.9) == pytest.approx(0.0501151, rel=1e-5)


def test_md1_stays_exact_far_out():
    # Far in the tail the wait is exponential with the root of ρ·(e^x - 1) = x as its rate.
    root = 0.1
    for _ in range(200):
        root = math.log1p(root / 0.95)
    far = [theory.md1_wait_quantile(0.95, 1, 1 - 10.0**-k) for k in (8, 9, 10)]
    assert np.diff(far) == pytest.approx(math.log(10) / root, rel=1e-5)


def test_the_transform_inversion_agrees_with_exponential_service():
    exact = theory.mmc_wait_quantile(0.8, 1, 1, 0.99)
    assert oracles.mg1_wait_quantile(0.8, 1, lambda t: np.exp(-t), 0.99, horizon_s=400) == pytest.approx(exact, rel=1e-4)


@given(st.integers(1, 20), RATES, st.floats(0.01, 0.999))
def test_equal_exponentials_add_up_to_erlang(count, rate, p):
    found = theory.sum_of_exponentials_quantile([rate] * count, p)
    assert found == pytest.approx(stats.gamma.ppf(p, count, scale=1 / rate), rel=1e-8)


@given(st.floats(0.1, 10), st.floats(1.2, 20), st.floats(0.01, 0.999))
def test_two_different_exponentials_by_partial_fractions(slow, ratio, p):
    fast = slow * ratio
    t = theory.sum_of_exponentials_quantile([slow, fast], p)
    survival = (fast * math.exp(-slow * t) - slow * math.exp(-fast * t)) / (fast - slow)
    assert 1 - survival == pytest.approx(p, abs=1e-8)


def test_feedback_mean_is_that_of_its_markov_chain():
    grid = (np.arange(400) + 0.5) / 400
    mean = np.mean([oracles.feedback_time_quantile(0.5, 1, 0.2, p) for p in grid])
    assert mean == pytest.approx(theory.mm1_feedback_time_mean(0.5, 1, 0.2), rel=6e-3)  # a midpoint rule cuts the tail
    without = oracles.feedback_time_quantile(0.7, 1, 0.0, 0.99)
    assert without == pytest.approx(theory.mm1_time_quantile(0.7, 1, 0.99), rel=1e-6)


def test_fork_join_is_that_of_its_markov_chain():
    for rho in (0.3, 0.6, 0.8):
        mean, p99 = oracles.fork_join_time_mean_and_quantile(rho, 1, 0.99)
        assert theory.fork_join_mm1_2_time_mean(rho, 1) == pytest.approx(mean, rel=2e-4)
        assert theory.mm1_time_quantile(rho, 1, 0.99) < p99 < theory.mm1_time_quantile(rho, 1, 0.995)


@given(st.integers(1, 12), st.floats(0.05, 5), st.floats(0.01, 5))
def test_closed_loop_is_the_machine_repair_chain(users, think, demand):
    n = np.arange(users)
    chances = birth_death((users - n) / think, np.full(users, 1 / demand))
    throughput, response = theory.mva_closed(users, think, [demand])
    assert throughput == pytest.approx((1 - chances[0]) / demand, rel=1e-6)
    assert throughput * (think + response) == pytest.approx(users)


def test_closed_loop_with_two_stations_and_no_thinking():
    # Two equal stations and n users: n + 1 equally likely states, so each station is busy n/(n + 1) of the time.
    assert theory.mva_closed(3, 0, [0.1, 0.1])[0] == pytest.approx(10 * 3 / 4)


def test_closed_loop_quantile_against_its_mean():
    grid = (np.arange(4000) + 0.5) / 4000
    mean = np.mean([theory.closed_time_quantile(10, 1, 0.1, p) for p in grid])
    assert mean == pytest.approx(theory.mva_closed(10, 1, [0.1])[1], rel=1e-3)


@given(st.integers(1, 200), st.floats(0.01, 10))
def test_the_slowest_of_n_by_integration(count, mean):
    area = integrate.quad(lambda t: -math.expm1(count * math.log(max(1e-300, -math.expm1(-t)))), 0, 60, limit=200)[0]
    assert theory.max_of_exponentials_mean(count, mean) == pytest.approx(mean * area, rel=1e-6)
    t = theory.max_of_exponentials_quantile(count, mean, 0.9)
    assert (-math.expm1(-t / mean)) ** count == pytest.approx(0.9)


@given(st.integers(1, 50), RHOS, RATES)
def test_round_robin_lies_between_even_arrivals_and_random_choice(servers, rho, mu):
    found = theory.round_robin_time_mean(rho * servers * mu, mu, servers)
    d_m_1 = 1.0
    for _ in range(5000):
        d_m_1 = math.exp(-(1 - d_m_1 * 0.999999999) / rho)
    assert 1 / (mu * (1 - d_m_1)) * (1 - 1e-6) <= found <= theory.mm1_time_mean(rho * mu, mu) * (1 + 1e-9)


def test_round_robin_by_lindley():
    # 400,000 requests of one of two workers: arrivals are every second one of a Poisson stream.
    rng = np.random.default_rng(1)
    arrivals = rng.exponential(1 / 1.6, (400_000, 2)).sum(axis=1).cumsum()
    services = rng.exponential(1, 400_000)
    times = oracles.fifo(arrivals, services) + services
    assert times.mean() == pytest.approx(theory.round_robin_time_mean(1.6, 1, 2), rel=0.02)


@given(st.floats(0.1, 3), RATES, st.floats(0, 8))
def test_patience_conserves_work(rho, mu, services_of_patience):
    # What is served is the share of time that the worker is busy, one minus the mass of the offered wait at 0.
    lam, tau = rho * mu, services_of_patience / mu
    lost = theory.mm1_deterministic_patience_lost(lam, mu, tau)
    density = integrate.quad(lambda t: lam * math.exp(-(mu - lam) * t), 0, tau)[0]
    above = lam * math.exp(-(mu - lam) * tau) / mu
    idle = 1 / (1 + density + above)
    assert (1 - lost) * rho == pytest.approx(1 - idle, rel=1e-6)
    assert lost == pytest.approx(above * idle, rel=1e-6)
    if rho != 1:
        e = math.exp(-(mu - lam) * tau)
        assert lost == pytest.approx((1 - rho) * rho * e / (1 - rho**2 * e), rel=1e-4, abs=1e-12)


def test_patience_at_full_load_and_at_its_ends():
    assert theory.mm1_deterministic_patience_lost(1, 1, 3) == pytest.approx(1 / 5)
    assert theory.mm1_deterministic_patience_lost(0.9, 1, 0) == pytest.approx(theory.erlang_b(1, 0.9))
    assert theory.mm1_deterministic_patience_lost(2, 1, 1e2) == pytest.approx(0.5)


def test_patience_by_sample_path():
    rng = np.random.default_rng(2)
    arrivals, services = rng.exponential(1 / 0.9, 400_000).cumsum(), rng.exponential(1, 400_000)
    waits = oracles.fifo_with_patience(arrivals, services, 5)
    assert np.isnan(waits).mean() == pytest.approx(theory.mm1_deterministic_patience_lost(0.9, 1, 5), rel=0.03)
    for p in (0.5, 0.9, 0.99):
        expected = theory.mm1_deterministic_patience_wait_quantile(0.9, 1, 5, p)
        assert np.nanquantile(waits, p) == pytest.approx(expected, rel=0.02)


@given(RHOS, RATES, st.floats(0, 50))
def test_goodput_is_the_share_of_fast_answers(rho, mu, timeout):
    share = theory.goodput_unnoticed_timeouts(rho * mu, mu, timeout) / (rho * mu)
    assert share == pytest.approx(stats.expon(scale=theory.mm1_time_mean(rho * mu, mu)).cdf(timeout), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 30))
def test_attempts_are_counted_one_by_one(failure, attempts):
    assert theory.attempts_with_retries(failure, attempts) == pytest.approx(sum(failure**k for k in range(attempts)))
    assert theory.success_with_retries(failure, attempts) == pytest.approx(1 - failure**attempts)


def test_hedging_beats_waiting_and_costs_what_it_says():
    def survival(t):
        return math.exp(-t)

    times = np.random.default_rng(3).exponential(1, (2, 400_000))
    hedged = np.minimum(times[0], times[1] + 2)
    assert theory.hedged_time_quantile(survival, 2, 0.99) == pytest.approx(np.quantile(hedged, 0.99), rel=0.02)
    assert theory.hedged_time_quantile(survival, 1e9, 0.99) == pytest.approx(-math.log(0.01))
    assert theory.hedged_time_quantile(survival, 0, 0.99) == pytest.approx(-math.log(0.01) / 2)


# --- edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda: theory.mm1_time_mean(1, 1),
        lambda: theory.mm1_time_quantile(2, 1, 0.5),
        lambda: theory.mmc_wait_mean(3, 1, 2),
        lambda: theory.mmc_wait_quantile(3, 1, 2, 0.5),
        lambda: theory.mg1_wait_mean(1, 1, 1),
        lambda: theory.md1_wait_quantile(1, 1, 0.5),
        lambda: theory.mm1_feedback_time_mean(0.9, 1, 0.2),
        lambda: theory.round_robin_time_mean(2, 1, 2),
        lambda: theory.fork_join_mm1_2_time_mean(1.5, 1),
        lambda: theory.drain_s(10, 5, 5),
    ],
)
def test_a_line_that_grows_for_ever_has_no_mean(form):
    assert form() == math.inf


def test_nobody_comes():
    assert theory.mm1_time_mean(0, 2) == theory.mmck_time_mean(0, 2, 3, 5) == 0.5
    assert theory.mmc_wait_mean(0, 1, 3) == theory.mmc_wait_quantile(0, 1, 3, 0.9) == theory.erlang_b(3, 0) == 0
    assert theory.mm1_deterministic_patience_lost(0, 1, 5) == 0
    assert theory.mg1_wait_mean(0, 1, 5) == theory.md1_wait_quantile(0, 1, 0.9) == theory.backlog(0, 5, 60) == 0


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda: theory.mm1_time_mean(-1, 1), "arrival_rps = -1"),
        (lambda: theory.mm1_time_mean(1, 0), "service_rps = 0"),
        (lambda: theory.mm1_time_mean(math.nan, 1), "arrival_rps = nan"),
        (lambda: theory.mm1_time_quantile(0.5, 1, 1.0), "probability = 1.0"),
        (lambda: theory.mmc_wait_quantile(0.5, 1, 1, 1.0), "probability = 1.0"),
        (lambda: theory.erlang_b(1.5, 1), "servers = 1.5"),
        (lambda: theory.erlang_c(0, 1), "servers = 0"),
        (lambda: theory.mmck_blocking(1, 1, 3, 2), "capacity"),
        (lambda: theory.mg1_wait_mean(1, 1, -1), "variance_s2 = -1"),
        (lambda: theory.md1_wait_quantile(1, 0, 0.5), "service_s = 0"),
        (lambda: theory.sum_of_exponentials_quantile([], 0.5), "rates_rps"),
        (lambda: theory.mm1_feedback_time_mean(0.5, 1, 1), "again = 1"),
        (lambda: theory.mva_closed(0, 1, [1]), "users = 0"),
        (lambda: theory.mva_closed(1, 1, [0]), "demands_s"),
        (lambda: theory.max_of_exponentials_mean(0, 1), "count = 0"),
        (lambda: theory.slow_fan_out(1.1, 2), "slow = 1.1"),
        (lambda: theory.attempts_with_retries(0.5, 3, layers=2), "layers = 2"),
        (lambda: theory.hedged_time_quantile(lambda t: 0.0, -1, 0.5), "delay_s = -1"),
        (lambda: theory.mm1_deterministic_patience_lost(1, 1, -1), "patience_s = -1"),
    ],
)
def test_arguments_outside_their_range_are_named(form, message):
    with pytest.raises(ValueError, match=message):
        form()


def test_every_public_form_is_documented_with_an_example():
    public = [f for name, f in inspect.getmembers(theory, inspect.isfunction) if not name.startswith("_")]
    assert len(public) >= 25
    assert not [f.__name__ for f in public if ">>>" not in (f.__doc__ or "")]
