"""Registries, told the time: leases, sweeps, self-preservation, what readers see and when; then how late callers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.discovery import Belief, Discovery
from sim.policies.registry import Registry, RegistryGate
from sim.scenario.registries import DISCOVERIES, HEALTH_CHECKS, REGISTRIES

EUREKA = REGISTRIES["eureka@2"]


def eureka(**own):
    return Registry.model_validate(EUREKA.under(own))


def node(start_s=0.0, sweep_u=1.0, cache_u=1.0, **own):
    return RegistryGate(Registry(**own), start_s, sweep_u, cache_u)


# Leases.


def test_a_lease_that_is_not_renewed_ends_and_one_that_is_goes_on():
    gate = node(heartbeat_interval=10, lease_duration=30)
    gate.register(0.0, 1)
    gate.register(0.0, 2)
    assert gate.renew(10.0, 2)
    assert gate.next_sweep_s == 30.0
    assert gate.sweep(30.0, []) == [1]
    assert gate.instances(30.0) == (2,)
    assert gate.next_sweep_s == 40.0


def test_in_eureka_a_renewal_is_good_for_twice_as_long_and_a_registration_is_not():
    gate = node(heartbeat_interval=30, lease_duration=90, renewal_adds_lease=True)
    gate.register(0.0, 1)
    assert gate.next_sweep_s == 90.0
    gate.renew(30.0, 1)
    assert gate.next_sweep_s == 210.0
    gate.register(60.0, 1)  # again: a new lease, which ends earlier than the old one
    assert gate.next_sweep_s == 150.0


def test_who_is_not_known_has_to_register_again():
    gate = node(heartbeat_interval=10, lease_duration=30)
    assert not gate.renew(0.0, 1)
    gate.register(1.0, 1)
    gate.sweep(31.0, [])
    assert not gate.renew(31.0, 1)
    assert 1 not in gate


def test_a_lease_that_has_ended_lives_on_if_it_is_renewed_before_the_sweep():
    gate = node(heartbeat_interval=10, lease_duration=30, eviction_interval=60)
    gate.register(0.0, 1)
    assert gate.renew(59.0, 1)
    assert gate.sweep(60.0, []) == []


def test_sweeps_are_at_their_ticks_and_a_node_that_is_there_for_long_has_a_phase():
    gate = node(start_s=5.0, sweep_u=0.25, heartbeat_interval=10, lease_duration=30, eviction_interval=60)
    gate.register(5.0, 1)
    assert gate.next_sweep_s == 20.0
    assert gate.sweep(20.0, []) == []
    assert gate.next_sweep_s == 80.0
    assert gate.instances(79.9) == (1,)  # ended at 35 s
    assert gate.sweep(80.0, []) == [1]
    assert gate.next_sweep_s == 140.0


def test_a_sweep_evicts_15_percent_of_all_rounded_up_and_chance_says_whom():
    def swept(us):
        gate = node(heartbeat_interval=10, lease_duration=30, eviction_interval=60, max_eviction_percent=15)
        for i in range(20):
            gate.register(0.0, i)
        return [gate.sweep(60.0 * (k + 1), us[3 * k :]) for k in range(2)]

    # 3 of 20; then 3 of 17: 17 - int(17 · 0.85) = 17 - 14.
    assert swept([0.0] * 6) == [[0, 1, 2], [3, 4, 5]]
    assert swept([0.999] * 6)[0] == [19, 0, 1]  # the last one, which then changes places with the first


def test_one_instance_may_be_the_last():
    gate = node(heartbeat_interval=10, lease_duration=30, eviction_interval=60, max_eviction_percent=15)
    gate.register(0.0, 4)
    assert gate.sweep(60.0, [0.5]) == [4]


# Self-preservation.


def beating(gate, renewed, until_s, since_s=0.0, every_s=30.0):
    """Heartbeats of some instances, and sweeps, in the order of time; who was evicted."""
    beats = [(since_s + k * every_s, i) for i in renewed for k in range(1, int((until_s - since_s) / every_s) + 1)]
    evicted = []
    for when_s, i in sorted(beats):
        while gate.next_sweep_s <= when_s:
            evicted += gate.sweep(gate.next_sweep_s, iter(lambda: 0.0, 1.0))
        gate.renew(when_s, i)
    while gate.next_sweep_s <= until_s:
        evicted += gate.sweep(gate.next_sweep_s, iter(lambda: 0.0, 1.0))
    return evicted


def living(instances, **own):
    gate = RegistryGate(eureka(**own), sweep_u=0.5)
    gate.adopt(0.0, dict.fromkeys(range(instances), 0.0))
    return gate


@pytest.mark.parametrize(("instances", "evicts"), [(2, False), (6, False), (7, True), (10, True)])
def test_eureka_evicts_a_crashed_instance_only_where_there_are_seven_or_more(instances, evicts):
    gate = living(instances)
    # Renewals of the last minute must be more than int(2 N · 0.85): of 6, 10 are not more than 10; of 7, 12 are more than 11.
    assert beating(gate, range(1, instances), 400.0) == ([0] if evicts else [])


@pytest.mark.parametrize(("instances", "evicts"), [(12, False), (13, True)])
def test_spring_expects_one_client_more(instances, evicts):
    gate = living(instances, clients_at_start=1)
    assert (beating(gate, range(1, instances), 400.0) == [0]) == evicts


def test_nobody_is_evicted_while_too_few_renewals_arrive_and_evictions_go_on_when_they_are_back():
    gate = living(20)
    assert beating(gate, range(16), 600.0) == []
    assert gate.preserving
    assert not any(gate.renew(601.0, i) for i in range(20, 25))
    for i in range(16, 18):
        gate.renew(601.0, i)
    # 18 of 20 renew: 36 > int(40 · 0.85). The two that are left go at once.
    assert beating(gate, range(18), 1200.0, since_s=600.0) == [18, 19]
    assert not gate.preserving


def test_without_self_preservation_all_go_a_few_at_a_time():
    gate = living(20, self_preservation_percent=0)
    assert beating(gate, [], 181.0) == []
    assert len(beating(gate, [], 211.0)) == 3
    assert not gate.preserving


def test_renewals_are_counted_in_whole_minutes():
    gate = RegistryGate(Registry(eviction_interval=60, self_preservation_percent=85))
    for i in range(10):
        gate.register(0.0, i)
    for t in (10.0, 20.0):
        for i in range(10):
            gate.renew(t, i)
    gate.sweep(59.0, [])
    assert gate.preserving  # no whole minute yet
    gate.sweep(60.0, [])
    assert not gate.preserving
    gate.sweep(120.0, [])
    assert gate.preserving  # none in the second minute
    for t in (310.0, 320.0):
        for i in range(10):
            gate.renew(t, i)
    gate.sweep(420.0, [])
    assert gate.preserving  # those were in the minute before the last one


def test_minutes_begin_with_the_sweeps():
    gate = RegistryGate(Registry(eviction_interval=60, self_preservation_percent=85), sweep_u=0.5)
    for i in range(10):
        gate.register(0.0, i)
    for t in (10.0, 20.0):
        for i in range(10):
            gate.renew(t, i)
    assert gate.preserving
    gate.sweep(30.0, [])
    assert not gate.preserving  # the minute to 30 s is over, with 20 renewals


def test_a_registry_that_is_there_for_long_has_counted_its_renewals():
    assert not living(10).preserving
    gate = living(10)
    gate.sweep(30.0, [])
    assert not gate.preserving
    gate.sweep(90.0, [])
    assert gate.preserving  # nobody has renewed since 0


def test_where_less_than_one_renewal_is_expected_nobody_is_ever_evicted():
    few = {"heartbeat_interval": 60, "lease_duration": 90, "eviction_interval": 60}
    assert beating(two_of(**few), [1], 600.0, every_s=60.0) == [0]
    assert beating(two_of(**few, self_preservation_percent=40), [1], 600.0, every_s=60.0) == []  # int(2 · 1 · 0.4) = 0


def two_of(**own):
    gate = node(**own)
    gate.register(0.0, 0)
    gate.register(0.0, 1)
    return gate


def test_an_empty_registry_does_not_preserve():
    assert not RegistryGate(eureka()).preserving


# What readers see.


def test_the_response_cache_shows_what_was_true_at_its_last_renewal():
    gate = node(start_s=0.0, cache_u=0.5, response_cache=30)
    gate.register(1.0, 1)
    assert gate.instances(2.0) == (1,)  # the first to ask fills it
    gate.register(3.0, 2)
    assert gate.instances(14.9) == (1,)
    assert gate.instances(15.0) == (1, 2)
    gate.deregister(16.0, 1)
    gate.register(17.0, 1)
    gate.deregister(44.0, 2)
    gate.register(46.0, 3)
    assert gate.instances(46.0) == (1,)  # as at 45 s, though nobody asked then
    assert gate.instances(75.0) == (1, 3)


def test_a_change_at_the_renewal_of_the_cache_is_in_the_next_one():
    gate = node(response_cache=30)
    assert gate.instances(0.0) == ()
    gate.register(30.0, 1)
    assert gate.instances(59.0) == ()
    assert gate.instances(60.0) == (1,)


def test_a_change_is_published_later_and_the_last_change_stays():
    gate = node(heartbeat_interval=None)
    gate.register(0.0, 1, delay_s=10.0)
    assert gate.next_publication_s == 10.0
    assert gate.instances(9.9) == ()
    assert gate.instances(10.0) == (1,)
    gate.set_ready(20.0, 1, False, delay_s=10.0)
    gate.set_ready(21.0, 1, True, delay_s=1.0)  # overtakes
    assert gate.instances(40.0) == (1,)
    assert gate.changes == [(10.0, 1, True)]
    assert gate.next_publication_s == math.inf


def test_the_cache_sees_what_was_published_by_its_renewal():
    gate = node(response_cache=30, heartbeat_interval=None)
    assert gate.instances(0.0) == ()
    gate.register(5.0, 1, delay_s=20.0)
    gate.register(5.0, 2, delay_s=30.0)
    assert gate.instances(40.0) == (1,)
    assert gate.instances(60.0) == (1, 2)


def test_readiness_decides_where_there_are_no_leases():
    gate = node(heartbeat_interval=None)
    gate.register(0.0, 1, ready=False)
    gate.register(0.0, 2)
    assert gate.instances(0.0) == (2,)
    assert gate.set_ready(5.0, 1, True)
    assert not gate.set_ready(6.0, 1, True)
    assert gate.set_ready(7.0, 2, False)
    assert gate.instances(1e9) == (1,)
    assert (len(gate), gate.next_sweep_s) == (2, math.inf)
    assert gate.deregister(1e9, 1)
    assert not gate.deregister(1e9, 1)
    assert not gate.set_ready(1e9, 1, True)
    assert gate.instances(1e9) == ()


def test_one_that_was_not_ready_and_registers_again_starts_anew():
    gate = node(heartbeat_interval=None)
    gate.register(0.0, 1)
    gate.set_ready(1.0, 1, False)
    gate.deregister(2.0, 1)
    gate.register(3.0, 1)
    assert gate.instances(3.0) == (1,)
    assert [(t, seen) for t, _, seen in gate.changes] == [(0.0, True), (1.0, False), (3.0, True)]


# How late callers are (SD1, SD1b, SD1c, SD2): one instance of ten dies at 0, at random phases of all clocks.


def lateness(spec, discovery, us, graceful=False, delay_s=0.0):
    """How long a caller with calls all the time still believes in the instance that is gone."""
    beat_u, sweep_u, cache_u, poll_u, copy_u = us
    gate = RegistryGate(spec, 0.0, sweep_u, cache_u)
    beat_s = spec.heartbeat_interval or 0.0
    gate.adopt(0.0, {0: -beat_u * beat_s, 1: 0.0})
    gate.instances(0.0)
    view = Belief(discovery, [0, 1], 0.0, poll_u, copy_u)
    if graceful:
        gate.deregister(0.0, 0, delay_s)
    now_s = 0.0
    while 0 in view.known(now_s):
        beats_s = (now_s // beat_s + 1) * beat_s if beat_s else math.inf
        copies_s = view.cached_until_s if view.cached_until_s > now_s else math.inf
        now_s = min(gate.next_sweep_s, view.due_s, copies_s, beats_s)
        if beats_s == now_s:
            gate.renew(now_s, 1)
        if gate.next_sweep_s == now_s:
            gate.sweep(now_s, [0.5] * 2)
        if view.due_s == now_s:
            view.learn(now_s, gate.instances(now_s))
    return now_s


def simulated(spec, discovery, count=2000, **how):
    rng = np.random.default_rng(11)
    # Each clock's phases are spread evenly (a Latin square), which makes the means far more exact than the tolerance.
    draws = np.array([(rng.permutation(count) + rng.random(count)) / count for _ in range(5)]).T
    return np.array([lateness(spec, discovery, us, **how) for us in draws])


def timings(**own):
    """30/90/60/30/30/30, as published: no percentages, so that two instances stand for ten."""
    return Registry(heartbeat_interval=30, lease_duration=90, eviction_interval=60, response_cache=30, **own)


@pytest.mark.parametrize(
    ("own", "graceful", "mean_s", "most_s"),
    [
        ({}, False, 150.0, 240.0),  # SD1
        ({"renewal_adds_lease": True}, False, 240.0, 330.0),  # SD1b
        ({}, True, 45.0, 90.0),  # SD1c
    ],
)
def test_eureka_s_timings(own, graceful, mean_s, most_s):
    late_s = simulated(timings(**own), Discovery(refresh_interval=30, cache=30), graceful=graceful)
    assert late_s.mean() == pytest.approx(mean_s, rel=0.02)
    assert late_s.max() <= most_s
    assert late_s.max() > most_s - 25  # five clocks are seldom all at their worst
    assert late_s.mean() * 100.0 / 10 == pytest.approx(mean_s * 10, rel=0.02)  # failures, at 100 a second over ten


def test_dns_is_late_by_its_publication_and_half_its_time_to_live():
    for publish_s, ttl_s in ((0.0, 30.0), (60.0, 30.0), (5.0, 300.0)):  # SD2
        dns = Discovery(mode="dns", ttl=ttl_s)
        late_s = simulated(Registry(heartbeat_interval=None), dns, graceful=True, delay_s=publish_s)
        assert late_s.mean() == pytest.approx(publish_s + ttl_s / 2, rel=0.02)
        assert publish_s <= late_s.min()
        assert publish_s + 0.99 * ttl_s < late_s.max() <= publish_s + ttl_s


def test_who_keeps_an_answer_for_longer_is_late_by_that():
    dns = Discovery(mode="dns", ttl=30, keeps=300)
    late_s = simulated(Registry(heartbeat_interval=None), dns, graceful=True)
    assert late_s.mean() == pytest.approx(150.0, rel=0.02)


# Properties.

CROWD = st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 1.0)), min_size=1, max_size=40)


@given(
    phases=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=12),
    sweep_u=st.floats(0.01, 1.0),
    twice=st.booleans(),
    percent=st.sampled_from([15, 50, 100]),
    preservation=st.sampled_from([0, 85]),
)
@settings(max_examples=60, deadline=None)
def test_who_renews_is_never_evicted(phases, sweep_u, twice, percent, preservation):
    spec = Registry(
        renewal_adds_lease=twice, eviction_interval=60, max_eviction_percent=percent, self_preservation_percent=preservation
    )
    gate = RegistryGate(spec, 0.0, sweep_u)
    for i, phase in enumerate(phases):
        gate.register(phase * 1e-3, i)
    beats = sorted((30.0 * (k + phase), i) for i, phase in enumerate(phases) for k in range(1, 20))
    for when_s, i in beats:
        while gate.next_sweep_s < when_s:
            assert gate.sweep(gate.next_sweep_s, [0.5] * 12) == []
        assert gate.renew(when_s, i)
    assert gate.instances(600.0) == tuple(range(len(phases)))


@given(instances=st.integers(1, 30), dead=st.integers(1, 30), sweep_u=st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_nothing_is_evicted_while_renewals_fall_short(instances, dead, sweep_u):
    dead = min(dead, instances)
    gate = RegistryGate(eureka(), 0.0, sweep_u)
    gate.adopt(0.0, {i: -0.5 * i for i in range(instances)})
    evicted, alive = set(), range(dead, instances)
    beats = sorted((30.0 * k - 0.5 * i, i) for i in alive for k in range(1, 20))
    short = 2 * len(alive) <= int(2 * instances * 0.85)
    for when_s, i in [*beats, (570.0, None)]:
        while gate.next_sweep_s < when_s:
            evicted |= set(gate.sweep(gate.next_sweep_s, iter(lambda: 0.25, 1.0)))
        if i is not None:
            assert gate.renew(when_s, i)
    # The crash is at 0: until the first whole minute after it has ended, the renewals before it still count, but no lease ends.
    assert evicted == (set() if short else set(range(dead)))


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["register", "unready", "ready", "deregister", "look"]),
            st.integers(0, 3),
            st.floats(0.0, 20.0),
            st.sampled_from([0.0, 3.0, 11.0]),
        ),
        max_size=40,
    ),
    cache_s=st.sampled_from([0.0, 7.0]),
)
@settings(max_examples=150, deadline=None)
def test_readers_see_the_last_published_change_of_each_instance(steps, cache_s):
    """Against a plain model: all changes with their times of publication; the answer is read off at the last renewal."""
    gate = node(heartbeat_interval=None, response_cache=cache_s)
    gate.instances(0.0)
    registered, ready, told, now_s = set(), set(), [], 0.0

    def shown(at_s, strictly):
        last = {}
        for when_s, delay_s, i, visible in told:
            if when_s + delay_s < at_s or (not strictly and when_s + delay_s == at_s):
                last[i] = visible
        return tuple(sorted(i for i, visible in last.items() if visible))

    for what, i, pause_s, delay_s in steps:
        now_s += pause_s
        before = registered & ready
        if what == "register":
            gate.register(now_s, i, delay_s=delay_s)
            registered.add(i)
            ready.add(i)
        elif what == "deregister":
            gate.deregister(now_s, i, delay_s)
            registered.discard(i)
        elif what != "look":
            gate.set_ready(now_s, i, what == "ready", delay_s)
            if i in registered:
                (ready.add if what == "ready" else ready.discard)(i)
        if (registered & ready) != before:
            told.append((now_s, delay_s, i, i in registered & ready))
        tick_s = math.floor(now_s / cache_s) * cache_s if cache_s else now_s
        assert gate.instances(now_s) == shown(tick_s, strictly=bool(cache_s))
    assert gate.instances(1e6) == tuple(sorted(registered & ready))  # it converges


# What may be written.


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"lease_duration": 30}, "before the next heartbeat"),
        ({"max_eviction_percent": 15}, "give an eviction_interval"),
        ({"self_preservation_percent": 85}, "give an eviction_interval"),
        ({"heartbeat_interval": None, "eviction_interval": 60}, "eviction_interval is read where there are leases only"),
        ({"max_eviction_percent": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(own, says):
    with pytest.raises(ValidationError, match=says):
        Registry(**own)


def test_presets_are_specifications_and_what_is_written_lies_over_them():
    for presets, spec in ((REGISTRIES, Registry), (DISCOVERIES, Discovery)):
        for name, one in presets.items():
            assert "@" in name
            assert spec.model_validate(one.under({})) is not None
    mine = eureka(eviction_interval=10)
    assert (mine.eviction_interval, mine.lease_duration, mine.max_eviction_percent) == (10.0, 90.0, 15)
    spring = DISCOVERIES["spring-cloud@2025"].under({})
    assert (spring["refresh_interval"], spring["cache"]) == (30.0, 35.0)


def test_a_law_replaces_the_law_of_a_preset():
    slower = REGISTRIES["kubernetes@1"].under({"crash_delay": {"exponential": 2.0}})
    assert Registry.model_validate(slower).crash_delay.mean == 2.0


def test_every_number_of_a_preset_has_a_source():
    for one in [*REGISTRIES.values(), *DISCOVERIES.values(), *HEALTH_CHECKS.values()]:
        assert set(one.sources) == set(one.on)
        assert all(len(source) > 10 for source in one.sources.values())
