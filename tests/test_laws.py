"""Probability laws: moments, whole distributions against scipy's, pairing by order, and errors that teach."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.laws import (
    LAWS,
    Constant,
    Erlang,
    Exponential,
    Hyperexponential,
    Law,
    Lognormal,
    Mixture,
    Pareto,
    Quantiles,
    Uniform,
)
from sim.streams import child, key, uniform

EXPONENTIAL_MIX = Mixture((3, 1), (Exponential(0.01), Uniform(0.1, 0.3)))


def lognormal_cdf(law):
    sigma = math.sqrt(math.log1p(law.cv**2))
    return stats.lognorm(sigma, scale=law.mean / math.sqrt(1 + law.cv**2)).cdf


def pareto_cdf(law):
    free = stats.pareto(law.shape, scale=law.minimum)
    return lambda t: free.cdf(np.minimum(t, law.maximum)) / free.cdf(law.maximum)


def mixture_cdf(law):
    fast, slow = stats.expon(scale=0.01), stats.uniform(0.1, 0.2)
    return lambda t: 0.75 * fast.cdf(t) + 0.25 * slow.cdf(t)


def hyperexponential_cdf(law):
    branches = list(zip(law.probabilities, law.means, strict=True))
    return lambda t: sum(p * stats.expon(scale=m).cdf(t) for p, m in branches)


#: A law and its distribution function, from scipy where it has one: nothing here repeats the code under test.
CASES = {
    "uniform": (Uniform(0.01, 0.03), stats.uniform(0.01, 0.02).cdf),
    "exponential": (Exponential(0.02), stats.expon(scale=0.02).cdf),
    "lognormal": (Lognormal(0.02, 2), lognormal_cdf(Lognormal(0.02, 2))),
    "lognormal, narrow": (Lognormal(1, 0.1), lognormal_cdf(Lognormal(1, 0.1))),
    "erlang 1": (Erlang(1, 0.02), stats.expon(scale=0.02).cdf),
    "erlang 4": (Erlang(4, 0.02), stats.gamma(4, scale=0.005).cdf),
    "hyperexponential": (
        Hyperexponential.from_mean(0.02, 3),
        hyperexponential_cdf(Hyperexponential.from_mean(0.02, 3)),
    ),
    "three branches": (
        Hyperexponential((0.5, 0.3, 0.2), (1, 2, 7)),
        hyperexponential_cdf(Hyperexponential((0.5, 0.3, 0.2), (1, 2, 7))),
    ),
    "pareto": (Pareto(1.5, 0.005, 2), pareto_cdf(Pareto(1.5, 0.005, 2))),
    "pareto, shape 1": (Pareto(1, 0.005, 2), pareto_cdf(Pareto(1, 0.005, 2))),
    "pareto, shape 2": (Pareto(2, 0.005, 2), pareto_cdf(Pareto(2, 0.005, 2))),
    "mixture": (EXPONENTIAL_MIX, mixture_cdf(EXPONENTIAL_MIX)),
    "quantiles": (
        Quantiles((0, 0.5, 0.9, 1), (0.002, 0.005, 0.04, 0.09)),
        lambda t: np.interp(t, (0.002, 0.005, 0.04, 0.09), (0, 0.5, 0.9, 1)),
    ),
}

#: Laws that invert their distribution function: a larger uniform is a longer time.
BY_INVERSION = ["uniform", "exponential", "lognormal", "lognormal, narrow", "pareto", "quantiles"]


def draw(law, count=40_000, stream=0):
    parent = key(1, "laws", stream)
    return np.array([law.draw(child(parent, i)) for i in range(count)])


@pytest.mark.parametrize("name", CASES)
def test_the_whole_distribution(name):
    law, cdf = CASES[name]
    assert stats.kstest(draw(law), cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_mean_and_variance_are_those_of_the_distribution(name):
    # By integration of the independent distribution function, not by sampling: exact to six digits.
    law, cdf = CASES[name]
    top = {"lognormal": 400, "three branches": 400}.get(name, 4)
    t = np.concatenate(([0], np.geomspace(1e-5, top, 400_001)))
    tail = 1 - cdf(t)
    assert law.mean == pytest.approx(np.trapezoid(tail, t), rel=2e-6)
    assert law.variance + law.mean**2 == pytest.approx(np.trapezoid(2 * t * tail, t), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_samples_have_the_mean(name):
    law, _ = CASES[name]
    sample = draw(law, stream=1)
    assert abs(sample.mean() - law.mean) < 4 * math.sqrt(law.variance / len(sample))
    assert (sample >= 0).all()


@pytest.mark.parametrize("name", BY_INVERSION)
def test_a_larger_uniform_is_a_longer_time(name):
    law, _ = CASES[name]
    times = [law.draw(bits) for bits in range(0, 2**64, 2**55 + 1)]
    assert times == sorted(times)
    assert times[0] < times[-1]


@pytest.mark.parametrize("name", [*BY_INVERSION, "erlang 4", "hyperexponential", "mixture"])
def test_the_extremes_of_the_bits_are_finite(name):
    law, _ = CASES[name]
    assert all(0 <= law.draw(bits) < math.inf for bits in (0, 1, 2**64 - 1))


@pytest.mark.parametrize(
    ("slow", "fast"),
    [
        (Exponential(0.2), Exponential(0.1)),
        (Lognormal(0.2, 2), Lognormal(0.1, 2)),
        (Erlang(3, 0.2), Erlang(3, 0.1)),
        (Hyperexponential.from_mean(0.2, 2), Hyperexponential.from_mean(0.1, 2)),
    ],
)
def test_candidates_that_differ_in_scale_stay_paired(slow, fast):
    np.testing.assert_allclose(draw(slow, 200), 2 * draw(fast, 200), rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_laws_are_values(name):
    law, _ = CASES[name]
    assert isinstance(law, Law)
    assert pickle.loads(pickle.dumps(law)) == law
    assert hash(pickle.loads(pickle.dumps(law))) == hash(law)
    assert pickle.loads(pickle.dumps(law)).draw(99) == law.draw(99)


def test_constant_takes_no_chance():
    assert {Constant(0.5).draw(bits) for bits in (0, 1, 2**63)} == {0.5}
    assert (Constant(0.5).mean, Constant(0.5).variance) == (0.5, 0.0)


def test_every_law_has_a_name_in_the_language():
    assert set(LAWS) == {cls.__name__.lower() for cls in LAWS.values()}
    assert len(LAWS) == 10


@given(p50=st.floats(1e-4, 1), ratio=st.floats(1.01, 100), p=st.floats(0.9, 0.9999))
def test_lognormal_goes_through_its_two_percentiles(p50, ratio, p):
    law = Lognormal.from_percentiles({0.5: p50, p: p50 * ratio})
    assert law.quantile(0.5) == pytest.approx(p50)
    assert law.quantile(p) == pytest.approx(p50 * ratio)


@given(mean=st.floats(1e-3, 1e3), cv=st.floats(1, 20))
def test_hyperexponential_has_the_mean_and_cv_it_was_asked_for(mean, cv):
    law = Hyperexponential.from_mean(mean, cv)
    assert law.mean == pytest.approx(mean)
    assert math.sqrt(law.variance) / law.mean == pytest.approx(cv)
    assert law.probabilities[0] * law.means[0] == pytest.approx(law.probabilities[1] * law.means[1])


def test_a_branch_says_nothing_about_the_time_within_it():
    # The branch and the time come from different bits: within the long branch all of the exponential occurs.
    law = Mixture((1, 1), (Constant(0.0), Exponential(1.0)))
    parent = key(1, "branch")
    long = [law.draw(child(parent, i)) for i in range(20_000) if uniform(child(parent, i)) >= 0.5]
    assert stats.kstest(long, stats.expon.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(-1), "not negative"),
        (lambda: Constant(math.nan), "finite"),
        (lambda: Uniform(2, 1), "low = 2, high = 1"),
        (lambda: Exponential(0), "mean = 0 must be positive"),
        (lambda: Exponential(math.inf), "finite"),
        (lambda: Lognormal(1, 0), "cv = 0 must be positive"),
        (lambda: Lognormal.from_percentiles({0.5: 1}), "exactly two percentiles"),
        (lambda: Lognormal.from_percentiles({0.5: 2, 0.9: 1}), "must be larger than the one at 50.0%"),
        (lambda: Lognormal.from_percentiles({0.5: 1, 1: 2}), "between 0 and 100 %"),
        (lambda: Erlang(0, 1), "k = 0 must be a whole number"),
        (lambda: Erlang(2.5, 1), "k = 2.5 must be a whole number"),
        (lambda: Hyperexponential((0.5, 0.4), (1, 2)), "add up to 0.9, not 1"),
        (lambda: Hyperexponential((1.0,), (1, 2)), "same length"),
        (lambda: Hyperexponential.from_mean(1, 0.5), "at least 1; below 1 use erlang or lognormal"),
        (lambda: Pareto(1.5, 2, 1), "0 < minimum < maximum"),
        (lambda: Pareto(0, 1, 2), "shape = 0 must be positive"),
        (lambda: Mixture((), ()), "at least one"),
        (lambda: Mixture((1, 0), (Constant(1), Constant(2))), "must be positive"),
        (lambda: Quantiles((0,), (1,)), "at least two points"),
        (lambda: Quantiles((0.1, 1), (1, 2)), "first quantile must be 0"),
        (lambda: Quantiles((0, 0.5, 0.5, 1), (1, 2, 3, 4)), "must rise"),
        (lambda: Quantiles((0, 1), (2, 1)), "must not fall"),
    ],
)
def test_bad_laws_say_what_is_wrong(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
