"""What holds for every system: random topologies, loads, policies and faults."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint
from strategies import scenarios

from sim.records import OUTCOMES, PARTS
from sim.runtime.world import World
from sim.scenario.calls import LAYERS
from sim.scenario.model import Scenario
from sim.single import run
from sim.study import replicate

thorough = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
seeds = st.integers(0, 2**32)


@thorough
@given(scenarios(), seeds)
def test_everything_issued_is_accounted_for_once(scenario, seed):
    result = run(scenario, seed)
    requests, attempts = result.requests, result.attempts
    assert requests.request.tolist() == list(range(len(requests)))
    assert attempts.attempt.tolist() == list(range(len(attempts)))
    for table in (requests, attempts):
        assert (table.ended_s.isna() == (table.outcome == "in_flight")).all()
    # Every attempt belongs to a request that exists; every first call of a request is an attempt at the origin.
    assert set(attempts.request) <= set(requests.request)
    policy = scenario.policy("client", next(iter(scenario.load.mix)))
    origin = attempts[(attempts.parent == -1) & (attempts.caller == "client")]
    entered = origin[origin.target == next(iter(scenario.load.mix))]
    if not policy.guarded and policy.circuit_breaker is None:
        assert set(origin.request) == set(requests.request)
    # What the requests count is what was issued: attempts, and deliveries of messages.
    from_queues = result.effects[result.effects.queue.notna()]
    assert requests.attempts.sum() == len(attempts) + from_queues.deliveries.sum()
    ended = requests.set_index("request").outcome.astype(str)
    if not policy.guarded and policy.circuit_breaker is None:
        # The request ends as its last attempt at the origin did, unless its deadline fired in a pause.
        last = origin.groupby("request").outcome.last().astype(str)
        assert ((ended == last) | ended.isin(["timeout", "in_flight"])).all()
    # An answer was given by an attempt, or comes from a cache; less than was asked for by an attempt, or by what stands in.
    by_attempt = {name: set(rows.request) for name, rows in entered.groupby("outcome", observed=True)}
    if policy.cache is None:
        assert set(ended.index[ended == "ok"]) <= by_attempt.get("ok", set())
        if policy.fallback is None:
            assert set(ended.index[ended == "degraded"]) <= by_attempt.get("degraded", set())
    # Nobody has more attempts in all than tries and hedges allow.
    if policy.fallback is None or policy.fallback.call is None:
        most = policy.retry.max_attempts * (1 if policy.hedging is None else policy.hedging.max_attempts)
        background = policy.cache is not None and policy.cache.stale_while_revalidate > 0
        assert entered.groupby("request").size().max() <= most * (1 + background) or entered.empty


@thorough
@given(scenarios(), seeds)
def test_the_parts_of_a_latency_add_up_to_it(scenario, seed):
    result = run(scenario, seed)
    ended = result.requests[result.requests.outcome != "in_flight"]
    assert (ended[list(PARTS)] >= -1e-12).all().all()
    assert np.allclose(ended[list(PARTS)].sum(axis=1), ended.ended_s - ended.arrived_s, rtol=0, atol=1e-9)
    answered = result.attempts[result.attempts.outcome.isin(["ok", "degraded", "error", "rejected"])]
    own = answered[["queue_s", "service_s", "network_s"]].sum(axis=1)
    assert (own <= answered.ended_s - answered.started_s + 1e-9).all()


@thorough
@given(scenarios(crash_only=True), seeds)
def test_nothing_is_served_while_dead(scenario, seed):
    observed = []

    def watcher(world: World):
        before, lives = {}, Counter()

        def told_by(tell):
            return lambda replica: (lives.update([replica] * replica.alive), tell(replica))

        for service in world.services.values():
            service.changed = told_by(service.changed)  # a life may be shorter than the time between two looks
        while True:
            for service in world.services.values():
                for replica in service.replicas:
                    state = (replica.pool.busy, replica.pool.waiting, replica.served, lives[replica])
                    if not replica.alive:
                        known = before.get(replica, state)
                        observed.append(state[:2] == (0, 0) and (known == state or known[3] < state[3]))
                        before[replica] = state
                    else:
                        before.pop(replica, None)
            yield world.env.timeout(0.05)

    run(scenario, seed, processes=[watcher])
    assert all(observed)


@thorough
@given(scenarios(), seeds)
def test_every_message_ends_in_exactly_one_place(scenario, seed):
    result = run(scenario, seed)
    messages = result.effects[result.effects.queue.notna()]
    acknowledged = result.attempts[result.attempts.target.isin(list(scenario.queues)) & (result.attempts.outcome == "ok")]
    # A publisher may not hear of a message that is safe, but never believes in one that is not.
    counted = acknowledged.groupby("request").size().sub(messages.groupby("request").size(), fill_value=0)
    assert (counted <= 0).all()
    limit = {queue: spec.max_deliveries for queue, spec in scenario.queues.items()}
    for message in messages.itertuples():
        assert (message.fate == "done") <= (not np.isnan(message.done_s))
        assert limit[message.queue] == "unlimited" or message.deliveries <= limit[message.queue]
        assert message.fate != "dead" or message.deliveries == limit[message.queue]
    done = messages[messages.done_s.notna()]
    assert (done.published_s <= done.acked_s).all()
    assert (done.acked_s <= done.started_s).all()
    assert (done.started_s <= done.done_s).all()


@thorough
@given(scenarios(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))


@settings(thorough, max_examples=60)
@given(scenarios(), seeds)
def test_an_outcome_is_one_that_the_policies_allow(scenario, seed):
    requests = run(scenario, seed).requests
    policy = scenario.policy("client", next(iter(scenario.load.mix)))
    policies = [policy]
    if policy.fallback is not None and policy.fallback.call is not None:
        policies.append(scenario.policy("client", policy.fallback.call))
    possible = {"ok", "degraded", "error", "rejected", "unreachable", "in_flight"}
    if any(each.timeout is not None or each.per_try_timeout is not None for each in policies):
        possible.add("timeout")
    if any(each.circuit_breaker is not None for each in policies):
        possible.add("short_circuited")
    assert set(requests.outcome) <= possible <= set(OUTCOMES)
    if policy.fallback is not None and policy.fallback.call is None:
        assert not set(requests.outcome) & set(policy.fallback.on)
    if policy.timeout is not None and len(policies) == 1 and policy.layers == LAYERS and policy.cache is None:
        assert (requests.ended_s - requests.arrived_s).max() <= policy.timeout + 1e-9 or requests.empty


#: More than enough of everything, so that a caller with all of its layers does what one without them does.
_IDLE_GUARDS = {
    "connect_timeout": 1e6,
    "throttling": {"kind": "envoy", "max_rejection_percent": 0},
    "rate_limit": {"kind": "token_bucket", "rate": 1e6, "burst": 10**6},
    "concurrency_limit": {"max_concurrent": 10**6},
    "adaptive_concurrency": {"algorithm": "aimd", "initial_limit": 10**6, "min_limit": 10**6, "max_limit": 10**6},
    "outlier_detection": {"consecutive_5xx": 0, "enforcing_success_rate": 0},
    "cache": {"max_age": 1e-9, "keys": 10**6},
}


@thorough
@given(scenarios(guarded=False), seeds, st.sampled_from([*_IDLE_GUARDS, "all"]))
def test_layers_that_have_nothing_to_do_change_nothing(scenario, seed, layer):
    guards = _IDLE_GUARDS if layer == "all" else {layer: _IDLE_GUARDS[layer]}
    data = scenario.as_data()
    data["calls"]["default"] |= guards
    rival = Scenario.model_validate(data)
    assert rival.policy("client", "s0.op0").guarded
    assert fingerprint(run(scenario, seed)) == fingerprint(run(rival, seed))


@settings(thorough, max_examples=60)
@given(scenarios(), seeds, st.integers(2, 4))
def test_rivals_see_the_same_arrivals(scenario, seed, attempts):
    if scenario.load.kind == "closed":
        return  # users who wait for answers cannot arrive at the same times
    data = scenario.as_data()
    faults = [fault for fault in data.get("faults", []) if "flush" not in fault]  # the rival has no cache
    calls = {"default": {"retry": {"max_attempts": attempts}, "timeout": "2s"}}
    rival = Scenario.model_validate(data | {"calls": calls, "faults": faults})
    one, two = run(scenario, seed).requests, run(rival, seed).requests
    assert (one[["request", "entry", "arrived_s"]] == two[["request", "entry", "arrived_s"]]).all().all()


@pytest.mark.slow
def test_serial_equals_parallel(tmp_path):
    scenario = Scenario(
        services={
            "shop": {"replicas": 2, "workers": 4, "operations": {"buy": [{"call": "stock.check"}, {"publish": "mails"}]}},
            "stock": {"workers": 2, "operations": {"check": [{"work": {"exponential": 0.05}}, {"fail": 0.05}]}},
            "mail": {"workers": 1, "operations": {"send": [{"work": {"exponential": 0.03}}]}},
        },
        queues={"mails": {"consumer": "mail.send"}},
        calls={"default": {"timeout": 0.5, "retry": {"max_attempts": 2, "backoff": {"base": 0.05, "jitter": "full"}}}},
        faults=[{"crash": "stock", "mtbf": 10, "mttr": 1}],
        load={"rate": 20, "mix": "shop.buy"},
        run={"duration": 20, "replications": 4},
    )
    serial = replicate(scenario, workers=1)
    parallel = replicate(scenario, workers=2)
    assert serial.metrics.equals(parallel.metrics)
