"""What holds with zones: over random systems with registries, proxies, queues, outages of zones and partitions."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint, require_whole
from strategies import zoned

from sim.scenario.model import Scenario
from sim.single import run

thorough = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
seeds = st.integers(0, 2**32)


@thorough
@given(zoned(), seeds)
def test_everything_is_accounted_for_and_adds_up(scenario, seed):
    result = run(scenario, seed)
    require_whole(result)
    attempts = result.attempts
    inside = (attempts.started_s >= scenario.run.warmup) & (attempts.started_s < scenario.run.end)
    assert result.zone_calls.attempts.sum() == inside.sum()
    assert result.zone_calls.good.sum() == (inside & attempts.outcome.isin(["ok", "degraded"])).sum()


@settings(thorough, max_examples=15)
@given(zoned(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))


@thorough
@given(zoned(calm=True), seeds)
def test_without_outages_no_call_leaves_a_zone_in_which_there_is_a_replica(scenario, seed):
    """With the own zone first; what keeps endpoints out by itself (breakers, outlier detection, checks) is left out here."""
    data = scenario.as_data()
    keep = ("timeout", "per_try_timeout", "retry", "balancing", "discovery", "cancellation", "hedging", "cache", "fallback")
    data["calls"] = {
        name: {**{k: v for k, v in policy.items() if k in keep}, "zone_routing": "same_zone_first"}
        for name, policy in data["calls"].items()
    }
    for policy in data["calls"].values():
        balancing = policy.get("balancing")
        if isinstance(balancing, dict):  # a subset is drawn before, perhaps without anybody in the zone
            balancing.pop("subset_size", None)
        policy.pop("discovery", None)
    for name, service in data["services"].items():
        service |= {"replicas": 3 if name != "last" else 4}
        service.pop("registry", None)
        service.pop("readiness", None)
    data["load"] |= {"clients": 3, "zones": ["x", "y", "z"]}
    data["registries"] = {}
    found = run(Scenario.model_validate(data), seed).zone_calls
    to_services = found[~found.target.isin(list(scenario.queues))]
    assert len(to_services) > 0
    chosen = to_services[to_services.to_zone.notna()]
    assert (chosen.from_zone.astype(str) == chosen.to_zone.astype(str)).all()
