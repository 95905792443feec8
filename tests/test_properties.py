"""What holds for every system: random topologies, loads, policies and faults."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint
from strategies import scenarios

from sim.records import OUTCOMES, PARTS
from sim.runtime.world import World
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
    origin = attempts[attempts.parent == -1]
    assert set(origin[origin.caller == "client"].request) == set(requests.request)
    # What the requests count is what was issued: attempts, and deliveries of messages.
    from_queues = result.effects[result.effects.queue.notna()]
    assert requests.attempts.sum() == len(attempts) + from_queues.deliveries.sum()
    # The request ends as its last attempt at the origin did, unless its deadline fired in a pause.
    last = origin[origin.caller == "client"].groupby("request").outcome.last()
    ended = requests.set_index("request").outcome
    assert ((ended.astype(str) == last.astype(str)) | ended.isin(["timeout", "in_flight"])).all()


@thorough
@given(scenarios(), seeds)
def test_the_parts_of_a_latency_add_up_to_it(scenario, seed):
    result = run(scenario, seed)
    ended = result.requests[result.requests.outcome != "in_flight"]
    assert (ended[list(PARTS)] >= -1e-12).all().all()
    assert np.allclose(ended[list(PARTS)].sum(axis=1), ended.ended_s - ended.arrived_s, rtol=0, atol=1e-9)
    answered = result.attempts[result.attempts.outcome.isin(["ok", "error", "rejected"])]
    own = answered[["queue_s", "service_s", "network_s"]].sum(axis=1)
    assert (own <= answered.ended_s - answered.started_s + 1e-9).all()


@thorough
@given(scenarios(crash_only=True), seeds)
def test_nothing_is_served_while_dead(scenario, seed):
    observed = []

    def watcher(world: World):
        before = {}
        while True:
            for service in world.services.values():
                for replica in service.replicas:
                    state = (replica.served, replica.pool.busy, replica.pool.waiting)
                    if not replica.alive:
                        observed.append(state[1:] == (0, 0) and before.get(replica, state) == state)
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
    possible = {"ok", "error", "rejected", "unreachable", "in_flight"}
    if policy.timeout is not None or policy.per_try_timeout is not None:
        possible.add("timeout")
    assert set(requests.outcome) <= possible <= set(OUTCOMES)
    if policy.timeout is not None:
        assert (requests.ended_s - requests.arrived_s).max() <= policy.timeout + 1e-9 or requests.empty


@settings(thorough, max_examples=60)
@given(scenarios(), seeds, st.integers(2, 4))
def test_rivals_see_the_same_arrivals(scenario, seed, attempts):
    if scenario.load.kind == "closed":
        return  # users who wait for answers cannot arrive at the same times
    rival = Scenario.model_validate(
        scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        | {"calls": {"default": {"retry": {"max_attempts": attempts}, "timeout": "2s"}}}
    )
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
