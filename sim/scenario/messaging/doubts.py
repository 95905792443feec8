"""Doubts about messages: queues that cannot be emptied, that repeat or lose, and dead letters that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim.scenario.edges import operations_of, publishes_of
from sim.scenario.forecast import demands_of, edges_of, messages_rps, reply_s
from sim.scenario.messaging.broker_load import broker_utilisation, leaders_of
from sim.scenario.messaging.log_doubts import doubts_of_logs
from sim.scenario.messaging.queues import Queue
from sim.scenario.messaging.requests import carriers_of_replies, doubts_of_requests, requests_of
from sim.scenario.model import Scenario
from sim.scenario.services import Payload
from sim.units import format_duration

#: A consumer hoards when what it may hold is worth so many seconds of all consumers' work.
_HOARD_S: Final = 10.0


def doubts_of_messages(scenario: Scenario) -> Iterator[str]:
    """What a careful reviewer would say about queues, topics, logs and brokers."""
    if not scenario.queues and not scenario.logs:
        return
    demands = demands_of(scenario)
    rates = messages_rps(scenario)
    for name, queue in scenario.queues.items():
        if queue.preset is None and queue.overflow != "reject" and queue.capacity == "unbounded":
            yield f"queue {name}: overflow: {queue.overflow} never happens without a capacity; set queues.{name}.capacity"
        if queue.consumer is None:
            continue
        service_s = _each_s(queue, demands[queue.consumer].held_s)
        yield from _too_few_consumers(scenario, name, queue, rates.get(name, 0.0), service_s)
        yield from _repeats(scenario, name, queue, service_s)
        yield from _hoards(scenario, name, queue, rates.get(name, 0.0), service_s)
        yield from _lost(scenario, name, queue)
        yield from _poison(scenario, name, queue)
        yield from _dead_too_late(scenario, name, queue)
    yield from _busy_brokers(scenario)
    yield from _nobody_reads(scenario)
    yield from _unconfirmed(scenario)
    yield from _no_keys(scenario)
    waits_s = {
        (path, step.request): reply_s(scenario, address.split(".")[0], step, demands)
        for address, path, step in requests_of(scenario)
    }
    yield from _payloads(scenario)
    yield from _unused_stores(scenario)
    yield from _full_brokers(scenario)
    yield from _endless_waits(scenario)
    yield from _beside_poison(scenario)
    yield from doubts_of_requests(scenario, waits_s)
    yield from doubts_of_logs(scenario)


def _each_s(queue: Queue, call_s: float) -> float:
    """What one message costs its consumer, in seconds: of a full call, its share."""
    return call_s if queue.batch is None else call_s / queue.batch.size + queue.batch.each.mean


def _beside_poison(scenario: Scenario) -> Iterator[str]:
    """Calls for several messages that fail because of one of them, always."""
    for address, step in publishes_of(scenario):
        for name in scenario.consumers(step.publish) if step.poison else ():
            batch = scenario.batch_of(name)
            if batch is not None and batch.size > 1 and batch.on_failure == "all":
                yield (
                    f"{name}: {address} publishes poison, and one such message makes its whole call fail, each time: up to "
                    f"{batch.size - 1} good ones are given up with it; write batch.on_failure: each"
                )


def _consumers(scenario: Scenario, queue: Queue) -> int:
    assert queue.consumer is not None
    if queue.single_active_consumer:
        return 1
    return queue.consumers * scenario.services[queue.consumer.split(".")[0]].replicas


def _too_few_consumers(scenario: Scenario, name: str, queue: Queue, rate_rps: float, service_s: float) -> Iterator[str]:
    """Queues that fill faster than their consumers, one message each at a time, can empty them."""
    assert queue.consumer is not None
    away_s = service_s
    if queue.prefetch == 1 and queue.delivery == "push":  # with more at hand the way is taken while others are worked on
        away_s += 2 * scenario.link(name, queue.consumer.split(".")[0]).latency.mean
    there_are = _consumers(scenario, queue)
    if rate_rps * away_s < there_are:
        return
    cure = f"leave out queues.{name}.single_active_consumer" if queue.single_active_consumer else f"set queues.{name}.consumers"
    grows = "" if queue.capacity != "unbounded" or queue.time_to_live is not None else ", and its backlog grows without end"
    yield (
        f"queue {name} cannot be emptied: {rate_rps:.3g} messages/s of {format_duration(away_s)} each keep "
        f"{rate_rps * away_s:.3g} consumers busy, and there {'is' if there_are == 1 else 'are'} {there_are}{grows}; {cure}"
    )


def _repeats(scenario: Scenario, name: str, queue: Queue, service_s: float) -> Iterator[str]:
    """Timeouts that end while a message still waits for its turn at its consumer."""
    limit_s = queue.visibility_timeout
    if limit_s is None or queue.acknowledge == "before":
        return
    assert queue.consumer is not None
    held, word = (queue.receive_batch, "receive_batch") if queue.delivery == "poll" else (queue.prefetch, "prefetch")
    if held * service_s < limit_s:
        return
    idempotent = operations_of(scenario)[queue.consumer].deduplicate is not None
    harm = (
        "is delivered again while it is worked on" if idempotent else "is delivered again while it is worked on, and done twice"
    )
    yield (
        f"queue {name}: visibility_timeout = {format_duration(limit_s)} ends before {word} = {held} messages of "
        f"{format_duration(service_s)} each are done ({format_duration(held * service_s)}): what waits at its consumer {harm}; "
        f"a longer timeout, or a smaller {word}"
    )


def _hoards(scenario: Scenario, name: str, queue: Queue, rate_rps: float, service_s: float) -> Iterator[str]:
    """Consumers that hold what others could do."""
    if queue.delivery == "poll" or queue.prefetch == 1 or _consumers(scenario, queue) == 1 or not service_s:
        return
    if rate_rps and queue.prefetch > 10 and queue.prefetch * service_s >= _HOARD_S:
        yield (
            f"queue {name}: with prefetch = {queue.prefetch} one consumer may hold {format_duration(queue.prefetch * service_s)} "
            "of work while others have nothing to do, and all of it is delivered again when it dies; a smaller prefetch"
        )


def _lost(scenario: Scenario, name: str, queue: Queue) -> Iterator[str]:
    """At most once for what must happen."""
    if queue.acknowledge != "before":
        return
    assert queue.consumer is not None
    wanted = [slo.text for slo in scenario.slos if slo.effect and slo.of in (None, queue.consumer)]
    if wanted:
        yield (
            f"queue {name}: acknowledge: before is at most once: what a consumer fails at, or holds when it dies, is lost, and "
            f"the objective '{wanted[0]}' wants it to happen; write acknowledge: after"
        )


def _poison(scenario: Scenario, name: str, queue: Queue) -> Iterator[str]:
    """Messages that always fail, and come back for ever."""
    if queue.max_deliveries != "unlimited" or queue.time_to_live is not None:
        return
    if (address := _poisoned_by(scenario, name)) is not None:
        yield (
            f"queue {name}: {address} publishes poison, and max_deliveries is unlimited: such messages come back "
            f"for ever; set queues.{name}.max_deliveries, and a dead_letter"
        )


def _poisoned_by(scenario: Scenario, name: str) -> str | None:
    """The first operation that publishes poison into a queue."""
    poison = (address for address, step in publishes_of(scenario) if step.poison and name in scenario.queues_of(step.publish))
    return next(poison, None)


def _dead_too_late(scenario: Scenario, name: str, queue: Queue) -> Iterator[str]:
    """Messages that always fail, and whose deliveries take longer than the run."""
    if queue.max_deliveries == "unlimited":
        return
    pause_s = (queue.visibility_timeout if isinstance(queue.redelivery_delay, str) else queue.redelivery_delay) or 0.0
    run = scenario.run
    lasts_s = run.end + (run.end if run.drain is None else run.drain)
    takes_s = queue.max_deliveries * pause_s
    if takes_s <= lasts_s and (queue.order != "per_key" or 2 * takes_s <= lasts_s):
        return
    if (address := _poisoned_by(scenario, name)) is not None:
        blocks = ", and until then they hold up their key" if queue.order == "per_key" else ""
        yield (
            f"queue {name}: {address} publishes poison, which is dead after {queue.max_deliveries} deliveries, "
            f"{format_duration(pause_s)} apart: {format_duration(takes_s)}{blocks}, and the run ends after "
            f"{format_duration(lasts_s)} with its drain; a shorter pause (visibility_timeout), fewer deliveries, or a "
            "longer run"
        )


def _busy_brokers(scenario: Scenario) -> Iterator[str]:
    """Brokers that are asked to write and deliver more than they can."""
    utilisation = broker_utilisation(scenario)
    for name, broker in scenario.brokers.items():
        leaders = leaders_of(scenario, name)
        if not leaders:
            yield f"broker {name}: no queue or log is on it; set queues.NAME.broker, or leave it out"
        elif utilisation.get(name, 0.0) >= 1:
            assert broker.workers != "unlimited"
            where = "the one node that leads" if leaders == 1 else f"each of the {leaders} nodes that lead"
            busy = utilisation[name] * broker.workers * leaders
            yield (
                f"broker {name} cannot keep up: writing and delivering keeps {busy:.3g} workers busy, and there "
                f"{'is' if broker.workers == 1 else 'are'} {broker.workers} on {where} a queue or partition; more workers, "
                "more of those nodes, or smaller messages (payload.claim_check)"
            )


def _nobody_reads(scenario: Scenario) -> Iterator[str]:
    """Queues that only fill."""
    giving_up = {name: queue.dead_letter for name, queue in scenario.queues.items()}
    for name, log in scenario.logs.items():
        giving_up |= {f"{name}.{group}": log.group(group).dead_letter for group in log.groups}
    dead_letters: dict[str, list[str]] = {}
    for name, letters in giving_up.items():
        if letters is not None:
            dead_letters.setdefault(letters, []).append(name)
    replies = carriers_of_replies(scenario)
    for name, queue in scenario.queues.items():
        if name in replies:
            continue
        if queue.consumer is None and name in dead_letters:
            yield (
                f"queue {name}: the dead letters of {' and '.join(dead_letters[name])} go there, and nobody reads them; give it "
                "a consumer, or know who looks"
            )
        elif queue.consumer is None:
            yield f"queue {name}: nobody consumes it: what is published there stays; give it a consumer"
        elif queue.max_deliveries != "unlimited" and queue.dead_letter is None:
            yield (
                f"queue {name}: after {queue.max_deliveries} deliveries a message is given up without a trace; give it a "
                "dead_letter"
            )


def _unconfirmed(scenario: Scenario) -> Iterator[str]:
    """Publishes whose loss nobody sees, for effects that somebody wants."""
    told: set[str] = set()
    for address, step in publishes_of(scenario):
        for consumer in () if step.confirm else scenario.consumers(step.publish).values():
            wanted = [slo.text for slo in scenario.slos if slo.effect and slo.of in (None, consumer)]
            if wanted and step.publish not in told:
                told.add(step.publish)
                yield (
                    f"{address} publishes to {step.publish} with confirm: false: what is lost on the way is lost unseen, and "
                    f"the objective '{wanted[0]}' wants it to happen; leave confirm: false out"
                )


def _no_keys(scenario: Scenario) -> Iterator[str]:
    """An order per key where nothing has a key."""
    with_key = {step.publish for _, step in publishes_of(scenario) if step.key is not None}
    keyed = {name for published in with_key for name in scenario.queues_of(published)}
    keyed |= carriers_of_replies(scenario)  # whose order is not read
    for name, queue in scenario.queues.items():
        inherits = any(other.dead_letter == name for other in scenario.queues.values())
        if queue.order == "per_key" and name not in keyed and not inherits:
            yield (
                f"queue {name}: it keeps an order per key, and what is published there has none: each message is alone with its "
                f"own; write for example publish: {name}, key: {{keys: 1000}}"
            )


def _payloads(scenario: Scenario) -> Iterator[str]:
    """Messages that are too large for their queue, and payloads that are gone before somebody comes for them."""
    for address, step in publishes_of(scenario):
        if step.payload is None:
            continue
        for name in dict.fromkeys([*scenario.queues_of(step.publish), step.publish]):
            yield from _too_large(scenario, address, name, step.payload)
        for name in scenario.queues_of(step.publish):
            yield from _gone_too_soon(scenario, name, step.payload)


def _too_large(scenario: Scenario, address: str, name: str, payload: Payload) -> Iterator[str]:
    size = payload.size if payload.claim_check is None else payload.reference
    kept = scenario.queues.get(name) or scenario.logs.get(name)
    if kept is not None and kept.max_size is not None and size * (1 + 2 * payload.cv) > kept.max_size:
        yield (
            f"{name}: {address} publishes messages of {size / 1e6:.3g} MB in the mean (cv {payload.cv:g}), and "
            f"max_size = {kept.max_size / 1e6:.3g} MB rejects the larger ones; a payload.claim_check"
        )


def _gone_too_soon(scenario: Scenario, name: str, payload: Payload) -> Iterator[str]:
    store = scenario.stores.get(payload.claim_check or "")
    if store is None or store.time_to_live is None:
        return
    queue = scenario.queues.get(name)
    lives_s = None if queue is None else queue.time_to_live
    if lives_s is None or lives_s > store.time_to_live:
        yield (
            f"store {payload.claim_check}: its payloads go after {format_duration(store.time_to_live)}, and messages "
            f"of {name} may come later: then every get fails, and they are as poison; a longer stores."
            f"{payload.claim_check}.time_to_live, or a shorter one of {name}"
        )


def _unused_stores(scenario: Scenario) -> Iterator[str]:
    used = {step.payload.claim_check for _, step in publishes_of(scenario) if step.payload is not None}
    for name in scenario.stores:
        if name not in used:
            yield f"store {name}: no publish uses it; set payload.claim_check of one, or leave it out"


def _full_brokers(scenario: Scenario) -> Iterator[str]:
    """Brokers that block those who would have to empty them."""
    onward = [(address, step.publish) for address, step in publishes_of(scenario) if step.outbox is None]
    for queue, spec in scenario.queues.items():
        broker = scenario.brokers.get(spec.broker or "")
        if broker is None or broker.high_watermark == "unlimited":
            continue
        same = [
            to
            for address, to in onward
            if address == spec.consumer and scenario.place(to) == spec.broker and to not in scenario.logs
        ]
        if same:
            yield (
                f"broker {spec.broker}: above its high_watermark {spec.consumer} cannot publish to {same[0]}, so it acknowledges "
                f"nothing of {queue}, and what fills the broker stays; a broker of its own for {same[0]}, an outbox, or a "
                "max_block"
            )


def _endless_waits(scenario: Scenario) -> Iterator[str]:
    """Publishes that may wait for ever: who blocks, in which queue, and the setting that ends it."""
    blocking = []
    for name, queue in scenario.queues.items():
        broker = scenario.brokers.get(queue.broker or "")
        if queue.overflow == "block" and queue.max_block is None:
            blocking.append((f"queue {name}", name, f"queues.{name}.max_block"))
        if broker is not None and broker.high_watermark != "unlimited" and broker.max_block is None:
            blocking.append((f"broker {queue.broker}", name, f"brokers.{queue.broker}.max_block"))
    told: set[str] = set()
    patient = [edge for edge in edges_of(scenario) if edge.policy.timeout is None and edge.policy.per_try_timeout is None]
    for edge in patient:
        for who, name, key in blocking:
            if who not in told and name in scenario.queues_of(edge.target):
                told.add(who)
                yield (
                    f"{who}: publishers are blocked for as long as it is full, and {edge.caller} has no timeout: its workers "
                    f"wait with it; set {key}, or calls.{edge.caller} -> {name}.timeout"
                )
