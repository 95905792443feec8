"""Stories of logs in zones: where partitions are led, what crosses over, and what a zone takes along when it goes."""

from __future__ import annotations

import pytest
from log_shop import done, rows, simulate

from sim.errors import ScenarioError
from sim.scenario.yaml import loads

#: Three nodes, one in each zone, that write in no time, with a way of 10 ms between zones.
ZONES = {"zones": ("a", "b", "c"), "zone_links": {"default": 0.01}, "links": {"default": 0.1}}
MACHINES = {"brokers": {"kafka": {"nodes": 3, "copies": 3, "failover": 1.0}}}


def three(*, shop="a", mail="a", log=(), work=0.0, **settings):
    """A shop and a mail process in zones of their own, and a log on three nodes."""
    return simulate(
        shop={"zones": [shop]}, process={"zones": [mail]}, log={"broker": "kafka", **dict(log)}, work=work,
        **{**ZONES, **MACHINES, **settings},
    )  # fmt: skip


def alone(zone, shop, mail):
    """The same with a log that is in one zone."""
    return simulate(shop={"zones": [shop]}, process={"zones": [mail]}, log={"zone": zone}, work=0.0, **ZONES)


def test_what_is_sent_and_fetched_crosses_zones_by_the_way():
    # Sent in 0.1, answered in 0.1, fetched in 0.1; each 10 ms more where it crosses. The client is outside of all, 0.1 away.
    here, away, there = alone("a", "a", "a"), alone("b", "a", "a"), alone("b", "a", "b")
    assert [round(r.requests.ended_s[0], 6) for r in (here, away, there)] == [0.4, 0.42, 0.42]
    assert [done(r) for r in (here, away, there)] == [[0.3], [0.32], [0.31]]


def test_each_partition_is_where_its_leader_is():
    # Copies are written in no time and have 20 ms there and back; a message is shown when all have it.
    result = three(times=tuple(range(30)), log={"partitions": 3, "consuming": {"fetch_wait": 90.0}}, send={"key": {"keys": 30}})
    shown = rows(result).assign(way_s=lambda r: (r.done_s - r.arrived_s).round(6)).groupby("partition").way_s.unique()
    # 0.1 to the shop, 0.1 there, 0.02 copies, 0.1 back; led in a, or in b and c with a crossing there and one back
    assert [ways.tolist() for ways in shown] == [[0.32], [0.34], [0.34]]


def test_a_copy_in_the_own_zone_is_asked_instead_of_the_leader():
    nearest = {"consuming": {"fetch_from": "nearest"}}
    far, near = three(shop="b", mail="b"), three(shop="b", mail="b", log=nearest)  # led in a
    assert (done(far), done(near)) == ([0.34], [0.33])
    # While the node in b is down its members ask the leader again, when they have waited for it in vain.
    down = {"outage": "kafka", "node": 1, "at": 0.0, "for": 10.0}
    [without] = done(three(shop="b", mail="b", times=(1.0,), log=nearest, faults=[down]))
    assert 1.34 <= without <= 1.34 + 0.5


def test_a_zone_that_goes_takes_leaders_along_and_confirmed_messages_are_safe():
    result = three(
        shop="b", mail="b", times=tuple(i * 0.25 for i in range(40)), log={"partitions": 3, "min_insync": 2},
        producer={"request_timeout": 1.0, "delivery_timeout": 60.0}, faults=[{"zone": "a", "at": 5.0, "for": 20.0}],
    )  # fmt: skip
    assert rows(result).times_done.tolist() == [1] * 40
    assert result.requests.outcome.tolist() == ["ok"] * 40
    # Led in a was one of three: its messages waited for the failover, the others did not.
    late = rows(result).loc[lambda r: r.done_s - r.arrived_s > 0.6]
    assert late.partition.unique().tolist() == [0]
    assert late.done_s.min() > 6.0


def test_a_log_without_a_broker_is_down_with_its_zone():
    result = simulate(
        shop={"zones": ["b"]}, process={"zones": ["b"]}, log={"zone": "a"}, times=(0.0, 1.0), work=0.0,
        faults=[{"zone": "a", "at": 0.5, "for": 2.0}], **ZONES,
    )  # fmt: skip
    first, second = done(result)
    assert first == 0.32
    assert second > 2.5


def test_a_member_that_is_cut_off_from_the_coordinator_is_put_out():
    # Mail in a and in b; the log, and with it the coordinator, in a: after the session all goes to the one in a.
    result = simulate(
        shop={"zones": ["a"]}, process={"replicas": 2, "zones": ["a", "b"]}, work=0.0, times=tuple(i * 0.5 for i in range(40)),
        log={"zone": "a", "partitions": 2}, consuming={"session_timeout": 6.0, "heartbeat_interval": 1.0, "commit": "each"},
        faults=[{"partition": ["b", ["a", "c"]], "at": 5.0, "for": 30.0}], send={"key": {"keys": 20}}, **ZONES,
    )  # fmt: skip
    found = rows(result)
    before = found[found.arrived_s < 12.0]
    longest = (before.done_s - before.arrived_s).groupby(before.partition).max()
    # The partition read in a goes on; that in b waits for the session and a rebalance, from the message that b had in hand on.
    assert longest[0] < 0.41
    assert 6.0 < longest[1] < 8.1
    assert found.times_done.min() == 1


def test_a_zone_is_said_once():
    with pytest.raises(ScenarioError, match=r"logs.orders.zone: no zone 'd'"):
        loads(
            "zones: [a, b]\n"
            "logs: {orders: {zone: d, groups: {mails: {consumer: mail.send}}}}\n"
            "services:\n"
            "  shop: {workers: 1, operations: {buy: [{publish: orders}]}}\n"
            "  mail: {workers: 1, operations: {send: [{work: 5ms}]}}\n"
            "load: {rate: 1/s, mix: shop.buy}\n"
        )
    with pytest.raises(ValueError, match="where the nodes of kafka are"):
        three(log={"zone": "a"})
