"""Calls of many messages: client, server and bidirectional streaming, flow control, back-pressure, subscriptions; with times."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from test_protocols import FREE, NO_CPU, bare, latencies_s, scenario

from sim.policies.flow import Credit, Flow
from sim.policies.transport import Transport
from sim.scenario.doubts import doubts
from sim.scenario.forecast import forecast
from sim.scenario.yaml import dumps, loads
from sim.single import run

RTT_S, WINDOW = 0.02, 65_535


def streamed(request=0, response=2, *, transport=None, **more):
    """One client and one service, 10 ms away: without processor time, headers, congestion window, set-up of connections."""
    spoken = {
        "profile": "grpc", "codec": FREE, "handshake": NO_CPU, "security": "none", "framing": 0,
        "request_headers": 0, "response_headers": 0,
        "transport": {"initial_window": 1000, "segment_overhead": 0, "window_estimation": False, **(transport or {})},
    }  # fmt: skip
    calls = {"connections": {"round_trips": 0}, **more.pop("calls", {})}
    return scenario(spoken, request=request, response=response, calls=calls, **{"times": (1.0,), **more})


def first_s(case):
    """From sending until the first message of the answer was read, in the mean."""
    found = run(case).traffic
    return found.first_message_s.sum() / found.streams.sum()


# When messages come.


def test_an_answer_of_messages_begins_with_the_first_and_ends_with_the_last():
    case = streamed(response={"stream": 100, "count": 5, "every": 0.02}, work=0.004)
    assert (first_s(case), latencies_s(case)) == (pytest.approx(0.024), pytest.approx([0.024 + 4 * 0.02]))
    [row] = run(case).traffic.itertuples()
    assert (row.calls, row.streams, row.messages, row.response_bytes) == (1, 1, 5, 500)


def test_a_request_of_messages_is_answered_after_the_last():
    case = streamed(request={"stream": 100, "count": 5, "every": 0.02}, work=0.004)
    assert latencies_s(case) == pytest.approx([4 * 0.02 + 0.004 + 0.02])
    assert run(case).traffic.request_bytes.sum() == 500


def test_each_message_of_a_request_may_be_answered_once_it_is_read():
    # The k-th leaves after 5 ms each, is there 10 ms later, is read for 3, and its answer takes 10 ms.
    case = streamed(
        request={"stream": 100, "count": 4, "every": 0.005, "reading": 0.003}, response={"stream": 100, "count": "each_request"}
    )
    assert (first_s(case), latencies_s(case)) == (pytest.approx(0.023), pytest.approx([0.023 + 3 * 0.005]))


def test_both_directions_go_on_at_the_same_time():
    case = streamed(request={"stream": 100, "count": 9, "every": 0.01}, response={"stream": 100, "count": 3, "every": 0.01})
    assert latencies_s(case) == pytest.approx([8 * 0.01 + 0.02])  # of which the three answers are there after 40 ms
    assert first_s(case) == pytest.approx(0.02)


def test_reading_and_writing_take_processor_time_at_both_ends_and_parts_add_up():
    codec = {**FREE, "encode_per_message": 0.001, "decode_per_message": 0.002}
    spoken = bare(profile="grpc", codec=codec)
    case = scenario(
        spoken, request=10, response={"stream": 10, "count": 3}, times=(1.0,), calls={"connections": {"round_trips": 0}}
    )
    # The caller writes the request, the worker reads it and writes three messages; the caller reads one after the other.
    assert latencies_s(case) == pytest.approx([0.001 + 0.01 + 0.002 + 0.001 + 0.01 + 3 * 0.002])
    result = run(case)
    assert result.traffic.caller_cpu_s.sum() == pytest.approx(0.001 + 3 * 0.002)
    assert result.traffic.target_cpu_s.sum() == pytest.approx(0.002 + 3 * 0.001)
    parts = result.requests[["queue_s", "service_s", "network_s", "backoff_s", "lost_s"]].sum(axis=1)
    assert parts.tolist() == pytest.approx(latencies_s(case))


def test_a_stream_holds_its_worker_until_the_last_message_is_sent():
    case = streamed(response={"stream": 10, "count": 11, "every": 0.01}, service={"workers": 1}, times=(1.0, 1.0))
    assert latencies_s(case) == pytest.approx([0.12, 0.22])


# Windows.


@pytest.mark.parametrize("side", ["request", "response"])
def test_one_stream_sends_a_window_per_round_trip(side):
    # RFC 9113: throughput <= window / RTT. Ten windows leave 0, 1, 2, ... 9 round trips after the first.
    case = streamed(**{side: {"stream": WINDOW, "count": 10}})
    assert latencies_s(case) == pytest.approx([RTT_S + 9 * RTT_S])
    wide = streamed(transport={"stream_window": 1e9, "connection_window": 1e9}, **{side: {"stream": WINDOW, "count": 10}})
    assert latencies_s(wide) == pytest.approx([RTT_S])


def test_streams_of_a_connection_share_its_window_in_turns():
    answer = {"stream": WINDOW, "count": 5}
    assert latencies_s(streamed(response=answer, times=(1.0, 1.0))) == pytest.approx([10 * RTT_S] * 2)
    own = streamed(response=answer, times=(1.0, 1.0), transport={"connection_window": 1e9})
    assert latencies_s(own) == pytest.approx([5 * RTT_S] * 2)


def test_an_estimate_doubles_the_window_every_second_round_trip():
    # 1 + 1 + 2 + 2 + 4 + 4 + 8 + 8 + 16 + 16 = 62 windows in ten round trips; without, one in each.
    answer = {"stream": WINDOW, "count": 60}
    assert latencies_s(streamed(response=answer, transport={"window_estimation": True})) == pytest.approx([10 * RTT_S])
    assert latencies_s(streamed(response=answer)) == pytest.approx([60 * RTT_S])


def test_messages_of_a_stream_start_slowly_together():
    # Messages of a segment each: 10, 20, 40 in three round trips, as one answer of that size.
    case = streamed(response={"stream": 1448, "count": 70}, transport={"initial_window": 10})
    assert latencies_s(case) == pytest.approx([RTT_S + 2 * RTT_S])


def test_a_slow_reader_holds_its_sender_up():
    # The stream's window has room for two messages: the third leaves when the reader begins the first, and that is told.
    answer = {"stream": 1000, "count": 6, "reading": 0.1}
    case = streamed(response=answer, transport={"stream_window": 2000}, service={"workers": 1}, times=(1.0, 1.0))
    served_s = run(case).totals.set_index("name").busy_worker_s["s"] / 2
    # Message k (from 0) is taken up at 20 ms + k * 100 ms after the call, and is told 10 ms later: then message k + 2 goes.
    assert served_s == pytest.approx(0.02 + 3 * 0.1, abs=0.001)
    assert latencies_s(case)[0] == pytest.approx(0.02 + 6 * 0.1)
    assert latencies_s(streamed(response=answer)) == pytest.approx([0.02 + 6 * 0.1])


def test_a_credit_comes_back_when_it_is_told():
    credit = Credit()
    credit.take(100.0)
    credit.give_back(2.0, 60.0)
    credit.give_back(1.0, 40.0)
    assert [credit.left(now_s, 100.0) for now_s in (0.5, 1.0, 2.0)] == [0.0, 40.0, 100.0]
    assert credit.next_s() == float("inf")


def test_a_whole_answer_meets_the_same_windows():
    # 65,535 bytes are 45 segments of 1,448: so many each round trip, where nothing is estimated.
    case = streamed(response=4 * 45 * 1448)
    assert latencies_s(case) == pytest.approx([RTT_S + 3 * RTT_S])
    flow = Flow(Transport(stream_window=14_480, segment=1448, initial_window=1000, window_estimation=True))
    flow.arrives_s(0.0, 40 * 1448, 0.01, RTT_S, float("inf"), 0.0, lambda number: 0.5)
    assert flow.stream_window == 2 * 14_480  # after two rounds of ten; the third took the rest


# Links, losses, failures.


def test_a_narrow_link_carries_messages_one_after_the_other():
    case = streamed(response={"stream": 1000, "count": 10}, link={"bandwidth": 100_000.0})
    assert latencies_s(case) == pytest.approx([0.02 + 10 * 0.01])


def test_losses_delay_messages_and_lose_none():
    case = streamed(response={"stream": 1000, "count": 500, "every": 0.01}, link={"loss": 0.05})
    result = run(case, seed=2)
    assert result.requests.outcome.tolist() == ["ok"]
    assert result.traffic.messages.sum() == 500
    assert result.traffic.response_bytes.sum() > 500_000 + 10 * 1448


def test_a_deadline_ends_a_stream_and_tells_its_server_if_it_can():
    answer = {"stream": 100, "count": 100, "every": 0.1}
    long = streamed(response=answer, calls={"timeout": 1.0})
    told = streamed(response=answer, calls={"timeout": 1.0, "cancellation": True})
    assert run(long).requests.outcome.tolist() == run(told).requests.outcome.tolist() == ["timeout"]
    busy_s = [run(case).totals.set_index("name").busy_worker_s["s"] for case in (long, told)]
    assert busy_s == pytest.approx([9.9, 1.0])


def test_a_crash_ends_the_streams_of_a_replica():
    answer = {"stream": 100, "count": 100, "every": 0.1}
    case = streamed(response=answer, faults=[{"crash": "s", "at": 3, "for": 1}])
    [row] = run(case).requests.itertuples()
    assert (row.outcome, row.ended_s) == ("unreachable", pytest.approx(3.01))


# Subscriptions.


def test_events_reach_all_subscribers_at_the_same_moments():
    # Events at 2, 4, 6 and 8 s; who subscribes later hears of later ones.
    case = streamed(response={"stream": 100, "count": 3, "every": 2.0, "to_all": True}, times=(1.0, 2.5))
    assert latencies_s(case) == pytest.approx([5.01, 5.51])


def test_fan_out_takes_the_processor_for_every_subscriber():
    codec = {**FREE, "encode_per_message": 0.001}
    case = scenario(
        bare(profile="graphql", codec=codec), response={"stream": 100, "count": 1, "every": 5.0, "to_all": True},
        service={"workers": 1, "sharing": "processor"}, load={"kind": "replay", "times": [1.0] * 20, "clients": 20},
    )  # fmt: skip
    found = run(case).requests
    # One event for twenty, which share one processor: all have it after twenty times a millisecond, and the way.
    assert (found.ended_s - 5.0).tolist() == pytest.approx([0.02 + 0.01] * 20)


# What cannot be, and what is written.


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"response": {"stream": 1, "count": "each_request"}}, "the request is one message"),
        ({"request": {"stream": 1, "count": "each_request"}}, "each_request is for answers"),
        ({"response": {"stream": 1, "count": 3, "to_all": True}}, "write every: 1s"),
        ({"response": {"stream": "update", "count": 3}}, "no message 'update'"),
        ({"response": {"stream": 1}}, "count"),
    ],
)
def test_what_a_stream_cannot_be(more, said):
    with pytest.raises(ValidationError, match=said):
        streamed(**more)


def test_a_proxy_does_not_pass_a_stream_on():
    with pytest.raises(ValidationError, match=r"calls.client -> s.get.via: s.get is a stream"):
        streamed(response={"stream": 1, "count": 3}, proxies={"gate": {"workers": 1, "work": 0.0}}, calls={"via": "gate"})


def test_streams_are_written_so_that_they_are_read_again():
    case = streamed(
        request={"stream": "chunk", "count": 3, "every": {"exponential": 0.01}},
        response={"stream": 2000, "count": "each_request"},
        messages={"chunk": {"raw": {"bytes": 300}}},
    )
    assert loads(dumps(case)).hash == case.hash


def test_the_same_seed_gives_the_same_rows():
    case = streamed(
        request={"stream": 3000, "count": 20, "every": {"exponential": 0.01}}, response={"stream": 9000, "count": "each_request"},
        link={"loss": 0.1, "bandwidth": 1e6}, load={"rate": 3.0},
    )  # fmt: skip
    one, other = run(case, seed=4), run(case, seed=4)
    assert one.requests.equals(other.requests)
    assert one.traffic.equals(other.traffic)


# What arithmetic alone says.


def test_a_worker_is_held_while_its_stream_lasts():
    # 19 s of messages at one call per second: 19 of 10 workers.
    found = forecast(streamed(response={"stream": 100, "count": 20, "every": 1.0}, load={"rate": 1.0}))
    assert (found.services[0].held_s, found.services[0].utilisation) == (pytest.approx(19), pytest.approx(1.9))


@pytest.mark.parametrize("key", ["timeout", "per_try_timeout"])
def test_a_stream_that_its_call_does_not_wait_for_is_doubted(key):
    def told(limit_s):
        case = streamed(response={"stream": 100, "count": 5, "every": 0.5, "reading": 0.6}, calls={key: limit_s})
        return [doubt for doubt in doubts(case) if "stream" in doubt]

    [doubt] = told(3.0)
    assert doubt.startswith(f"client -> s.get: its stream takes 3 s in the mean, and {key} ends the call after 3 s")
    assert told(3.1) == []
