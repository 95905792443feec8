"""Queues, topics, and the brokers that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from sim.laws import Constant
from sim.policies.backlog import Backlog
from sim.policies.zones import Placement
from sim.scenario.messaging.systems import QUEUES
from sim.scenario.messaging.together import Together
from sim.scenario.preset import Settings, in_base_units, merged
from sim.scenario.words import nearest
from sim.units import exact
from sim.values import Address, Duration, LawSpec, Name, PositiveBandwidth, PositiveDuration, PositiveSize, Spec

_NO_TIME = Constant(0.0)


def _in_base_units(settings: Settings) -> dict[str, Any]:
    return {k: _in_base_units(v) if isinstance(v, Mapping) else in_base_units(v) for k, v in settings.items()}


class Queue(Backlog):
    """A queue of messages with competing consumers.

    Every replica of the consumer's service runs `consumers` of them. A consumer works on one message at a time, through the
    replica's own workers, and acknowledges it. Pushed messages wait at the consumer, up to `prefetch` of them; a consumer that
    polls asks for `receive_batch` when it has none left. The way to and from the queue is a link like any other
    (``links: {"shop -> emails": 1ms}``; that of a queue on a broker bears the broker's name).

    ::

        publish → write → acknowledge → [ready] → consumer → worker of its replica → acknowledge → done
                                           ↑______ failed (after a pause), consumer died, visibility timeout
    """

    preset: str | None = Field(
        None, description="a system whose rules and numbers lie below what is written here; `sim presets` lists them"
    )
    broker: Name | None = Field(
        None, description="the machine of `brokers` that keeps it; absent: one of its own, that is never busy"
    )
    zone: Name | None = Field(None, description="without a broker: the zone that it is in; absent: the first of `zones`")
    consumer: Address | None = Field(
        None, description="the operation that handles a message; absent: nobody, it keeps what it gets"
    )
    consumers: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="consumers of each replica: messages handled at once"
    )
    delivery: Literal["push", "poll"] = Field(
        "push", description="whether messages are sent to consumers, or consumers ask for them"
    )
    prefetch: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1, description="push: messages that a consumer may hold unacknowledged, those that wait there included"
    )
    receive_batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1, description="poll: messages that one question brings at most"
    )
    receive_wait: Duration = Field(0.0, description="poll: how long a question waits at an empty queue (long polling)")
    poll_interval: Duration = Field(0.0, description="poll: pause after a question that brought nothing")
    batch: Together | None = Field(None, description="one call for several messages; absent: one for each")
    acknowledge: Literal["after", "before"] = Field(
        "after",
        description="after the work: at least once. before: a message is done when it is sent, and lost if its consumer fails or "
        "dies (automatic acknowledgement, at most once)",
    )
    notices_crash: bool = Field(
        True, description="whether the broker sees that a consumer died (a connection); else what it held waits for its timeout"
    )
    single_active_consumer: bool = Field(
        False, description="whether all goes to one consumer; another one takes over when it is gone"
    )
    persist: LawSpec = Field(_NO_TIME, description="time the queue needs to make a message safe; on a broker: `write` of that")
    max_size: PositiveSize | None = Field(
        None, description="largest message that it takes; a larger one is rejected. SQS: at most 1 MiB, NATS: 1 MiB"
    )
    dead_letter: Name | None = Field(
        None,
        description="the queue that gets what expired, was dropped or is dead; at once and without a confirm, as in RabbitMQ",
    )

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        if not isinstance(name, str):
            return data
        if name not in QUEUES:
            raise ValueError(f"no preset {name!r} of queues; {nearest(name, QUEUES)}")
        return merged(_in_base_units(QUEUES[name].on), data)

    @model_serializer(mode="wrap")
    def _also_what_is_off(self, handler: Any) -> Any:
        # Where a default was put back over the preset, it has to be said, or the preset's would come back.
        data = handler(self)
        if self.preset is not None and isinstance(data, dict):
            for key in QUEUES[self.preset].on.keys() - data.keys():
                value = getattr(self, key)
                data[key] = exact(value, "s") if isinstance(value, float) else value
        return data

    @model_validator(mode="after")
    def _fits(self) -> Queue:
        if not self.notices_crash and self.visibility_timeout is None and self.acknowledge == "after":
            raise ValueError("notices_crash: false needs a visibility_timeout, or what a dead consumer held never comes back")
        if self.overflow == "reject_dead_letter" and self.dead_letter is None:
            raise ValueError("overflow: reject_dead_letter needs a dead_letter to go to; name a queue, or write reject")
        if self.delivery == "poll" and self.prefetch != 1:
            raise ValueError("prefetch is read where messages are pushed; with delivery: poll write receive_batch")
        if self.delivery == "push" and (self.receive_batch != 1 or self.receive_wait or self.poll_interval):
            raise ValueError(
                "receive_batch, receive_wait and poll_interval are read with delivery: poll only; for a push write prefetch"
            )
        if self.delivery == "poll" and self.receive_wait + self.poll_interval < 0.001:
            raise ValueError(
                "delivery: poll would ask an empty queue without end; give a receive_wait or a poll_interval, at least 1ms"
            )
        if self.batch is not None:
            held, key = (self.prefetch, "prefetch") if self.delivery == "push" else (self.receive_batch, "receive_batch")
            if held < self.batch.size:
                raise ValueError(
                    f"batch.size: {self.batch.size} messages never come together with {key} = {held}; "
                    f"write {key}: {self.batch.size}"
                )
            if self.batch.wait and self.delivery == "poll":
                raise ValueError("batch.wait: with delivery: poll a call takes what a question brings; write receive_wait")
        if self.broker is not None and self.zone is not None:
            raise ValueError(f"zone: the queue is where its node of {self.broker} is; leave it out, and give the broker zones")
        if self.broker is not None and self.persist != _NO_TIME:
            raise ValueError("persist: the queue is on a broker, whose `write` says how long that takes; leave it out")
        return self


class Topic(Spec):
    """What is published to a topic goes to each of its subscriptions, which are queues; the publisher is answered when all have
    it.

    If one of them refuses (no room), the publisher is told so, and the others keep the message: a publish that is tried again
    is then a duplicate there. Source: RabbitMQ docs, maxlength (fanout and confirms).
    """

    subscriptions: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(description="queues, each with consumers of its own")

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, data: Any) -> Any:
        return {"subscriptions": data} if isinstance(data, list | tuple) else data


class Broker(Spec):
    """A machine, or a cluster of them, that keeps queues: with workers, a time for each write, copies, and nodes that fail.

    ::

        publish → worker of the leader's node, for `write` → the other copies, `replicate` each → confirm: one, majority or all

    Each queue has its leader on a node, one after the other. When that is down the queue is, for `failover`; then the next node
    that has a copy leads, and consumers connect anew. What no other node had is lost: with `confirm: one` messages whose
    publisher believes them safe. A queue with `confirm: majority` stands still without a majority of its copies. With `copies: 1`
    it waits for its node and loses nothing.

    With a `high_watermark` it protects itself as RabbitMQ does with its memory alarm: it reads from no connection that publishes,
    on any node, until enough has been consumed. Consumers that publish to the same broker are blocked, too, and acknowledge
    nothing meanwhile: if all do, nothing gets out again.

    Left out: memory in bytes, disks that fill, credit flow; acknowledgements of consumers are never lost by a failover.
    Source: RabbitMQ docs, quorum-queues, alarms, connection-blocked; the orders of durability are Kafka's acks and
    MongoDB's write concern.
    """

    nodes: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="machines")
    zones: Placement | None = Field(None, description="zones that the nodes are dealt out to; absent: all `zones`")
    workers: Annotated[int, Field(ge=1, le=10**9)] | Literal["unlimited"] = Field(
        "unlimited", description="writes and deliveries that a node handles at once; more wait in line"
    )
    write: LawSpec = Field(_NO_TIME, description="how long a publish holds a worker of the leader's node")
    deliver: LawSpec = Field(_NO_TIME, description="how long a delivery, or an answer to a poll, holds one")
    copies: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="nodes that have each message, the leader's included")
    confirm: Literal["one", "majority", "all"] = Field(
        "majority",
        description="how many copies must have a message before it is confirmed and delivered; all: of nodes that are up",
    )
    replicate: LawSpec = Field(_NO_TIME, description="until another copy has a message and the leader knows, a law")
    high_watermark: Annotated[int, Field(ge=1, le=10**9)] | Literal["unlimited"] = Field(
        "unlimited",
        description="messages in all of its queues together from which on whoever publishes is blocked, to whichever of them; "
        "consumers go on",
    )
    low_watermark: Annotated[int, Field(ge=0, le=10**9)] | None = Field(
        None, description="messages below which the blocked may go on, all at once; absent: `high_watermark`"
    )
    max_block: PositiveDuration | None = Field(
        None, description="how long a publish is blocked; then it is rejected. Absent: for ever"
    )
    bandwidth: PositiveBandwidth | Literal["unlimited"] = Field(
        "unlimited",
        description="bytes per second of one write, copy or delivery; the size of a message (`payload`) over it is added to each",
    )
    failover: Duration = Field(5.0, description="from the loss of a leader's node until another one leads")

    @model_validator(mode="after")
    def _fits(self) -> Broker:
        if self.copies > self.nodes:
            raise ValueError(
                f"copies = {self.copies} need as many nodes, and there are {self.nodes}; add nodes, or take fewer copies"
            )
        if self.high_watermark == "unlimited":
            for key in ("low_watermark", "max_block"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key}: without a high_watermark nobody is blocked; give one, or leave it out")
        elif self.low_watermark is not None and self.low_watermark > self.high_watermark:
            raise ValueError(f"low_watermark = {self.low_watermark} lies above high_watermark = {self.high_watermark}; lower it")
        if self.copies == 1 and self.replicate != _NO_TIME:
            raise ValueError("replicate: there is one copy; give copies a number above 1, or leave it out")
        return self
