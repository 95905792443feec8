"""What holds whatever calls speak: over random systems with connections, protocols, losses and narrow links."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import fingerprint
from strategies import connected

from sim.records import PARTS
from sim.scenario.model import Scenario
from sim.single import run

thorough = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 2**32)
sizes = st.sampled_from(["0 B", "1 B", "300 B", "20 kB", "200 kB"])


@st.composite
def spoken(draw):
    """A random system whose calls have a protocol."""
    data = draw(connected()).as_data()
    for service in data["services"].values():
        for name, operation in service["operations"].items():
            steps = operation if isinstance(operation, dict) else {"steps": operation}
            service["operations"][name] = {**steps, "request": draw(sizes), "response": draw(sizes)}
        if draw(st.booleans()):
            service["max_connections"] = draw(st.integers(1, 4))
    http = draw(st.sampled_from(["http/1.1", "http/2", "http/3"]))
    security = None if http == "http/3" else draw(st.sampled_from(["none", "tls-1.2", "tls-1.3"]))
    protocol = {
        "profile": draw(st.sampled_from(["rest-json", "rest-xml", "grpc", "graphql"])),
        "http": http,
        "security": security,
    }
    if draw(st.booleans()):
        protocol["compression"] = {"algorithm": draw(st.sampled_from(["gzip", "zstd", "brotli"]))}
    data["calls"]["default"]["protocol"] = protocol
    data["links"] = {**data.get("links", {})}
    own = data["links"].get("default", {})
    own = own if isinstance(own, dict) and set(own) <= {"latency", "loss"} else {"latency": own}
    broad = draw(st.sampled_from([None, "1 Mbit/s", "1 Gbit/s"]))
    data["links"]["default"] = {**own, "loss": draw(st.sampled_from([0, 0.02, 0.3])), "bandwidth": broad}
    return Scenario.model_validate(data)


@thorough
@given(spoken(), seeds)
def test_every_request_is_accounted_for_once_and_adds_up(scenario, seed):
    result = run(scenario, seed)
    requests = result.requests
    assert requests.request.tolist() == list(range(len(requests)))
    ended = requests[requests.outcome != "in_flight"]
    assert (ended[list(PARTS)] >= -1e-12).all().all()
    assert np.allclose(ended[list(PARTS)].sum(axis=1), ended.ended_s - ended.arrived_s, rtol=0, atol=1e-9)


@thorough
@given(spoken(), seeds)
def test_what_goes_over_links_is_what_calls_sent(scenario, seed):
    traffic = run(scenario, seed).traffic
    numbers = traffic[["calls", "request_bytes", "response_bytes", "caller_cpu_s", "target_cpu_s", "connections"]]
    assert (numbers >= 0).all().all()
    # Each call that came has a header and a segment around it, and nothing comes without a call.
    assert (traffic.request_bytes >= 60 * traffic.calls).all()
    assert not ((traffic.calls == 0) & (traffic.request_bytes > 0)).any()


@thorough
@given(spoken(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    one, other = run(scenario, seed), run(scenario, seed)
    assert fingerprint(one) == fingerprint(other)
    assert one.traffic.equals(other.traffic)
