"""What holds however replicas are found: over random systems with registries, checks, stops and proxies."""

from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint, require_whole
from strategies import ENTRY, searches

from sim.scenario.model import Scenario
from sim.single import run

thorough = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
seeds = st.integers(0, 2**32)


@thorough
@given(searches(), seeds)
def test_everything_is_accounted_for_and_adds_up(scenario, seed):
    result = run(scenario, seed)
    require_whole(result)
    assert set(result.requests.entry) <= {ENTRY}


@thorough
@given(searches(), seeds)
def test_nobody_is_called_whom_nobody_told_the_caller_about(scenario, seed):
    result = run(scenario, seed)
    told = defaultdict(list)  # (caller, service, replica): what its processes learned of it, and when
    for row in result.changes[result.changes.state.isin(["listed", "unlisted"])].itertuples():
        told[row.caller, row.process, row.target, row.endpoint].append((row.time_s, row.state == "listed"))
    processes = {row.attempt: row.replica for row in result.attempts.itertuples()}
    for row in result.attempts[result.attempts.replica >= 0].itertuples():
        service = row.target.split(".")[0]
        spec = scenario.services.get(service)
        if spec is None or spec.registry is None or row.caller == "client":
            continue  # a proxy, or no registry; which client it was, no row says
        if scenario.policy(row.caller.partition("@")[0], row.target).connections is not None:
            continue  # a connection outlives what was told of its replica
        process = processes.get(row.parent)
        if process is None:
            continue  # on behalf of a message
        known = {True}  # at the beginning everybody
        for time_s, listed in told[row.caller, process, service, row.replica]:
            if time_s > row.started_s:
                break
            known = {listed} | (known if time_s == row.started_s else set())
        assert True in known, row


@settings(thorough, max_examples=60)
@given(searches(), seeds)
def test_every_view_converges_after_the_last_change(scenario, seed):
    data = scenario.as_data()
    faults = [fault for fault in data.get("faults", []) if "at" in fault and "for" in fault]  # all is mended by 10 s
    calm = {"kind": "constant", "rate": 2, "mix": ENTRY, "clients": 2}
    data |= {"faults": faults, "load": calm, "run": {"duration": 60, "drain": 0}}
    data["links"] = {"default": 0.001}
    result = run(Scenario.model_validate(data), seed)
    last, truth = {}, {}
    for row in result.changes.itertuples():
        if row.state in ("listed", "unlisted"):
            last[row.caller, row.process, row.target, row.endpoint] = row.state
        elif row.state in ("down", "up"):
            truth[row.target, row.endpoint] = row.state
    overloaded = any(service.readiness is not None for service in scenario.services.values())
    if not overloaded:  # else a replica may fail its checks because of what it still has to do
        for (_, _, service, endpoint), state in last.items():
            there = truth.get((service, endpoint), "up" if endpoint < scenario.services[service].replicas else "down")
            assert state == {"up": "listed", "down": "unlisted"}[there]


@settings(thorough, max_examples=40)
@given(searches(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))
