"""Calls that go together as one request: short stories with times and bytes that one can count."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rows import fingerprint, require_whole
from strategies import scenarios
from test_guarded import diary, scenario, tries

from sim.policies.payloads import ENCODINGS, Message, MessageField, Payloads
from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.single import run

#: N + 1: a page of five reviews, each asked for by a resolver of its own; a query takes 10 ms, and 1 ms for every further row.
RESOLVERS = [{"call": "pay.do", "count": 5, "in_parallel": True}]
ROW = [{"work": 0.010}]


def page(batch, *, pay=ROW, shop=RESOLVERS, at=(0.0,), more=None, **rest):
    """A page whose calls to `pay.do` go together."""
    api = {"workers": "unlimited", "operations": {"buy": shop}}
    return scenario({"shop": api, "pay": pay}, {"shop -> pay": {"batch": batch, **(more or {})}}, at, **rest)


def test_resolvers_of_one_moment_become_one_call():
    alone, together = page(None), page({"each_further": 0.001})
    assert diary(run(alone)) == [(0.0, 50, "ok")]
    assert diary(run(together)) == [(0.0, 14, "ok")]
    assert [len(tries(run(each))) for each in (alone, together)] == [5, 1]


def test_a_full_batch_goes_at_once_and_the_next_one_gathers():
    case = page({"size": 2, "wait": 0.003, "each_further": 0.001})
    assert tries(run(case)) == [(0, "ok"), (0, "ok"), (3, "ok")]
    assert diary(run(case)) == [(0.0, 32, "ok")]  # 11 and 11 ms of two each, one after the other, and 10 ms of the fifth


def test_calls_that_come_while_the_first_waits_go_with_it_and_later_ones_do_not():
    case = page({"wait": 0.005, "scope": "process", "each_further": 0.001}, shop=[{"call": "pay.do"}], at=(0.0, 0.004, 0.006))
    found = run(case)
    assert tries(found) == [(5, "ok"), (11, "ok")]
    assert diary(found) == [(0.0, 16, "ok"), (0.004, 12, "ok"), (0.006, 20, "ok")]  # the second batch finds a busy worker
    assert found.requests.queue_s.tolist() == pytest.approx([0.005, 0.001, 0.010])
    alone = run(page({"wait": 0.005, "each_further": 0.001}, shop=[{"call": "pay.do"}], at=(0.0, 0.004, 0.006)))
    assert [start for start, _ in tries(alone)] == [5, 9, 11]  # three requests, three loaders


def test_a_call_that_gives_up_is_answered_late_and_the_others_in_time():
    # The first has 9 ms, the second, which comes 6 ms later, has 9 ms too; both go at 7 ms, and the answer is there at 13 ms.
    batch = {"wait": 0.007, "scope": "process"}
    case = page(batch, shop=[{"call": "pay.do"}], pay=[{"work": 0.006}], at=(0.0, 0.006), more={"timeout": 0.009})
    found = run(case)
    assert found.requests.outcome.tolist() == ["error", "ok"]
    assert diary(found) == [(0.0, 9, "error"), (0.006, 7, "ok")]
    assert tries(found) == [(7, "ok")]


def test_when_all_have_given_up_while_they_gather_nothing_is_sent_and_later_the_attempt_times_out():
    shop, pay = [{"call": "pay.do"}], [{"work": 0.1}]
    early = run(page({"wait": 0.02}, shop=shop, pay=pay, more={"timeout": 0.01}))
    assert (diary(early), tries(early)) == ([(0.0, 10, "error")], [])
    late = run(page({"wait": 0.004}, shop=shop, pay=pay, more={"timeout": 0.01}))
    assert (diary(late), tries(late)) == ([(0.0, 10, "error")], [(4, "timeout")])


def test_the_batch_of_a_process_that_dies_is_in_flight():
    case = page({"wait": 0.01}, pay=[{"work": 1.0}], faults=[{"crash": "shop", "at": 0.5, "for": 1.0}])
    found = run(case)
    assert (diary(found)[0][2], tries(found)) == ("unreachable", [(10, "in_flight")])


def test_one_failure_fails_all_and_all_are_tried_again_together():
    # Each call fails with probability one half, the draws are its own: 1 - 1/2^5 of the batches do.
    pay, more = [{"fail": 0.5, "work": 0.001}], {"retry": {"max_attempts": 4, "on": ["error"]}}
    found = run(page({}, pay=pay, at=tuple(float(i) for i in range(100)), more=more))
    attempts = found.attempts[found.attempts.target == "pay.do"]
    assert (attempts.outcome == "error").mean() == pytest.approx(31 / 32, abs=0.03)
    answered = (found.requests.outcome == "ok").mean()
    assert answered == pytest.approx(1 - (31 / 32) ** 4, abs=0.09)


def test_where_the_answer_says_which_failed_the_others_have_theirs():
    shop = [{"call": "pay.do", "count": 2, "in_parallel": True, "required": False}]
    at = tuple(float(i) for i in range(400))
    found = run(page({"on_failure": "each"}, shop=shop, pay=[{"fail": 0.5, "work": 0.001}], at=at))
    # The batch fails if both do; the page misses something unless neither does.
    attempts = found.attempts[found.attempts.target == "pay.do"]
    assert (attempts.outcome == "error").mean() == pytest.approx(1 / 4, abs=0.06)
    assert (found.requests.outcome == "degraded").mean() == pytest.approx(3 / 4, abs=0.06)


def test_with_retries_outside_those_that_failed_are_tried_again_in_another_batch():
    more = {"retry": {"max_attempts": 12, "on": ["error"]}, "order": ["retry", "batch"]}
    pay = [{"work": 0.004}, {"fail": 0.5}]
    found = run(page({"on_failure": "each", "each_further": 0.001}, pay=pay, more=more, at=tuple(float(i) for i in range(100))))
    assert set(found.requests.outcome) == {"ok"}
    # As many tries as the last of five coins needs: the sum of 1 - (1 - 2^-k)^5 over k. Of n calls they take 4 ms + (n - 1) ms.
    attempts = found.attempts[found.attempts.target == "pay.do"]
    assert len(attempts) / 100 == pytest.approx(3.794, abs=0.5)
    took_s = attempts.service_s.groupby(attempts.request).agg(["first", "last"]).to_numpy()
    assert took_s[:, 0] == pytest.approx(0.008)
    assert took_s[:, 1].min() == pytest.approx(0.004)
    assert took_s[:, 1].max() < 0.0081


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_body_of_a_batch_is_a_list_of_its_calls(encoding):
    review = {"stars": {"int": 4}, "text": {"string": 40}}
    messages = {"review": Message(fields=review), "r": Message(fields={"items": MessageField(list="review", count=7)})}
    payloads = Payloads({name: Message.model_validate(message) for name, message in messages.items()})
    of_list = payloads.size("r", encoding)
    extra = 2 * (len("review") - len("r")) if encoding == "xml" else 0  # the element around it is called otherwise
    assert payloads.size_in("review", encoding, 7).bytes == of_list.bytes + extra


def test_bytes_and_processor_times_are_those_of_one_message_with_all_of_them():
    codec = {"encode_per_message": 0.001, "encode_per_kb": 0.001, "decode_per_message": 0.002, "decode_per_kb": 0}
    free = {"client_cpu": 0, "server_cpu": 0}
    protocol = {
        "profile": "rest-json", "http": "http/2", "security": "none", "codec": codec, "handshake": free, "framing": 0,
        "request_headers": 300, "response_headers": 200, "request_headers_again": 1, "response_headers_again": 1,
        "record_overhead": 0,
    }  # fmt: skip
    pay = {"workers": 1, "operations": {"do": {"request": 200, "response": 1_000, "steps": ROW}}}
    more = {"protocol": protocol, "connections": {"round_trips": 0}}
    links = {"shop -> pay": {"latency": 0.010}}
    found = run(page({"each_further": 0.001}, pay=pay, more=more, links=links))
    (traffic,) = found.traffic.itertuples()
    assert (traffic.calls, traffic.request_bytes, traffic.response_bytes) == (1, 300 + 5 * 200 + 52, 200 + 5 * 1_000 + 4 * 52)
    # Writing 1 + 1 ms and reading 2 ms of the requests; writing 1 + 5 ms and reading 2 ms of the answers.
    assert (traffic.caller_cpu_s, traffic.target_cpu_s) == pytest.approx((0.002 + 0.002, 0.002 + 0.006))
    assert diary(found) == [(0.0, 4 + 8 + 20 + 14, "ok")]
    alone = run(page(None, pay=pay, more=more, links=links)).traffic.iloc[0]
    assert (alone.calls, alone.request_bytes) == (5, 5 * (300 + 200 + 52))


#: Guards that make no difference to what is asserted, with batches beside them or around them.
thorough = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
batches = st.fixed_dictionaries(
    {"wait": st.sampled_from([0.0, 0.02, 0.2])},
    optional={
        "size": st.integers(1, 3),
        "scope": st.just("process"),
        "each_further": st.sampled_from([0.001, {"exponential": 0.01}]),
        "on_failure": st.just("each"),
    },
)


@st.composite
def gathering(draw):
    """A random system whose calls go together."""
    data = draw(scenarios()).as_data()
    for service in data["services"].values():
        for operation in service["operations"].values():
            if isinstance(operation, dict):
                operation.pop("cache", None)
    data["faults"] = [fault for fault in data.get("faults", []) if "flush" not in fault]
    data["calls"]["default"] = {**data["calls"].get("default", {}), "batch": draw(batches)}
    return Scenario.model_validate(data)


@thorough
@given(gathering(), st.integers(0, 2**32))
def test_every_call_is_answered_once_and_its_time_adds_up_in_any_system(case, seed):
    found = run(case, seed)
    require_whole(found)
    assert fingerprint(found) == fingerprint(run(case, seed))


@pytest.mark.parametrize(("size", "scope"), [("unlimited", "process"), (3, "process"), ("unlimited", "request")])
def test_nobody_waits_longer_than_wait_and_no_batch_is_larger_than_size(size, scope):
    case = page(
        {"wait": 0.02, "size": size, "scope": scope, "each_further": 1.0},  # a second for each beyond the first counts them
        shop=[{"call": "pay.do"}],
        pay={"workers": 1000, "operations": {"do": []}},
        at=tuple(0.003 * i**1.1 for i in range(200)),
    )
    found = run(case)
    assert found.requests.queue_s.between(-1e-12, 0.02 + 1e-12).all()
    others = found.attempts[found.attempts.target == "pay.do"].service_s
    assert others.max() <= (2 if size == 3 else 0 if scope == "request" else 199) + 1e-9
    assert others.sum() + len(others) == pytest.approx(200)  # each is in one batch


def test_gathering_takes_what_theory_says():
    rate, wait_s = 200, 0.02
    load = {"kind": "poisson", "rate": rate, "mix": "shop.buy"}
    case = Scenario.model_validate(
        {
            "services": {
                "shop": {"workers": "unlimited", "operations": {"buy": [{"call": "pay.do"}]}},
                "pay": {"workers": "unlimited", "operations": {"do": []}},
            },
            "calls": {"shop -> pay": {"batch": {"wait": wait_s, "scope": "process"}}},
            "load": load,
            "run": {"duration": 100.0},
        }
    )
    found = run(case)
    batches = (found.attempts.target == "pay.do").sum()
    beside = rate * wait_s
    assert len(found.requests) / batches == pytest.approx(1 + beside, rel=0.03)
    assert found.requests.queue_s.mean() == pytest.approx(wait_s * (1 + beside / 2) / (1 + beside), rel=0.02)
    # The first of each waits it out; of the others one in five waits less than a fifth of it.
    assert (found.requests.queue_s > wait_s - 1e-9).mean() == pytest.approx(1 / (1 + beside), abs=0.01)
    assert (found.requests.queue_s < wait_s / 5).mean() == pytest.approx(beside / (1 + beside) / 5, abs=0.01)


def refused(text, batch=None, more=None, **rest):
    """A scenario is refused with these words."""
    with pytest.raises(ValidationError, match=text):
        page(batch or {}, more=more, **rest)


def test_what_is_of_one_call_is_refused_where_several_go_together():
    cached = {"workers": 1, "operations": {"do": {"steps": ROW, "cache": {"max_age": 1}}}}
    refused("calls.shop -> pay.do.batch: calls go together, but the cache of pay.do keeps answers to single calls", pay=cached)
    streamed = {"workers": 1, "operations": {"do": {"steps": ROW, "response": {"stream": 10, "count": 2}}}}
    refused("pay.do is a stream, of one call", pay=streamed)
    refused("an ETag is of one answer", more={"cache": {"max_age": 1, "changed_after": 1}})
    refused("a hash is of one query", more={"protocol": {"profile": "graphql", "persisted_queries": {}}})
    refused("edge passes on single calls; write via: null", more={"via": "edge"}, proxies={"edge": {}})


def test_batches_that_gather_nobody_are_doubted():
    def said(shop, **batch):
        return [doubt for doubt in doubts(page(batch, shop=shop)) if "gathers nobody" in doubt]

    assert "one request makes one such call; write scope: process" in said([{"call": "pay.do"}])[0]
    assert "one after the other; write in_parallel: true" in said([{"call": "pay.do", "count": 3}])[0]
    assert not said([{"call": "pay.do"}], scope="process", wait=0.01)
    assert not said(RESOLVERS)
    assert not said([{"parallel": [{"call": "pay.do"}, {"call": "pay.do"}]}])
