"""What holds whatever calls speak: over random systems with connections, protocols, losses and narrow links."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_strategies import spoken
from rows import fingerprint, require_whole

from sim.single import run

thorough = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 2**32)


@thorough
@given(spoken(), seeds)
def test_every_request_is_accounted_for_once_and_adds_up(scenario, seed):
    require_whole(run(scenario, seed))


@thorough
@given(spoken(), seeds)
def test_what_goes_over_links_is_what_calls_sent(scenario, seed):
    traffic = run(scenario, seed).traffic
    numbers = traffic[["calls", "request_bytes", "response_bytes", "caller_cpu_s", "target_cpu_s", "connections"]]
    assert (numbers >= 0).all().all()
    # Each call that came has a header and a segment around it, unless its stream waits in line, and nothing comes without.
    assert ((traffic.request_bytes >= 60 * traffic.calls) | (traffic.messages > 0) | (traffic.streams == 0)).all()
    assert (traffic.first_message_s[traffic.streams > 0] > 0).all()
    assert not ((traffic.calls == 0) & (traffic.request_bytes > 0)).any()


@thorough
@given(spoken(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    one, other = run(scenario, seed), run(scenario, seed)
    assert fingerprint(one) == fingerprint(other)
    assert one.traffic.equals(other.traffic)
