"""What arithmetic says about a scenario: every number here can be checked on paper."""

from __future__ import annotations

import math
from textwrap import dedent

import pytest

from sim.scenario.doubts import doubts
from sim.scenario.forecast import Forecast, demands_of, edges_of, forecast, offered_rps
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads

CHAIN = """
run: {duration: 100s}
services:
  shop:
    replicas: 2
    workers: 10
    operations:
      buy: [{work: 10ms}, {call: stock.reserve, count: {1: 50, 3: 50}}, {call: payment.charge}, {publish: emails}]
  stock: {workers: 5, operations: {reserve: [{work: 5ms}]}}
  payment: {workers: 4, operations: {charge: [{fail: 50 %}, {work: 20ms}]}}
  email: {workers: 1, operations: {send: [{work: 8ms}]}}
queues: {emails: {consumer: email.send, persist: 2ms}}
links: {shop -> stock: 1ms, shop -> emails: 0.5ms}
load: {rate: 100/s, mix: shop.buy}
"""


def scenario(text: str) -> Scenario:
    found = loads(dedent(text))
    assert isinstance(found, Scenario)
    return found


def by_name(found: Forecast) -> dict[str, tuple[float, float, float]]:
    return {s.name: (s.visits_rps, s.work_s, s.held_s) for s in found.services}


def test_visits_work_and_held_times_of_a_chain() -> None:
    found = forecast(scenario(CHAIN))
    expected = {
        # own 10 ms; two calls in the mean, each 2 × 1 ms of network and 5 ms; payment 10 ms; broker 2 × 0.5 + 2 ms
        "shop": (100.0, 0.010, 0.010 + 2 * 0.007 + 0.010 + 0.003),
        "stock": (200.0, 0.005, 0.005),
        "payment": (100.0, 0.010, 0.010),  # half of the visits fail before they work
        "email": (100.0, 0.008, 0.008),
    }
    assert by_name(found) == {name: pytest.approx(values) for name, values in expected.items()}
    assert [s.utilisation for s in found.services] == pytest.approx([3.7 / 20, 0.2, 0.25, 0.8])
    assert (found.requests, found.attempts) == (
        pytest.approx(10_000),
        pytest.approx(10_000 * (1 + 2 + 1 + 2)),
    )  # publish, delivery


def test_ways_between_zones_and_to_copies_are_part_of_what_holds_a_worker() -> None:
    found = scenario("""
        zones: [a, b]
        zone_links: {default: 10ms}
        brokers: {kafka: {nodes: 2, copies: 2, write: 1ms, replicate: 2ms}}
        logs: {orders: {broker: kafka, partitions: 2}}
        services:
          shop: {replicas: 2, workers: 9, operations: {buy: [{call: pay.charge}], note: [{publish: orders}]}}
          pay: {replicas: 1, workers: 9, zones: {b: 1}, operations: {charge: [{work: 3ms}]}}
        load: {rate: 1/s, mix: {shop.buy: 1, shop.note: 1}}
        """)
    demands = demands_of(found)
    # Half of the shop is where pay is: 2 × 5 ms; half of it is where a partition's leader is, whose copy is 2 × 10 ms away.
    assert demands["shop.buy"].held_s == pytest.approx(0.010 + 0.003)
    assert demands["shop.note"].held_s == pytest.approx(0.010 + 0.001 + 0.002 + 0.020)


def test_branches_take_the_longest_and_make_all_calls() -> None:
    branches = "{parallel: [{call: payment.charge}, [{work: 1ms}, {call: stock.reserve}]]}, "
    text = CHAIN.replace("{call: payment.charge}, ", branches)
    found = by_name(forecast(scenario(text)))
    assert found["stock"][0] == pytest.approx(300.0)
    assert found["shop"][2] == pytest.approx(0.010 + 2 * 0.007 + 0.010 + 0.003)  # payment's 10 ms outlast 1 + 7 ms


def test_calls_at_the_same_time_hold_the_worker_once() -> None:
    text = CHAIN.replace("count: {1: 50, 3: 50}", "count: 3, in_parallel: true")
    found = by_name(forecast(scenario(text)))
    assert (found["stock"][0], found["shop"][2]) == (pytest.approx(300.0), pytest.approx(0.010 + 0.007 + 0.010 + 0.003))


def test_rounds_that_may_fail_are_counted_as_far_as_they_go() -> None:
    rounds = "{repeat: [{call: stock.reserve}, {fail: 50 %}], count: {0: 50, 2: 50}}"
    text = CHAIN.replace("{call: stock.reserve, count: {1: 50, 3: 50}}", rounds)
    found = by_name(forecast(scenario(text)))
    # Half of the visits begin a first round, half of these a second; 5 of 8 come to the payment.
    assert found["stock"][0] == pytest.approx(100 * (0.5 + 0.25))
    assert found["payment"][0] == pytest.approx(100 * 5 / 8)
    assert found["shop"][2] == pytest.approx(0.010 + 0.75 * 0.007 + 5 / 8 * (0.010 + 0.003))


def test_rounds_multiply_the_calls_of_a_visit() -> None:
    rounds = "{repeat: [{call: stock.reserve, count: 2}], count: {1: 1, 4: 1}}"
    text = CHAIN.replace("{call: stock.reserve, count: {1: 50, 3: 50}}", rounds)
    (edge,) = [edge for edge in edges_of(scenario(text)) if edge.target == "stock.reserve"]
    assert edge.most == 8


def test_a_part_of_a_saga_is_undone_as_often_as_a_later_one_fails() -> None:
    parts = "{saga: [{do: {call: stock.reserve}, undo: {call: payment.charge}}, {do: {fail: 50 %}}, {do: {fail: 50 %}}]}"
    text = CHAIN.replace("{call: payment.charge}, ", "").replace("{call: stock.reserve, count: {1: 50, 3: 50}}", parts)
    found = by_name(forecast(scenario(text)))
    assert found["stock"][0] == pytest.approx(100.0)
    assert found["payment"][0] == pytest.approx(75.0)
    (edge,) = [edge for edge in edges_of(scenario(text)) if edge.target == "payment.charge"]
    assert edge.most == 1


def test_background_work_uses_the_cpu_limit_of_every_replica() -> None:
    cpu = "    workers: 10\n    cpu: {quota: 50ms, period: 100ms, background: {every: 1s, work: 100ms}}\n"
    (shop, *_) = forecast(scenario(CHAIN.replace("    workers: 10\n", cpu))).services
    assert shop.cpu_utilisation == pytest.approx(100 * 0.010 / (2 * 0.5) + 0.1 / 0.5)


def test_a_cpu_limit_is_looked_at_in_the_peak_too() -> None:
    text = CHAIN.replace("    workers: 10\n", "    workers: 10\n    cpu: {quota: 50ms, period: 100ms}\n")
    text = text.replace("{rate: 100/s,", "{kind: spike, rate: 50/s, peak: 110/s, at: 10s, for: 10s,")
    (shop, *_) = forecast(scenario(text)).services
    assert shop.cpu_utilisation == pytest.approx(56 * 0.010 / (2 * 0.5))
    assert shop.peak_cpu_utilisation == pytest.approx(1.1)
    assert "shop cannot keep up at the peak: its work needs 1.1 times its CPU limit" in doubts(scenario(text))


def test_a_cpu_limit_counts_work_only() -> None:
    text = CHAIN.replace("    workers: 10\n", "    workers: 10\n    cpu: {quota: 50ms, period: 100ms}\n")
    (shop, *_) = forecast(scenario(text)).services
    assert shop.cpu_utilisation == pytest.approx(100 * 0.010 / (2 * 0.5))


@pytest.mark.parametrize(
    ("load", "mean", "peak"),
    [
        ("rate: 7/s", 7, 7),
        ("kind: constant, rate: 7/s", 7, 7),
        ("kind: steps, points: [{at: 0s, rate: 10/s}, {at: 30s, rate: 30/s}]", 20, 30),
        ("kind: ramp, points: [{at: 0s, rate: 0/s}, {at: 40s, rate: 40/s}]", (25 * 30 + 40 * 10) / 40, 40),
        ("kind: spike, rate: 10/s, peak: 50/s, at: 15s, for: 10s", 20, 50),
        ("kind: spike, rate: 10/s, peak: 50/s, at: 90s, for: 10s", 10, 10),
        ("kind: daily, rate: 10/s, swing: 50 %, period: 40s, peak_at: 10s", 10, 15),
        ("kind: daily, rate: 10/s, swing: 50 %, period: 160s, peak_at: 100s", 0, None),
        ("kind: replay, times: [5s, 20s, 30s, 49s, 50s]", 3 / 40, 3 / 40),
    ],
)
def test_rates_within_the_measured_window(load: str, mean: float, peak: float | None) -> None:
    found = scenario(f"{CHAIN.split('load:')[0]}load: {{{load}, mix: shop.buy}}").load
    rates = offered_rps(found, 10.0, 50.0)
    if peak is None:  # a quarter of a day that begins in the valley, summed up
        points = [10 + (i + 0.5) * 40 / 10_000 for i in range(10_000)]
        mean = sum(10 * (1 + 0.5 * math.cos(2 * math.pi * (t - 100) / 160)) for t in points) / 10_000
        peak = max(10 * (1 + 0.5 * math.cos(2 * math.pi * (t - 100) / 160)) for t in (10.0, 50.0))
    assert rates == (pytest.approx(mean), pytest.approx(peak))


def test_a_closed_load_offers_at_most_what_its_users_can_ask() -> None:
    found = forecast(scenario(CHAIN.replace("rate: 100/s", "kind: closed, users: 37, think: 963ms")))
    assert found.rate_rps == pytest.approx(37 / (0.963 + 0.037))


def test_a_consumer_that_publishes_again_is_followed() -> None:
    text = CHAIN.replace("send: [{work: 8ms}]", "send: [{work: 8ms}, {publish: emails, probability: 50 %}]")
    assert by_name(forecast(scenario(text)))["email"][0] == pytest.approx(200.0)


SILENT = "faults: [{crash: payment, silent: true, at: 5s}]"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("work: 8ms", "work: 30ms", "email cannot keep up: utilisation 3 of its 1 workers; it needs at least 4"),
        (
            "rate: 100/s",
            "kind: spike, rate: 100/s, peak: 200/s, at: 1s, for: 1s",
            "email cannot keep up at the peak: utilisation 1.6",
        ),
        ("shop -> stock: 1ms", "shop -> stock: {latency: 1ms, loss: 1 %}", "shop -> stock.reserve has no timeout, and"),
        ("load:", f"{SILENT}\nload:", "shop -> payment.charge has no timeout, and payment crashes silently"),
        (
            "load:",
            "faults: [{link: payment, partition: true, at: 5s}]\nload:",
            "shop -> payment.charge has no timeout, and a link fault loses messages at payment",
        ),
        (
            "load:",
            "calls: {client -> shop: {retry: {max_attempts: 3}}, shop -> stock: {retry: {max_attempts: 4}}}\nload:",
            "retries multiply through layers: one call may become 12 attempts at stock.reserve "
            "(client -> shop.buy × 3, shop -> stock.reserve × 4)",
        ),
        ("load:", "calls: {stock: {retry: {max_attempts: unlimited}}}\nload:", "shop -> stock.reserve retries without end"),
        ("load:", "calls: {stock: {timeout: 1s, per_try_timeout: 2s}}\nload:", "shop -> stock.reserve: per_try_timeout 2 s"),
        (
            "load:",
            "calls: {stock: {timeout: 1s, retry: {max_attempts: 5, backoff: {base: 400ms}}}}\nload:",
            "shop -> stock.reserve: retry.max_attempts = 5 does not fit into timeout = 1 s",
        ),
        ("load:", "faults: [{slow: stock, factor: 2, at: 200s}]\nload:", "faults[0] begins at 200 s, after the last arrival"),
        ("duration: 100s", "duration: 1s", "p99 of some 100 requests rests on 1 answers per replication; run.duration: 10s"),
        ("duration: 100s", "duration: 100000s", "one run makes some 6e+07 attempts"),
        (
            "rate: 100/s",
            "kind: replay, times: [101s, 102s]",
            "load: none of the 2 replayed times, 101 s to 102 s, lies in the measured window from 0 s to 100 s, "
            "all are after the end",
        ),
        (
            "rate: 100/s",
            "kind: daily, rate: 100/s",
            "load: of a day of 86400 s the run sees 0.12 %, at 56.6 requests/s in the mean: no curve; shorten load.period",
        ),
        (
            "rate: 100/s",
            "kind: steps, points: [{at: 0s, rate: 0/s}, {at: 200s, rate: 5/s}]",
            "load: no request arrives in the measured window from 0 s to 100 s: nothing is measured",
        ),
    ],
)
def test_every_doubt_has_its_sentence(right: str, wrong: str, said: str) -> None:
    text = f"{CHAIN}slos: [p99 <= 1s]\n"
    assert doubts(scenario(text)) == []
    found = doubts(scenario(text.replace(right, wrong, 1)))
    assert any(doubt.startswith(said) for doubt in found), found


def test_a_timeout_answers_the_doubt_about_lost_calls() -> None:
    text = CHAIN.replace("load:", f"{SILENT}\ncalls: {{payment: {{timeout: 1s}}}}\nload:")
    assert doubts(scenario(text)) == []


@pytest.mark.parametrize(
    ("load", "where"),
    [
        ("kind: replay, times: [0s, 9s]", "in the warm-up"),
        ("kind: replay, times: [0s, 200s]", "outside"),
        ("kind: replay, times: [0s, 10s]", None),
        ("kind: daily, rate: 100/s, period: 1000s", None),
        ("kind: daily, rate: 100/s, period: 1001s", "no curve"),
    ],
)
def test_a_load_beside_the_measured_window_is_doubted(load: str, where: str | None) -> None:
    text = CHAIN.replace("{duration: 100s}", "{warmup: 10s, duration: 100s}").replace("rate: 100/s", load)
    told = [doubt for doubt in doubts(scenario(text)) if doubt.startswith("load: ")]
    assert [where] == [where for doubt in told if where and where in doubt] if where else told == []


def test_visits_follow_calls_however_deep_and_messages() -> None:
    services = {
        f"s{i}": {"workers": 1, "operations": {"x": [{"call": f"s{i + 1}.x"}] if i < 499 else [{"publish": "q"}]}}
        for i in range(500)
    }
    services["end"] = {"workers": 1, "operations": {"y": [{"work": 0.1}, {"call": "end.z", "count": 3}], "z": [{"work": 0.2}]}}
    deep = Scenario.model_validate(
        {"services": services, "queues": {"q": {"consumer": "end.y"}}, "load": {"rate": 0.5, "mix": "s0.x"}}
    )
    found = by_name(forecast(deep))
    assert {found[f"s{i}"][0] for i in range(500)} == {0.5}
    assert found["end"] == pytest.approx((2.0, 0.7 / 4, (0.1 + 0.6 + 0.6) / 4))


def test_a_chain_of_a_thousand_services_is_no_problem() -> None:
    services = {
        f"s{i}": {"workers": 1, "operations": {"x": [{"work": 0.001}, *([{"call": f"s{i + 1}.x"}] if i < 999 else [])]}}
        for i in range(1000)
    }
    long = Scenario.model_validate(
        {"services": services, "load": {"rate": 0.1, "mix": "s0.x"}, "calls": {"s1": {"retry": {"max_attempts": 2}}}}
    )
    assert forecast(long).services[0].held_s == pytest.approx(1.0)
    assert doubts(long) == []


def test_a_queue_with_too_few_consumers_is_doubted():
    def queue(consumers):
        return Scenario(
            services={
                "shop": {"workers": "unlimited", "operations": {"buy": [{"publish": "mails"}]}},
                "mail": {"replicas": 2, "workers": 99, "operations": {"send": [{"work": 0.12}]}},
            },
            queues={"mails": {"consumer": "mail.send", "consumers": consumers}},
            links={"mails -> mail": 0.005},
            load={"rate": 100, "mix": "shop.buy"},
        )

    # 100 messages/s, each 130 ms away: 13 consumers busy
    assert any("queue mails cannot be emptied" in doubt and "there are 12" in doubt for doubt in doubts(queue(6)))
    assert not any("cannot be emptied" in doubt for doubt in doubts(queue(7)))
