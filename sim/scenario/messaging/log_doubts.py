"""Doubts about logs: idle consumers, hot partitions, members that are put out, messages that are lost or turned round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim.policies.partitions import partition_of
from sim.policies.popularity import Popularity
from sim.scenario.edges import operations_of, publishes_of
from sim.scenario.faults import Crash, ReplayGroup
from sim.scenario.forecast import demands_of, messages_rps
from sim.scenario.messaging.logs import ConsumerGroup, Log
from sim.scenario.messaging.requests import carriers_of_replies
from sim.scenario.model import Scenario
from sim.units import format_duration

#: Kafka's advice: a session outlives the loss of two heartbeats.
_HEARTBEATS: Final = 3


def doubts_of_logs(scenario: Scenario) -> Iterator[str]:
    """What a careful reviewer would say about logs and their groups."""
    demands = demands_of(scenario)
    rates = messages_rps(scenario)
    for name, log in scenario.logs.items():
        yield from _lost(scenario, name, log)
        yield from _turned_round(scenario, name, log)
        if not log.groups and name not in carriers_of_replies(scenario):
            yield f"log {name}: nobody reads it: what is published there stays; give it a group"
        for group in log.groups:
            spec, where = log.group(group), f"logs.{name}.groups.{group}"
            service_s, rate_rps = demands[spec.consumer].held_s, rates.get(f"{name}.{group}", 0.0)
            yield from _idle(scenario, where, log, spec)
            yield from _overloaded(scenario, where, name, log, spec, rate_rps * service_s)
            yield from _put_out(where, spec, service_s)
            yield from _given_up(scenario, where, name, spec)
            yield from _forgotten(scenario, where, log, spec)
            yield from _again(scenario, where, f"{name}.{group}", spec)


def _members(scenario: Scenario, spec: ConsumerGroup) -> int:
    return spec.consumers * scenario.services[spec.consumer.split(".")[0]].replicas


def _idle(scenario: Scenario, where: str, log: Log, spec: ConsumerGroup) -> Iterator[str]:
    members = _members(scenario, spec)
    if members > log.partitions:
        yield (
            f"{where}: {members} consumers share {log.partitions} partition{'s' if log.partitions > 1 else ''}, so "
            f"{members - log.partitions} have nothing to do but to stand in; more partitions, or fewer consumers"
        )


def hottest(scenario: Scenario, name: str) -> float:
    """Share of a log's messages that its fullest partition gets, as their keys are distributed (1 / partitions without keys).

    Every publish counts the same, however often it happens.
    """
    log = scenario.logs[name]
    shares, publishes = [0.0] * log.partitions, 0
    for _, step in publishes_of(scenario):
        if step.publish != name:
            continue
        publishes += 1
        if step.key is None:
            shares = [share + 1 / log.partitions for share in shares]
            continue
        for key, share in enumerate(Popularity(step.key.keys, step.key.zipf).shares()):
            shares[partition_of(key, log.partitions)] += share
    return max(shares) / publishes if publishes else 1 / log.partitions


def _overloaded(scenario: Scenario, where: str, name: str, log: Log, spec: ConsumerGroup, busy: float) -> Iterator[str]:
    """Groups that fall behind: all their consumers together, or the one that reads the fullest partition."""
    there_are = min(_members(scenario, spec), log.partitions)
    if busy >= there_are:
        yield (
            f"{where}: it falls behind, and its lag grows without end: its messages keep {busy:.3g} consumers busy, and "
            f"{there_are} read ({log.partitions} partitions, {_members(scenario, spec)} consumers); more of both"
        )
        return
    share = hottest(scenario, name) if busy >= 1 else 0.0
    if share * busy >= 1:
        yield (
            f"{where}: one partition is hot: it gets {share:.0%} of the messages, as keys and `zipf` have it, which keep its "
            f"one reader busy {share * busy:.2f} times over; its lag grows without end whatever the number of consumers; other "
            "keys, or faster work"
        )


def _put_out(where: str, spec: ConsumerGroup, service_s: float) -> Iterator[str]:
    """Settings by which living members are taken for dead."""
    poll_s = spec.max_poll_records * service_s
    if poll_s >= spec.max_poll_interval:
        yield (
            f"{where}: with a backlog a poll brings max_poll_records = {spec.max_poll_records} messages of "
            f"{format_duration(service_s)} each, {format_duration(poll_s)} of work, and max_poll_interval = "
            f"{format_duration(spec.max_poll_interval)} ends before: its members are put out while they work, the group "
            "rebalances again and again, and messages are done twice; fewer records per poll"
        )
    if spec.session_timeout < _HEARTBEATS * spec.heartbeat_interval:
        yield (
            f"{where}: session_timeout = {format_duration(spec.session_timeout)} is less than {_HEARTBEATS} × heartbeat_interval "
            f"= {format_duration(spec.heartbeat_interval)}: one late heartbeat, and a living member is taken for dead; at least "
            f"{format_duration(_HEARTBEATS * spec.heartbeat_interval)}"
        )


def _wanted(scenario: Scenario, consumer: str) -> str | None:
    """The objective that wants an effect to happen."""
    return next((slo.text for slo in scenario.slos if slo.effect and slo.of in (None, consumer)), None)


def _lost(scenario: Scenario, name: str, log: Log) -> Iterator[str]:
    """Settings that lose messages, where an objective wants their effect."""
    for group in log.groups:
        spec = log.group(group)
        wanted = _wanted(scenario, spec.consumer)
        if wanted is None:
            continue
        if log.producer.acks != "all":
            acks = log.producer.acks
            how = "what is lost on the way is lost unseen" if acks == 0 else "what only the leader has is lost with it"
            yield f"log {name}: with acks: {acks} {how}, and the objective '{wanted}' wants it to happen; write acks: all"
            return
        if spec.commit == "before":
            yield (
                f"logs.{name}.groups.{group}: commit: before is at most once: what a consumer has in hand when it dies is lost, "
                f"and the objective '{wanted}' wants it to happen; write commit: interval, each or batch"
            )


def _turned_round(scenario: Scenario, name: str, log: Log) -> Iterator[str]:
    """Orders per key that a retry breaks."""
    if log.producer.idempotent or log.producer.acks == 0 or log.producer.max_in_flight == 1:
        return
    for address, step in publishes_of(scenario):
        if step.publish == name and step.key is not None:
            yield (
                f"log {name}: {address} publishes with a key, and idempotent: false with max_in_flight = "
                f"{log.producer.max_in_flight} lets a later batch overtake one that is sent again, or writes it twice; write "
                "idempotent: true"
            )
            return


def _given_up(scenario: Scenario, where: str, name: str, spec: ConsumerGroup) -> Iterator[str]:
    """Messages at which all tries fail."""
    if spec.max_deliveries != "unlimited":
        if spec.dead_letter is None:
            yield (f"{where}: after {spec.max_deliveries} tries a message is passed over without a trace; give it a dead_letter")
        return
    for address, step in publishes_of(scenario):
        if step.poison and step.publish == name:
            yield (
                f"{where}: {address} publishes poison, and max_deliveries is unlimited: the first such message stops its "
                "partition for ever; set max_deliveries, and a dead_letter"
            )
            return


def _forgotten(scenario: Scenario, where: str, log: Log, spec: ConsumerGroup) -> Iterator[str]:
    """Messages that are deleted before a group that is down has read them."""
    kept_s = None if log.retention is None else log.retention.time
    service = spec.consumer.split(".")[0]
    for i, fault in enumerate(scenario.faults):
        if kept_s is None or not isinstance(fault, Crash) or fault.crash != service or fault.replica != "all":
            continue
        down_s = fault.mttr if fault.at is None else fault.for_
        if down_s is None or down_s >= kept_s:
            lost = {"earliest": "", "latest": ", and offset_reset: latest passes over what is left"}.get(
                spec.offset_reset, ", and offset_reset: none reads nothing after that"
            )
            down = "for good" if down_s is None else f"for {format_duration(down_s)}"
            yield (
                f"{where}: faults[{i}] takes {service} down {down}, and the log keeps messages for {format_duration(kept_s)}: "
                f"the first are deleted unread{lost}; a longer retention"
            )
            return


def _again(scenario: Scenario, where: str, name: str, spec: ConsumerGroup) -> Iterator[str]:
    """Replays that do everything once more."""
    operation = operations_of(scenario)[spec.consumer]
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, ReplayGroup) and fault.replay == name and fault.to != "latest" and operation.deduplicate is None:
            yield (
                f"{where}: faults[{i}] replays what is done, and {spec.consumer} does it once more: each effect happens twice; "
                f"give {spec.consumer} a deduplicate that remembers as long, or know that it may"
            )
            return
