"""HTTP caching: max-age, shared caches, validation with ETag and 304, stale-while-revalidate; and GraphQL's persisted queries."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError
from test_protocols import FREE, NO_CPU, bare, latencies_s, scenario

from sim.policies.caching import Cache, CacheGate
from sim.policies.payloads import Message, Payloads
from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.single import run

#: A connection that is there, no headers shrink, and whole answers fit into the first window: a round trip is 20 ms.
WARM = {"connections": {"round_trips": 0}}
#: So rarely that it does not in these runs.
NEVER_CHANGES = 1e9
ANSWER, HEADERS, SEGMENT = 10_000, 300, 52


def cached(cache, *, response=ANSWER, work=0.1, times=(1.0, 5.0, 12.0), **more):
    """A client with a cache of its own in front of an operation that works for 100 ms."""
    return scenario(bare(), response=response, work=work, times=times, calls={**WARM, "cache": cache}, **more)


def test_a_fresh_answer_costs_nothing_and_one_too_old_is_fetched_again():
    case = cached({"max_age": 10.0})
    assert latencies_s(case) == pytest.approx([0.12, 0.0, 0.12])
    assert run(case).traffic.calls.sum() == 2


def test_what_has_not_changed_is_answered_without_a_body():
    # 304 Not Modified: the round trip and the work are the same, and the bytes those of the headers.
    whole, validated = cached({"max_age": 10.0}), cached({"max_age": 10.0, "changed_after": NEVER_CHANGES})
    assert latencies_s(validated) == latencies_s(whole)
    bytes_of_whole = ANSWER + HEADERS + math.ceil((ANSWER + HEADERS) / 1448) * SEGMENT
    assert run(whole).traffic.response_bytes.sum() == 2 * bytes_of_whole
    assert run(validated).traffic.response_bytes.sum() == bytes_of_whole + HEADERS + SEGMENT


def test_a_server_that_can_tell_cheaply_does_not_work_for_a_whole_answer():
    get = {"request": 0, "response": ANSWER, "steps": [{"work": 0.1}], "revalidate": 0.01}
    service = {"operations": {"get": get}}
    case = cached({"max_age": 10.0, "changed_after": NEVER_CHANGES}, times=(1.0, 12.0, 21.9, 23.0), service=service)
    assert latencies_s(case) == pytest.approx([0.12, 0.03, 0.0, 0.03])  # each validation makes it fresh for ten seconds again


def test_reading_and_writing_the_body_are_saved_as_well():
    codec = {**FREE, "encode_per_message": 0.001, "decode_per_message": 0.002}
    case = scenario(
        bare(codec=codec),
        response=100,
        times=(1.0, 12.0),
        calls={**WARM, "cache": {"max_age": 10.0, "changed_after": NEVER_CHANGES}},
    )
    assert latencies_s(case) == pytest.approx([0.023, 0.02])


def test_what_has_changed_is_answered_whole_as_often_as_it_should():
    # Asked for every 3 s with a max-age of 1 s, and changed after 3 s in the mean: not changed with probability exp(-1).
    times = [3.0 * i for i in range(1, 400)]
    case = cached({"max_age": 1.0, "changed_after": 3.0}, times=times, work=0.0, run={"duration": 1300.0})
    whole = (run(case, seed=5).traffic.response_bytes.sum() - 399 * (HEADERS + SEGMENT)) / ANSWER
    assert whole / 399 == pytest.approx(1 - math.exp(-1), abs=0.09)


def test_a_stale_answer_is_given_while_it_is_validated_in_the_background():
    cache = {"max_age": 10.0, "stale_while_revalidate": 5.0, "changed_after": NEVER_CHANGES}
    case = cached(cache, times=(1.0, 12.0, 13.0, 40.0))
    assert latencies_s(case) == pytest.approx([0.12, 0.0, 0.0, 0.12])
    assert run(case).traffic.response_bytes.sum() < ANSWER + 400 + 3 * 400


def test_an_answer_too_old_is_kept_for_its_validation_and_given_to_nobody():
    gate = CacheGate(Cache(max_age=10.0, changed_after=100.0))
    gate.look(0, 0.0)
    gate.store(0, 0.0)
    assert [gate.look(0, 50.0), gate.failed(0, 50.0)] == [3, False]  # MISS
    assert [gate.unchanged(0, 100.0, u) for u in (0.36, 0.37)] == [True, False]  # exp(-1) = 0.368
    assert not gate.unchanged(1, 100.0, 0.0)


def shared(client_cache=None, proxy_cache=None, clients=3):
    """Clients, a shared cache 10 ms away, and the origin 10 ms behind that."""
    own = {} if client_cache is None else {"cache": client_cache}
    there = {} if proxy_cache is None else {"cache": proxy_cache}
    get = {"request": 0, "response": ANSWER, "steps": [{"work": 0.1}]}
    return Scenario.model_validate(
        {
            "services": {"s": {"workers": 10, "operations": {"get": get}}},
            "proxies": {"cdn": {"replicas": 1, "workers": 10, "work": 0.0}},
            "links": {"default": {"latency": 0.01}},
            "calls": {
                "client -> s": {"via": "cdn", "protocol": bare(), **WARM, **own},
                "cdn -> s": {"protocol": bare(), **WARM, **there},
            },
            "load": {"kind": "replay", "times": [1.0, 2.0, 3.0, 12.5, 13.5], "mix": "s.get", "clients": clients},
            "run": {"duration": 30.0},
        }
    )


def test_a_shared_cache_asks_the_origin_once_for_all_clients():
    case = shared(proxy_cache={"max_age": 10.0})
    assert latencies_s(case) == pytest.approx([0.14, 0.02, 0.02, 0.14, 0.02])
    rows = {row.caller: row for row in run(case).traffic.itertuples()}
    assert (rows["client"].calls, rows["cdn"].calls) == (5, 2)


def test_a_client_validates_with_the_shared_cache_and_that_with_the_origin():
    # One client: its copy of 1.0 is too old at 12.5 s, when the CDN's is, too: 304 from the origin to the CDN, and from there.
    validated = {"max_age": 10.0, "changed_after": NEVER_CHANGES}
    case = shared(client_cache=validated, proxy_cache=validated, clients=1)
    assert latencies_s(case) == pytest.approx([0.14, 0.0, 0.0, 0.14, 0.0])
    rows = {row.caller: row for row in run(case).traffic.itertuples()}
    assert rows["client"].response_bytes == rows["cdn"].response_bytes < ANSWER + 2 * 800


# GraphQL: what is asked for, and by what name.

MESSAGES = {
    "review": {"stars": {"int": 4}, "author": {"message": "author"}},
    "author": {"name": {"string": 10}, "reviews": {"list": "stars", "count": 5}},
    "stars": {"stars": {"int": 4}},
    "page": {"name": {"string": 10}, "reviews": {"list": "review", "count": 20}},
}


def test_depth_and_objects_of_a_query_follow_from_its_answer():
    payloads = Payloads({name: Message.model_validate(fields) for name, fields in MESSAGES.items()})
    # page { reviews { author { reviews { stars } } } }: 1 + 20 reviews, each with an author and five more.
    assert payloads.asked("page") == (4, 1 + 20 * (1 + 1 + 5))
    assert payloads.asked("stars") == (1, 1)


@pytest.mark.parametrize(
    ("limits", "outcome"), [({"depth": 3}, "rejected"), ({"depth": 4, "objects": 141}, "ok"), ({"objects": 140}, "rejected")]
)
def test_a_query_that_asks_for_too_much_is_rejected_before_any_resolver_works(limits, outcome):
    case = scenario(
        bare(profile="graphql"), response="page", work=0.5, service={"query_limits": limits}, messages=MESSAGES, calls=WARM
    )
    result = run(case)
    assert result.requests.outcome.tolist() == [outcome] * 2
    assert latencies_s(case) == pytest.approx([0.02 if outcome == "rejected" else 0.52] * 2)
    said = [doubt for doubt in doubts(case) if "query_limits" in doubt]
    assert len(said) == (outcome == "rejected")


def persisted(kept_by="replica", times=(1.0, 2.0, 3.0, 4.0), **more):
    spoken = bare(profile="graphql", request_headers=0, response_headers=0, framing=0, persisted_queries={"kept_by": kept_by})
    return scenario(spoken, request=2000, response=100, times=times, calls=WARM, **more)


def test_a_persisted_query_is_sent_as_its_hash_and_once_with_its_text():
    # Automatic: the first one is not known, which takes a round trip more; hash 127 B, text 2,000 B in two segments.
    case = persisted()
    assert latencies_s(case) == pytest.approx([0.04, 0.02, 0.02, 0.02])
    assert run(case).traffic.request_bytes.sum() == 4 * (127 + SEGMENT) + 2127 + 2 * SEGMENT
    known = persisted("registered")
    assert latencies_s(known) == pytest.approx([0.02] * 4)
    assert run(known).traffic.request_bytes.sum() == 4 * (127 + SEGMENT)


@pytest.mark.parametrize(("kept_by", "again"), [("replica", [0.04, 0.04, 0.02, 0.02]), ("all", [0.04, 0.02, 0.02, 0.02])])
def test_each_replica_has_to_hear_the_text_unless_they_keep_it_together(kept_by, again):
    case = persisted(kept_by, service={"replicas": 2}, load={"kind": "replay", "times": [1.0, 2.0, 3.0, 4.0], "clients": 2})
    case = case.model_copy(update={"calls": {k: v.model_copy(update={}) for k, v in case.calls.items()}})
    assert sorted(latencies_s(case), reverse=True) == pytest.approx(again)


def test_a_restart_forgets_persisted_queries():
    case = persisted(faults=[{"crash": "s", "at": 2.5, "for": 0.1}])
    assert latencies_s(case) == pytest.approx([0.04, 0.02, 0.04, 0.02])


def test_only_graphql_has_queries_and_no_http_cache_keeps_a_post():
    with pytest.raises(ValidationError, match="only GraphQL has queries"):
        scenario(bare(persisted_queries={}))

    def said(**spoken):
        case = scenario({"profile": "graphql", "codec": FREE, "handshake": NO_CPU, **spoken}, calls={"cache": {"max_age": 10.0}})
        return [doubt for doubt in doubts(case) if "POST" in doubt]

    assert len(said()) == 1
    assert said(persisted_queries={}) == []
