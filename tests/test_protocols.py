"""Calls with a protocol: round trips, windows, losses, bytes and processor time, in stories with times."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from rows import require_whole

from sim import theory
from sim.analysis import traffic_by_edge
from sim.policies.codecs import Compression
from sim.policies.payloads import PayloadSize
from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.scenario.profiles import COMPRESSIONS, PROFILES
from sim.scenario.protocols import Protocol
from sim.scenario.yaml import dumps, loads
from sim.single import run
from sim.study.measure import measure

FREE = {"encode_per_message": 0.0, "encode_per_kb": 0.0, "decode_per_message": 0.0, "decode_per_kb": 0.0}
NO_CPU = {"client_cpu": 0.0, "server_cpu": 0.0, "resumed_client_cpu": 0.0, "resumed_server_cpu": 0.0}


def scenario(protocol, *, link=None, request=0, response=2, work=0.0, times=(1.0, 1.2), calls=None, service=None, **more):
    """One client that asks one service at given times; a round trip takes 20 ms."""
    get = {"request": request, "response": response, "steps": [{"work": work}]}
    load = {"mix": "s.get", **(more.pop("load", None) or {"kind": "replay", "times": list(times)})}
    return Scenario.model_validate(
        {
            "services": {"s": {"workers": 10, "operations": {"get": get}, **(service or {})}},
            "links": {"default": {"latency": 0.01, **(link or {})}},
            "calls": {"default": {"protocol": protocol, **(calls or {})}},
            "load": load,
            "run": {"duration": 60.0, "warmup": 0.0},
            **more,
        }
    )


def latencies_s(case, seed=1):
    found = run(case, seed=seed).requests
    return (found.ended_s - found.arrived_s).tolist()


def bare(**more):
    """Without processor time, so that times are round trips."""
    return {"profile": "rest-json", "codec": FREE, "handshake": NO_CPU, "security": "none", **more}


# P1: round trips until the answer, of the first call and of one on the connection that is there.


@pytest.mark.parametrize(
    ("spoken", "first"),
    [
        ({}, 2),
        ({"security": "tls-1.3"}, 3),
        ({"security": "tls-1.2"}, 4),
        ({"http": "http/2", "security": "tls-1.3"}, 3),
        ({"http": "http/3", "security": None}, 2),
    ],
)
def test_round_trips_of_a_new_connection(spoken, first):
    cold, warm = latencies_s(scenario(bare(**spoken)))
    assert (cold, warm) == (pytest.approx(first * 0.02), pytest.approx(0.02))


@pytest.mark.parametrize(
    ("spoken", "again"),
    [
        ({"security": "tls-1.2", "resumption": "ticket"}, 3),
        ({"security": "tls-1.2", "resumption": "none"}, 4),
        ({"security": "tls-1.3", "resumption": "ticket"}, 3),
        ({"security": "tls-1.3", "resumption": "0-rtt"}, 2),
        ({"http": "http/3", "security": None, "resumption": "0-rtt"}, 1),
    ],
)
def test_round_trips_of_a_connection_to_where_the_process_was_before(spoken, again):
    case = scenario(bare(**spoken), calls={"connections": {"max_requests": 1}})
    assert latencies_s(case)[1] == pytest.approx(again * 0.02)


# M10: measured on loopback with a round trip of 20 ms; keep-alive 20.7 ms, so 0.7 ms are work. Tolerance: 1.5 ms + 3 %.


@pytest.mark.parametrize(("security", "measured_s"), [("none", 0.0417), ("tls-1.3", 0.0654), ("tls-1.2", 0.0856)])
def test_measured_connections_with_the_processor_time_of_the_profile(security, measured_s):
    cold, warm = latencies_s(scenario({"profile": "rest-json", "security": security}, work=0.0007))
    assert warm == pytest.approx(0.0207, abs=0.0015 + 0.03 * 0.0207)
    assert cold == pytest.approx(measured_s, abs=0.0015 + 0.03 * measured_s)


@pytest.mark.parametrize(("response", "limit"), [(102_400, None), (100_000, 28)])
def test_measured_slow_start(response, limit):
    # Measured: 100 kB take 30 ms on a connection that is warm, 104 on a new one. The warm figure is a round trip and 9 ms for
    # the bytes: about 100 Mbit/s, which the measurement does not name and is assumed here. Five round trips on a new connection
    # are one more than windows of 10, 20, 40 segments need for 100,000 bytes. Two things lead there, and both were seen again
    # with Linux 6.18 between two network namespaces 10 ms apart: 102,400 bytes are 71 segments and their header (Reno: 94 ms
    # for 100,000 bytes, 103 for 102,400); and CUBIC's HyStart, which leaves slow start at 20 + 8 segments where delays grow in
    # a burst (90 ms for 80,000 bytes, 106 for 85,000; on a calm machine it does not).
    case = scenario(
        {"profile": "rest-json", "security": "none", "transport": {"slow_start_limit": limit}}, work=0.0007, response=response,
        link={"bandwidth": 12_500_000.0}, times=(1.0, 1.15),
    )  # fmt: skip
    cold, warm = latencies_s(case)
    assert cold == pytest.approx(0.104, abs=0.0015 + 0.03 * 0.104)
    if limit is None:
        assert warm == pytest.approx(0.030, abs=0.0015 + 0.03 * 0.030)


@pytest.mark.parametrize(
    ("response", "measured_s"),
    [(2, 0.042), (13_000, 0.042), (15_000, 0.064), (43_000, 0.071), (46_000, 0.084), (100_000, 0.094), (102_400, 0.103),
     (200_000, 0.114), (500_000, 0.154), (1_000_000, 0.178)],
)  # fmt: skip
def test_slow_start_as_linux_does_it(response, measured_s):
    # Linux 6.18, Reno, MTU 1,500, two namespaces with a user-space wire of 10 ms each way between them, on a busy machine: the
    # shortest of seven. The wire takes some 0.04 ms for a packet (300 Mbit/s). To half a round trip: how many there are.
    case = scenario(
        {"profile": "rest-json", "security": "none", "response_headers": 200}, work=0.001, response=response,
        link={"bandwidth": 37_500_000.0}, times=(1.0,),
    )  # fmt: skip
    assert latencies_s(case)[0] == pytest.approx(measured_s, abs=0.0099)


# P3: a pool of HTTP/1.1 is M/M/C; on HTTP/2 nobody waits.


@pytest.mark.theory
def test_a_pool_of_http1_is_a_queue_with_so_many_servers():
    from sim.laws import Exponential

    # The connection is held for the whole exchange, all of which is work here: 100 ms, 6 connections, 50 calls a second.
    calls = {"connections": {"per_process": 6, "round_trips": 0}}
    waits, waited, many = 0.0, 0.0, 0
    for seed in range(1, 7):
        case = scenario(
            bare(), calls=calls, link={"latency": 0.0}, service={"workers": 1000}, load={"rate": 50.0},
            run={"duration": 600.0, "warmup": 20.0}, work=Exponential(0.1),
        )  # fmt: skip
        found = run(case, seed=seed).requests
        found = found[found.arrived_s >= 20.0]
        waits, waited, many = waits + (found.queue_s > 1e-9).sum(), waited + found.queue_s.sum(), many + len(found)
    assert waits / many == pytest.approx(theory.erlang_c(6, 5.0), rel=0.05)
    assert waited / many == pytest.approx(theory.mmc_wait_mean(50.0, 10.0, 6), rel=0.1)  # 180,000 correlated waits


def test_on_http2_nobody_waits_for_a_stream():
    from sim.laws import Exponential

    case = scenario(
        bare(http="http/2"), link={"latency": 0.0}, service={"workers": 1000}, load={"rate": 50.0},
        run={"duration": 100.0}, work=Exponential(0.1),
    )  # fmt: skip
    result = run(case, seed=1)
    assert result.requests.queue_s.max() == 0
    assert result.traffic.connections.sum() == 1


# Bytes and processor time.


def test_bytes_are_those_of_bodies_headers_records_and_segments():
    case = scenario({"profile": "grpc", "security": "tls-1.3"}, request=1000, response=3000)
    [row] = run(case).traffic.itertuples()
    assert (row.caller, row.target, row.calls, row.connections) == ("client", "s.get", 2, 1)
    first, later = 1000 + 250 + 14, 1000 + 250 * 0.24 + 14  # body, headers, gRPC's frame and prefix
    assert row.request_bytes == int(first + 22 + 52) + int(later + 22 + 52)  # a record and a segment each
    first, later = 3000 + 100 + 14, 3000 + 100 * 0.31 + 14
    assert row.response_bytes == int(first + 22 + 3 * 52) + int(later + 22 + 3 * 52)


def test_a_study_tells_what_a_request_costs():
    case = scenario({"profile": "grpc", "security": "none"}, request=1000, response=3000)
    result = run(case)
    found = measure(result, case).set_index("metric").value
    assert found["wire_bytes_per_request"] == result.traffic[["request_bytes", "response_bytes"]].to_numpy().sum() / 2
    assert found["wire_cpu_s"] == pytest.approx(result.traffic[["caller_cpu_s", "target_cpu_s"]].to_numpy().sum() / 2)
    assert found["new_connections_per_request"] == 0.5
    assert traffic_by_edge(result.traffic).calls.tolist() == [2]
    assert "wire_bytes_per_request" not in set(measure(run(scenario(None)), scenario(None)).metric)


def test_a_study_tells_how_evenly_the_connections_of_a_protocol_spread_calls():
    case = scenario({"profile": "grpc"}, service={"replicas": 4})
    numbers = measure(run(case), case).set_index(["metric", "of"]).value
    assert (numbers["idle_replicas", "s"], numbers["new_connections", "s"]) == (3, 1)


def test_what_is_spoken_needs_connections():
    with pytest.raises(ValidationError, match=r"calls.default.connections: null, and what is spoken .* use: spread"):
        scenario("grpc", calls={"connections": None})
    narrower = {"default": {"protocol": "grpc", "connections": None}, "s": {"connections": {"per_process": 2}}}
    case = Scenario.model_validate(scenario("grpc").as_data() | {"calls": narrower})
    assert case.policy("client", "s.get").connections.per_process == 2


def test_a_failure_has_headers_only():
    ok = run(scenario(bare(), response=50_000)).traffic
    case = scenario(bare(), response=50_000, faults=[{"errors": "s", "at": 0, "for": 50, "ratio": 1.0}])
    assert run(case).traffic.response_bytes.sum() == 2 * (300 + 52)
    assert ok.response_bytes.sum() > 100_000


def test_reading_and_writing_take_time_at_both_ends():
    codec = {"encode_per_message": 0.001, "encode_per_kb": 0.002, "decode_per_message": 0.003, "decode_per_kb": 0.004}
    case = scenario(bare(codec=codec), request=1000, response=500)
    # Caller writes 3 ms and reads 5; the worker reads 7 and writes 2.
    cold, warm = latencies_s(case)
    assert (cold, warm) == (pytest.approx(0.057), pytest.approx(0.037))
    result = run(case)
    assert result.traffic.caller_cpu_s.sum() == pytest.approx(2 * 0.008)
    assert result.traffic.target_cpu_s.sum() == pytest.approx(2 * 0.009)
    assert result.totals.set_index("name").busy_worker_s["s"] == pytest.approx(2 * 0.009)
    parts = result.requests[["queue_s", "service_s", "network_s", "backoff_s", "lost_s"]].sum(axis=1)
    assert parts.tolist() == pytest.approx([cold, warm])


def test_reading_holds_a_worker():
    codec = {**FREE, "decode_per_message": 0.1}
    case = scenario(bare(codec=codec, http="http/2"), request=100, times=(1.0, 1.0), service={"workers": 1})
    assert sorted(latencies_s(case)) == pytest.approx([0.14 + 0.1, 0.24 + 0.1])  # and the client reads, each by itself


def test_a_caller_that_is_a_service_writes_and_reads_with_its_own_worker():
    codec = {**FREE, "encode_per_message": 0.01, "decode_per_message": 0.02}
    case = Scenario.model_validate(
        {
            "services": {
                "a": {"workers": 1, "operations": {"do": [{"call": "b.get"}]}},
                "b": {"workers": 1, "operations": {"get": {"request": 10, "response": 10, "steps": []}}},
            },
            "calls": {"a -> b": {"protocol": bare(codec=codec)}},
            "load": {"kind": "replay", "times": [1.0], "mix": "a.do"},
            "run": {"duration": 5.0},
        }
    )
    result = run(case)
    assert latencies_s(case) == pytest.approx([0.01 + 0.03 + 0.02])
    assert result.totals.set_index("name").busy_worker_s.to_dict() == pytest.approx({"a": 0.06, "b": 0.03})


# Links.


def test_a_small_bandwidth_takes_time_and_calls_of_a_process_wait_for_each_other():
    # 10,000 bytes and 7 segments with 40 bytes each at 100 kB/s: 102.8 ms with the headers of 0 bytes.
    spoken = bare(http="http/2", request_headers=0, response_headers=0, framing=0, transport={"segment_overhead": 0})
    case = scenario(spoken, response=10_000, link={"bandwidth": 100_000.0}, times=(1.0, 2.0, 2.0))
    assert latencies_s(case)[1:] == pytest.approx([0.02 + 0.1, 0.02 + 0.2])


@pytest.mark.parametrize(("shared", "second_s"), [(False, 0.14), (True, 0.24)])
def test_a_bottleneck_is_shared_by_all_processes(shared, second_s):
    spoken = bare(request_headers=0, response_headers=0, framing=0, transport={"segment_overhead": 0})
    case = scenario(
        spoken, response=10_000, link={"bandwidth": 100_000.0, "shared": shared},
        load={"kind": "replay", "times": [1.0, 1.0], "clients": 2},
    )  # fmt: skip
    assert max(latencies_s(case)) == pytest.approx(second_s)


@pytest.mark.theory
def test_a_shared_link_is_a_queue_with_constant_service():
    # Requests of 1,000 bytes at 80 a second over 100 kB/s: M/D/1 with 10 ms at a load of 0.8.
    spoken = bare(http="http/2", request_headers=0, response_headers=0, framing=0, transport={"segment_overhead": 0})
    waited = []
    for seed in range(1, 5):
        case = scenario(
            spoken, request=1000, response=0, link={"latency": 0.0, "bandwidth": 100_000.0, "shared": True},
            service={"workers": "unlimited"}, load={"rate": 80.0}, run={"duration": 500.0, "warmup": 10.0},
        )  # fmt: skip
        waited += latencies_s(case, seed)
    mean_s = sum(waited) / len(waited) - 0.01
    assert mean_s == pytest.approx(theory.mg1_wait_mean(80.0, 0.01, 0.0), rel=0.05)


def test_what_is_lost_is_late_and_not_lost():
    case = scenario(bare(), link={"loss": 0.1}, load={"rate": 20.0}, calls={"connections": {"round_trips": 0}})
    found = run(case, seed=1).requests
    assert (found.outcome == "ok").all()
    latency_s = found.ended_s - found.arrived_s
    # Two segments, each alone: a loss costs a round trip and 200 ms (and the next twice that, and so on).
    assert (latency_s > 0.021).mean() == pytest.approx(1 - 0.9**2, abs=0.025)
    assert latency_s[latency_s > 0.021].min() == pytest.approx(0.24)


def test_a_reviewer_knows_that_what_is_lost_of_a_protocol_is_sent_again():
    def doubted(calls):
        found = scenario(bare(), link={"loss": 0.01}).as_data() | {"calls": calls}
        return any("is never answered" in doubt for doubt in doubts(Scenario.model_validate(found)))

    assert doubted({})
    assert not doubted({"default": {"protocol": bare()}})


def test_a_fault_that_loses_packets_makes_calls_late():
    fault = {"link": "client -> s", "at": 5, "for": 20, "loss": 0.5}
    result = run(scenario(bare(), times=(1.0, *range(6, 24)), faults=[fault])).requests
    assert (result.outcome == "ok").all()
    assert (result.ended_s - result.arrived_s).max() > 0.2


def test_losses_block_other_streams_on_http2_and_not_on_http3():
    def late(http):
        spoken = bare(http=http, security=None, transport={"min_rto": 0.2, "max_ack_delay": 0.2})
        case = scenario(spoken, link={"loss": 0.02}, load={"rate": 200.0}, calls={"connections": {"round_trips": 0}})
        found = run(case, seed=3).requests
        return ((found.ended_s - found.arrived_s) > 0.021).mean()

    assert late("http/2") > 0.2 > 0.1 > late("http/3")


@pytest.mark.parametrize(("every_s", "longest_s"), [(0.006, 0.1), (1.0, 0.3)])
def test_calls_that_follow_show_what_was_lost_long_before_a_timeout(every_s, longest_s):
    # A loss costs 26 ms where the next call comes 6 ms later, and 220 ms where none does.
    times = [1.0 + i * every_s for i in range(500)]
    spoken = bare(http="http/2", transport={"min_rto": 0.2})
    load = {"kind": "replay", "times": [*times, *(times[-1] + 0.006 * i for i in range(1, 5))]}
    case = scenario(spoken, link={"loss": 0.01}, load=load, calls={"connections": {"round_trips": 0}}, run={"duration": 600.0})
    found = run(case, seed=2)
    require_whole(found)
    latency_s = (found.requests.ended_s - found.requests.arrived_s)[:-4]
    assert longest_s / 2 < latency_s.max() + 0.02 < longest_s
    # A timeout ends the wait all the same.
    cut = scenario(spoken, link={"loss": 0.01}, load=load, calls={"connections": {"round_trips": 0}, "timeout": 0.03})
    assert set(run(cut, seed=2).requests.outcome) == {"ok", "timeout"}


# Connections.


def test_a_server_refuses_connections_beyond_its_limit():
    case = scenario(
        bare(), work=0.5, service={"max_connections": 2}, load={"kind": "replay", "times": [1.0, 1.1, 1.2, 4.0], "clients": 4}
    )
    assert run(case).requests.outcome.tolist() == ["ok", "ok", "unreachable", "unreachable"]


def test_of_those_who_connect_at_the_same_time_only_as_many_get_in():
    # They come 10 ms before the first of them has heard that it is in, with TLS even 30 ms.
    for security, first_s in (("none", 0.54), ("tls-1.3", 0.56)):
        load = {"kind": "replay", "times": [1.0, 1.001, 1.002, 1.003], "clients": 4}
        case = scenario(bare(security=security), work=0.5, service={"max_connections": 2}, load=load)
        assert run(case).requests.outcome.tolist() == ["ok", "ok", "unreachable", "unreachable"]
        assert latencies_s(case) == pytest.approx([first_s, first_s, 0.02, 0.02])


def test_after_a_restart_all_connect_at_once_and_the_server_has_to_agree_with_each():
    shake = {**NO_CPU, "server_cpu": 0.01, "resumed_server_cpu": 0.01}
    times = [*(1 + 0.1 * i for i in range(40)), *[20.0] * 40]
    case = scenario(
        bare(security="tls-1.3", handshake=shake), load={"kind": "replay", "times": times, "clients": 40},
        service={"workers": 1}, faults=[{"crash": "s", "at": 10, "for": 2}],
    )  # fmt: skip
    found = run(case).requests
    assert found.outcome.eq("ok").all()
    storm_s = (found.ended_s - found.arrived_s)[40:]
    assert storm_s.max() == pytest.approx(0.06 + 40 * 0.01, abs=0.011)  # the last of 40 handshakes
    assert run(case).traffic.connections.sum() == 80


def test_what_is_written_of_connections_goes_over_the_protocol():
    case = scenario({"profile": "grpc"}, calls={"connections": {"per_process": 3}})
    spec = case.policy("client", "s.get").connections
    assert (spec.per_process, spec.max_concurrent, spec.round_trips, spec.idle_timeout) == (3, 100, 2, 1800.0)


# Compression.


def test_gzip_agrees_with_published_sizes():
    gzip = Protocol(profile="rest-json", compression=Compression(algorithm="gzip", ratio=0.267)).costs({}, {}).compressor
    for plain, published in [(102, 125), (133, 142), (396, 235), (724, 331), (6578, 1970), (65250, 17539)]:
        assert gzip.compressed(PayloadSize(plain, 102)) == pytest.approx(published, rel=0.2)
    assert gzip.compressed(PayloadSize(24013, 25), (65250 - 102) * 0.85) == pytest.approx(14808, rel=0.05)  # protobuf
    assert gzip.compressed(PayloadSize(90, 90)) > 90


def test_compression_pays_on_narrow_links_only():
    gzip = Protocol(profile="rest-json", compression=Compression(algorithm="gzip")).costs({}, {}).compressor
    page = PayloadSize(50_000, 500)
    assert gzip.pays(page, 1.25e6)  # 10 Mbit/s
    assert not gzip.pays(page, 1.25e9)  # 10 Gbit/s


def test_compressed_bodies_take_fewer_bytes_and_more_time():
    plain = scenario({"profile": "rest-json", "security": "none"}, response=50_000)
    small = scenario({"profile": "rest-json", "security": "none", "compression": {"algorithm": "gzip"}}, response=50_000)
    assert run(small).traffic.response_bytes.sum() < 0.25 * run(plain).traffic.response_bytes.sum()
    assert run(small).traffic.target_cpu_s.sum() > run(plain).traffic.target_cpu_s.sum() + 2 * 50 * 33e-6 * 0.9


# What cannot be.


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("grcp", "did you mean 'grpc'"),
        ("grpc@2020", "only version"),
        ({"profile": "grpc", "http": "http/3", "security": "tls-1.2"}, "QUIC has TLS 1.3 built in"),
        ({"profile": "grpc", "security": "none", "resumption": "0-rtt"}, "only TLS 1.3 has it"),
        ({"profile": "grpc", "transport": {"window": 3}}, "Extra inputs"),
        ("http/2", "HTTP and TLS are its keys"),
    ],
)
def test_what_a_protocol_cannot_be(protocol, said):
    with pytest.raises(ValidationError, match=said):
        scenario(protocol)


@pytest.mark.parametrize("name", ["gzip-x", "gzip", "lz-1"])
@pytest.mark.parametrize("protocol", ["rest-json", "grpc", {"profile": "grpc", "compression": {"algorithm": "gzip"}}])
def test_a_compression_is_called_by_its_algorithm_and_level(name, protocol):
    cost = {"ratio": 0.2, "compress_per_kb": 3e-5, "decompress_per_kb": 4e-6}
    with pytest.raises(ValidationError, match=f"'{name}' is not an algorithm and its level; write for example gzip-6"):
        Scenario.model_validate(scenario(protocol).as_data() | {"compressions": {name: cost}})


@pytest.mark.parametrize(
    ("algorithm", "level", "levels"), [("gzip", 0, "1 to 9"), ("gzip", 10, "1 to 9"), ("brotli", 12, "0 to 11")]
)
def test_a_level_that_the_encoder_does_not_have_is_refused(algorithm, level, levels):
    with pytest.raises(ValidationError, match=f"level = {level}: {algorithm} has levels from {levels}"):
        scenario({"profile": "rest-json", "compression": {"algorithm": algorithm, "level": level}})


def test_a_message_that_is_not_there_is_told_with_its_place():
    with pytest.raises(ValidationError, match=r"services.s.operations.get.response: no message 'product'"):
        scenario("grpc", response="product")


def test_a_reviewer_says_where_compression_loses_and_where_a_bandwidth_is_not_looked_at():
    def said(protocol, **more):
        return [doubt for doubt in doubts(scenario(protocol, **more)) if "compression" in doubt or "bandwidth" in doubt]

    gzip = {"profile": "rest-json", "compression": {"algorithm": "gzip"}}
    assert said(gzip, response=50_000, link={"bandwidth": 1.25e6}) == []
    [fast] = said(gzip, response=50_000, link={"latency": 0.0001, "bandwidth": 1.25e9})
    assert "client -> s.get: compression of the response loses: 50,000 B become" in fast
    [small] = said(gzip, response=50)
    assert "50 B become 73 B; leave it out" in small
    assert said({**gzip, "compression": {"algorithm": "gzip", "minimum_size": 100}}, response=50) == []
    [unread] = said(None, link={"bandwidth": 1e6})
    assert unread.startswith("links.default.bandwidth has no effect")


def test_compression_that_saves_round_trips_is_not_doubted():
    # 19 kB are two windows, compressed one: a round trip of 20 ms for 36 ms of brotli 11, or one of 80 ms.
    def said(latency):
        spoken = bare(compression={"algorithm": "brotli", "level": 11})
        case = scenario(spoken, response=19_000, link={"latency": latency, "bandwidth": 12.5e6})
        return [doubt for doubt in doubts(case) if "compression of the response loses" in doubt]

    assert said(0.04) == []
    [doubt] = said(0.01)
    assert "saves 20.2 ms on the network, on a new connection, and takes 35.5 ms of processors" in doubt


def test_a_reviewer_says_which_link_is_too_narrow():
    def said(**load):
        case = scenario(
            bare(), response=10_000, link={"bandwidth": 1e5, "shared": load.pop("shared", False)}, load={"rate": 20.0, **load}
        )
        return [doubt for doubt in doubts(case) if "Mbit/s" in doubt]

    [one] = said()
    assert one.startswith("client -> s: answers want 1.65 Mbit/s, and the link of each of 1 processes has 0.8")
    assert said(clients=4) == []
    assert len(said(clients=4, shared=True)) == 1


def test_every_number_has_a_source():
    for profile in (*PROFILES.values(), *COMPRESSIONS.values()):
        assert all(len(source) > 5 for source in profile.sources.values()), profile.name


def test_the_same_seed_gives_the_same_rows_and_none_of_it_without_a_protocol():
    case = scenario("grpc", link={"loss": 0.1, "bandwidth": 1e6}, load={"rate": 50.0}, response=30_000)
    one, other = run(case, seed=4), run(case, seed=4)
    assert one.requests.equals(other.requests)
    assert one.traffic.equals(other.traffic)
    assert len(run(scenario(None)).traffic) == 0


# Where protocols meet.


def through(proxy, calls):
    return Scenario.model_validate(
        {
            "services": {"s": {"workers": 10, "operations": {"get": {"request": 1000, "response": 2000, "steps": []}}}},
            "proxies": {"gate": {"workers": 10, "work": 0.0, **proxy}},
            "links": {"default": {"latency": 0.01}},
            "calls": calls,
            "load": {"kind": "replay", "times": [1.0, 2.0], "mix": "s.get"},
            "run": {"duration": 5.0},
        }
    )


def test_a_gateway_speaks_one_protocol_with_clients_and_another_inside():
    outside, inside = bare(security="tls-1.3"), {"profile": "grpc", "security": "none", "codec": FREE}
    calls = {"client -> s": {"via": "gate", "protocol": outside}, "gate -> s": {"protocol": inside}}
    case = through({}, calls)
    # A new connection each: TCP and TLS outside, TCP inside; then a round trip on both.
    assert latencies_s(case) == pytest.approx([0.06 + 0.04, 0.04])
    rows = {(row.caller, row.target): row for row in run(case).traffic.itertuples()}
    assert set(rows) == {("client", "gate.s.get"), ("gate", "s.get")}
    assert rows["client", "gate.s.get"].request_bytes > rows["gate", "s.get"].request_bytes  # HTTP/1.1 repeats its headers


def test_a_balancer_of_connections_passes_bytes_on_unread():
    case = through({"layer": 4}, {"client -> s": {"via": "gate", "protocol": bare()}})
    result = run(case)
    assert result.requests.outcome.tolist() == ["ok", "ok"]
    assert result.traffic.caller.tolist() == ["client"]


def test_a_sidecar_speaks_for_its_caller():
    case = through({"placement": "sidecar"}, {"client -> s": {"via": "gate"}, "gate -> s": {"protocol": bare()}})
    assert latencies_s(case) == pytest.approx([0.04, 0.02])


def test_what_was_read_is_written_so_that_it_is_read_again():
    messages = {
        "part": {"id": {"int": 7}, "price": {"double": 1.5}, "kinds": {"list": {"string": 3}, "count": 2}, "raw": {"bytes": 4}},
        "whole": {"parts": {"list": "part", "count": 3}, "state": {"enum": "OPEN"}, "ok": {"bool": True}},
        "view": {"of": "whole", "select": ["parts.price", "ok"]},
    }
    spoken = {"profile": "grpc", "transport": {"initial_window": 32}, "compression": {"algorithm": "zstd", "minimum_size": 500}}
    case = scenario(spoken, request="whole", response="view", messages=messages, link={"bandwidth": 1e6, "shared": True})
    again = loads(dumps(case))
    assert (again.hash, again.policy("client", "s.get")) == (case.hash, case.policy("client", "s.get"))
    assert again.payloads.size("view", "json") == case.payloads.size("view", "json")
