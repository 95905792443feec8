"""What holds whatever ends connections: over random systems whose calls go over them."""

from __future__ import annotations

import math
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint, require_whole
from strategies import connected

from sim.scenario.model import Scenario
from sim.single import run

thorough = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 2**32)


def lives(changes):
    """From when to when there was each connection, by caller, process, target and endpoint: those of one endpoint first come,
    first gone, which tells how many there were at each time."""
    found = defaultdict(lambda: ([], []))
    for row in changes.itertuples():
        if row.state == "connected":
            found[row.caller, row.process, row.target, row.endpoint][0].append(row.time_s)
        elif row.state == "disconnected":
            found[row.caller, row.process, row.target, row.endpoint][1].append(row.time_s)
    return found


@thorough
@given(connected(), seeds)
def test_every_request_is_accounted_for_once_and_adds_up(scenario, seed):
    require_whole(run(scenario, seed))


@thorough
@given(connected(), seeds)
def test_an_answer_comes_while_there_is_a_connection(scenario, seed):
    result = run(scenario, seed)
    spans = defaultdict(list)  # by caller, target and endpoint: all processes together, for no row says which client it was
    for (caller, _, target, endpoint), (begins, ends) in lives(result.changes).items():
        assert len(ends) <= len(begins)
        ends += [math.inf] * (len(begins) - len(ends))
        spans[caller, target, endpoint] += zip(begins, ends, strict=True)
    answered = result.attempts[result.attempts.outcome.isin(["ok", "degraded", "error", "rejected"])]
    for row in answered.itertuples():
        reached, _, address = row.target.partition(".")
        through = reached not in scenario.services and address
        if not address or scenario.policy(row.caller.partition("@")[0], address if through else row.target).connections is None:
            continue  # a publish, or a call for which nothing is said of connections
        there = spans[row.caller, reached, row.replica]
        assert any(begin <= row.ended_s + 1e-9 and row.ended_s <= end + 1e-9 for begin, end in there), row


@thorough
@given(connected(), seeds)
def test_no_process_has_more_connections_than_it_may(scenario, seed):
    # Where none has to drain: those that do are not counted.
    lasting = [
        (selector, policy, dict.fromkeys(("max_age", "max_age_grace", "max_requests")))
        for selector, policy in scenario.as_data()["calls"].items()
    ]
    calls = {s: p | ({"connections": p["connections"] | off} if p.get("connections") else {}) for s, p, off in lasting}
    data = scenario.as_data() | {"calls": calls, "deployments": []}
    data["faults"] = [fault for fault in data.get("faults", []) if "stop" not in fault]
    for policy in calls.values():
        if policy.get("connections"):
            policy["connections"]["follow_discovery"] = False
    scenario = Scenario.model_validate(data)
    most = len(calls) * max(policy.connections.per_process for policy in scenario.calls.values() if policy.connections)
    balancers = {name for name, proxy in scenario.proxies.items() if proxy.layer == 4}
    now = defaultdict(int)
    changes = run(scenario, seed).changes
    assert "draining" not in set(changes.state) or balancers
    for row in changes.itertuples():
        who = row.caller, row.process, row.target
        if row.caller not in balancers:
            now[who] += {"connected": 1, "disconnected": -1}.get(row.state, 0)
            assert 0 <= now[who] <= most


@settings(thorough, max_examples=20)
@given(connected(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))
