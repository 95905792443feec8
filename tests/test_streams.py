"""The random streams: reproducible, uniform, and independent between seeds, purposes, parents and counters.

Seeds are fixed, so each of these statistical tests gives the same p-value on every machine; the bounds were chosen
before looking (two-sided, p between 1e-4 and 1 - 1e-4: "too even" is as wrong as "too uneven").
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from sim.streams import child, key, salt, uniform

DRAWS = 50_000

KNOWN = {
    "key": 1442999299142843681,
    "salt": 18184512365998044187,
    "child": 7385056365141034616,
    "uniform": 0.40034470775069064,
}


def uniforms(keys):
    return np.fromiter((uniform(k) for k in keys), dtype=float)


#: Different ways in which the simulator walks through keys; each must look like independent uniform numbers.
WALKS = {
    "counters of one parent": lambda: (child(key(1, "arrivals"), i) for i in range(DRAWS)),
    "one purpose of many parents": lambda: (child(child(key(1, "requests"), i), salt("work")) for i in range(DRAWS)),
    "grandchildren": lambda: (child(child(child(key(2, "requests"), i), 1), salt("fail")) for i in range(DRAWS)),
    "first child of many seeds": lambda: (child(key(seed, "arrivals"), 0) for seed in range(DRAWS)),
    "many names": lambda: (key(7, "process", "shop", i) for i in range(DRAWS)),
    "raw keys 0, 1, 2": lambda: (child(i, 1) for i in range(DRAWS)),
}


def assert_plausible(p_value):
    assert 1e-4 < p_value < 1 - 1e-4


@pytest.mark.parametrize("walk", WALKS)
def test_draws_are_uniform(walk):
    u = uniforms(WALKS[walk]())
    counts = np.bincount((u * 256).astype(int), minlength=256)
    assert_plausible(stats.chisquare(counts).pvalue)
    assert_plausible(stats.kstest(u, "uniform").pvalue)


@pytest.mark.parametrize("walk", WALKS)
def test_neighbours_are_independent(walk):
    u = uniforms(WALKS[walk]())
    for lag in (1, 2, 3, 10):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) * np.sqrt(DRAWS) < 4
    # Pairs that do not overlap, on a 16 × 16 board: catches dependence that a correlation does not see.
    board = np.bincount((u[0::2] * 16).astype(int) * 16 + (u[1::2] * 16).astype(int), minlength=256)
    assert_plausible(stats.chisquare(board).pvalue)


@pytest.mark.parametrize("walk", WALKS)
def test_every_bit_is_fair(walk):
    bits = np.fromiter(WALKS[walk](), dtype=np.uint64)
    ones = np.array([(bits >> np.uint64(b) & np.uint64(1)).sum() for b in range(64)], dtype=float)
    z = (ones - DRAWS / 2) / np.sqrt(DRAWS / 4)
    assert np.abs(z).max() < 4.5
    assert_plausible(stats.chi2(64).sf((z**2).sum()))


SALTS = [salt(name) for name in ("work", "fail", "pick", "pause", "there", "back")] + [0, 1, 2, 3]


@pytest.fixture(scope="module")
def draws_by_purpose():
    parents = [child(key(3, "requests"), i) for i in range(20_000)]
    return [uniforms(child(p, purpose) for p in parents) for purpose in SALTS]


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(range(len(SALTS)), 2)))
def test_purposes_of_one_parent_are_independent(a, b, draws_by_purpose):
    u, v = draws_by_purpose[a], draws_by_purpose[b]
    board = np.bincount((u * 16).astype(int) * 16 + (v * 16).astype(int), minlength=256)
    assert_plausible(stats.chisquare(board).pvalue)
    assert abs(np.corrcoef(u, v)[0, 1]) * np.sqrt(len(u)) < 4.5


def test_a_parent_says_nothing_about_its_child():
    parents = [child(key(4, "requests"), i) for i in range(DRAWS)]
    u = uniforms(parents)
    for purpose in (0, 1, salt("work")):
        v = uniforms(child(p, purpose) for p in parents)
        board = np.bincount((u * 16).astype(int) * 16 + (v * 16).astype(int), minlength=256)
        assert_plausible(stats.chisquare(board).pvalue)


def test_seeds_that_follow_each_other_are_independent():
    streams = [uniforms(child(key(seed, "arrivals"), i) for i in range(4000)) for seed in range(1, 21)]
    correlations = np.corrcoef(streams)[np.triu_indices(20, 1)] * np.sqrt(4000)
    assert np.abs(correlations).max() < 4.5
    assert_plausible(stats.kstest(correlations, "norm").pvalue)


@pytest.mark.parametrize("argument", ["parent", "purpose"])
def test_avalanche(argument):
    # Turning one bit of the input turns each bit of the output in half of the cases.
    trials = 600
    flips = np.zeros((64, 64))
    places = np.arange(64, dtype=np.uint64)
    for trial in range(trials):
        parent, purpose = key(5, "parent", trial), key(5, "purpose", trial)
        before = child(parent, purpose)
        for bit in range(64):
            turned = 1 << bit
            after = child(parent ^ turned, purpose) if argument == "parent" else child(parent, purpose ^ turned)
            flips[bit] += (np.uint64(before ^ after) >> places) & np.uint64(1)
    z = (flips / trials - 0.5) * 2 * np.sqrt(trials)
    assert np.abs(z).max() < 5.5  # of 4,096 normal numbers
    assert abs(z.mean()) < 0.06
    assert 0.9 < z.std() < 1.1


def test_no_two_keys_of_a_large_run_are_the_same():
    requests = [child(key(6, "requests"), i) for i in range(20_000)]
    keys = [child(child(r, attempt), purpose) for r in requests for attempt in (1, 2, 3) for purpose in SALTS[:4]]
    assert len(set(requests + keys)) == len(requests) + len(keys)


def test_keys_are_the_same_for_ever():
    # Results carry their seed; a change of these numbers makes all old results unrepeatable.
    assert key(1, "arrivals") == KNOWN["key"]
    assert salt("work") == KNOWN["salt"]
    assert child(key(1, "arrivals"), 5) == KNOWN["child"]
    assert uniform(KNOWN["child"]) == KNOWN["uniform"]


def test_splitmix64_reference():
    # Vigna's splitmix64.c, seed 1234567: the first three outputs. Counter n of a parent is the n-th output.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [child(1234567, i) for i in (1, 2, 3)] == expected


def test_names_do_not_run_into_each_other():
    assert len({key(1, "ab", "c"), key(1, "a", "bc"), key(1, "abc"), key(1), key(11), key(1, 1)}) == 6
    assert salt("work") != key(1, "work")


def test_uniform_stays_inside_the_open_interval_and_keeps_order():
    bits = [0, 1, 2**12, 2**63, 2**64 - 1]
    numbers = [uniform(b) for b in bits]
    assert numbers == sorted(numbers)
    assert 0 < numbers[0] < 1e-15
    assert 1 - 1e-15 < numbers[-1] < 1
    assert uniform(2**63) == 0.5 + 2.0**-53
