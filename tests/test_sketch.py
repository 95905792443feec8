"""The sketch of durations: exact quantiles are the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.sketch import BUCKETS, RELATIVE_ERROR, Sketch, quantiles, values_s

PROBABILITIES = [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0]


def sketch_of(values):
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


durations = st.one_of(st.just(0.0), st.floats(2e-9, 1e8))


@settings(deadline=None)
@given(st.lists(durations, min_size=1, max_size=60))
def test_every_quantile_is_within_one_percent_of_the_exact_one(values):
    found = quantiles(sketch_of(values).counts(), PROBABILITIES)
    assert found == pytest.approx(np.quantile(values, PROBABILITIES), rel=RELATIVE_ERROR + 1e-9, abs=1e-9)


def test_a_long_tail_of_many_values():
    values = np.random.default_rng(1).lognormal(-3, 1.5, 100_000)
    found = quantiles(sketch_of(values).counts(), PROBABILITIES)
    assert found == pytest.approx(np.quantile(values, PROBABILITIES), rel=RELATIVE_ERROR)


def test_the_error_is_no_smaller_than_stated_by_much():
    values = np.geomspace(0.001, 0.0011, 2000)
    errors = [abs(quantiles(sketch_of([value]).counts(), [0.5])[0] / value - 1) for value in values]
    assert 0.95 * RELATIVE_ERROR < max(errors) <= RELATIVE_ERROR * (1 + 1e-9)


@settings(deadline=None)
@given(st.lists(durations, max_size=30), st.lists(durations, max_size=30))
def test_merging_is_adding_counts(some, others):
    assert (sketch_of(some).counts() + sketch_of(others).counts() == sketch_of(some + others).counts()).all()


def test_the_ends():
    assert np.isnan(quantiles(Sketch().counts(), [0.5])).all()
    sketch = sketch_of([0.0, 1e-12, 1e30])
    assert sketch.counts()[0] == 2
    assert sketch.counts()[BUCKETS - 1] == 1
    assert values_s([BUCKETS - 1])[0] > 0.9e9
