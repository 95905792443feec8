"""Partitioned logs: who publishes to them and how, and the groups that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_serializer, model_validator

from sim.laws import Constant
from sim.policies.batching import Batching
from sim.policies.groups import GroupRules
from sim.scenario.messaging.log_systems import LOGS
from sim.scenario.messaging.together import Together
from sim.scenario.preset import Settings, in_base_units, merged
from sim.scenario.words import nearest
from sim.units import exact
from sim.values import Address, Duration, LawSpec, Name, PositiveDuration, PositiveSize, Spec

_NO_TIME: Final = Constant(0.0)
_Count = Annotated[int, Field(ge=1, le=10**9)]


def _in_base_units(settings: Settings) -> dict[str, Any]:
    return {k: _in_base_units(v) if isinstance(v, Mapping) else in_base_units(v) for k, v in settings.items()}


class _AsWritten(Spec):
    """Settings that lie over others: what was set is told, also where it is what would be there without a word."""

    @model_serializer(mode="wrap")
    def _what_was_set(self, handler: Any) -> Any:
        data = handler(self)
        if isinstance(data, dict):
            for key in type(self).model_fields:
                if key in self.model_fields_set and key not in data:
                    value = getattr(self, key)
                    data[key] = exact(value, "s") if isinstance(value, float) else value
        return data


class Producer(Batching, _AsWritten):
    """How those who publish to a log do it. Each process of a service gathers its own batches.

    ::

        publish → batch → request → leader writes → copies write → answer        no answer, or a failure: the batch is sent again

    A request that is sent again may bring a batch twice, if only its answer was lost, and behind a later one. An idempotent
    producer numbers its batches, and the broker takes each once and in order. What is published again by the policy of the call
    (`calls`) is another message all the same.

    Left out: sizes in bytes; a publish without a confirm blocks nobody, however full the buffer is.
    A producer knows at once who leads.
    Source: kafka@3 clients, `ProducerConfig`, `Sender`, `RecordAccumulator`, `BufferPool`.
    """

    acks: Literal[0, 1, "all"] = Field(
        "all",
        description="who must have written a batch before its publishers are answered: nobody, and nobody asks (lost unseen, "
        "sent once); the leader (lost with it); all copies that are up",
    )
    idempotent: bool = Field(True, description="whether the broker takes each batch once and in order, however often it is sent")
    request_timeout: PositiveDuration = Field(
        30.0, description="how long a request waits for its answer; then all that is under way on its connection is sent again"
    )
    delivery_timeout: PositiveDuration = Field(
        120.0, description="how long a batch is tried, from its first message on; then its publishes fail"
    )
    buffer: Annotated[int, Field(ge=1, le=10**9)] | Literal["unlimited"] = Field(
        "unlimited",
        description="messages that a publishing process can keep until they are answered; each batch takes room for `batch_size` "
        "of them. Then its publishes wait, the first one first",
    )
    max_block: PositiveDuration = Field(60.0, description="how long a publish waits for room in the buffer; then it is rejected")
    retry_backoff: PositiveDuration = Field(
        0.1, description="pause before the first retry, at least 1ms; it doubles, give or take 20 %, up to `retry_backoff_max`"
    )
    retry_backoff_max: PositiveDuration = Field(1.0, description="longest pause before a retry")

    @model_validator(mode="after")
    def _fits(self) -> Producer:
        if self.idempotent and (self.max_in_flight == "unlimited" or self.max_in_flight > 5):
            raise ValueError(
                f"idempotent: true needs max_in_flight of at most 5, not {self.max_in_flight}: the broker remembers as many "
                "batches; or write idempotent: false"
            )
        if self.idempotent and self.acks != "all":
            raise ValueError(f"acks = {self.acks} cannot be idempotent; write idempotent: false, or acks: all")
        if self.buffer != "unlimited" and self.buffer < self.batch_size:
            raise ValueError(f"buffer = {self.buffer} has no room for one batch of {self.batch_size}; write at least as many")
        if self.delivery_timeout < self.linger + self.request_timeout:
            raise ValueError(
                f"delivery_timeout = {exact(self.delivery_timeout, 's')} must be at least linger + request_timeout = "
                f"{exact(self.linger + self.request_timeout, 's')}"
            )
        return self


class Consuming(GroupRules, _AsWritten):
    """How the members of a group read a log: each asks for what is new, works on it bit by bit, and commits how far it is.

    ::

        fetch --answer--> poll: up to max_poll_records → work, work, work → poll: commit what is behind it, if it is time

    A member fetches ahead while it works. After a crash, or when a partition changes hands, the next reader begins at the last
    commit: what was done since is done again. A message at which the work fails holds up its partition: it is tried again after
    `redelivery_delay`, `max_deliveries` times in all; then it is given up and passed over.

    Left out: compaction, transactions; a group that is new begins where the log does.
    Source: kafka@3 clients, `ConsumerConfig`, `ConsumerCoordinator`.
    """

    consumers: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="members of the group in each replica: messages handled at once"
    )
    max_poll_records: _Count = Field(500, description="messages that a poll brings at most")
    fetch_wait: PositiveDuration = Field(
        0.5, description="how long a fetch waits for messages where there are none, at least 1ms"
    )
    commit: Literal["interval", "before", "each", "batch"] = Field(
        "interval",
        description="when a member commits what it has got: with the first poll after `commit_interval` (at least once); before "
        "the work (at most once: lost if it then dies or fails); after each message; after each poll's messages",
    )
    commit_interval: PositiveDuration = Field(5.0, description="of commit: interval")
    max_deliveries: _Count | Literal["unlimited"] = Field(
        "unlimited", description="tries of a message in a row; then it goes to `dead_letter`, and the group goes on behind it"
    )
    redelivery_delay: Duration = Field(1.0, description="pause before a failed message is tried again; its partition waits")
    dead_letter: Name | None = Field(None, description="the queue of `queues` that gets what was given up")
    fetch_from: Literal["leader", "nearest"] = Field(
        "leader",
        description="where there are zones, whom a member asks for messages: who leads the partition; or a copy in its own zone, "
        "if there is one that has all (KIP-392, `client.rack`)",
    )
    batch: Together | None = Field(None, description="one call for several messages of a poll; absent: one for each")
    offset_reset: Literal["earliest", "latest", "none"] = Field(
        "latest",
        description="where a reader goes on whose next message was deleted (`retention`): at the first one that is left; at the "
        "end, passing over all that is there; or not at all, until somebody resets the group (`replay`)",
    )

    @model_validator(mode="after")
    def _fits(self) -> Consuming:
        if self.batch is not None and self.batch.wait:
            raise ValueError("batch.wait: a call takes what a poll brings; leave it out")
        if self.max_deliveries == "unlimited" and self.redelivery_delay < 0.001:
            raise ValueError("redelivery_delay: a failed message would be tried again at once, for ever; write at least 1ms")
        return self


class Retention(Spec):
    """How long a log keeps its messages: what is too old, or too far back, is deleted, read or not. A bare duration is the age.

    ::

        deleted        | kept: the last `messages` of a partition, none older than `time`
        0 1 2 3 4 5 6 7 8 9 ...
            ↑ a group that was here goes on as its `offset_reset` says: at 4 (earliest), or at the end (latest)

    It is looked at every `check_interval`. Source: kafka@4 `log.retention.*`, `UnifiedLog.deleteOldSegments`. Left out: segments
    (Kafka deletes whole closed ones, so it keeps more), compaction; and what a reader has fetched and not begun goes with them.
    """

    time: PositiveDuration | None = Field(None, description="age from which a message is deleted; absent: no age")
    messages: _Count | None = Field(None, description="messages that each partition keeps; absent: any number")
    check_interval: PositiveDuration = Field(300.0, description="pause between two looks, at least 1ms")

    @model_validator(mode="before")
    @classmethod
    def _bare_time(cls, data: Any) -> Any:
        return data if isinstance(data, dict | Retention) else {"time": data}

    @model_validator(mode="after")
    def _says_something(self) -> Retention:
        if self.time is None and self.messages is None:
            raise ValueError("retention keeps everything without time or messages; write one, or leave it out")
        if self.check_interval < 0.001:
            raise ValueError("check_interval: looking without a pause never ends; write at least 1ms")
        return self


class ConsumerGroup(Consuming):
    """A group that reads all of a log: each message once, by one of its members. What is written here lies over `consuming`."""

    consumer: Address = Field(description="the operation that handles a message")


class Log(Spec):
    """A log of messages in partitions. Each of its groups reads all of it, and a message stays when it was read.

    ::

        key → partition 0   m0 m3 m4 m7                    group billing:   member a reads 0 and 1, member b reads 2
              partition 1   m1 m5                          group search:    one member reads all
              partition 2   m2 m6
                            committed ↑  ↑ position        lag: what was published and is not committed

    Messages of one key are in one partition, in the order in which they came, and are handled in it. A message without a key
    goes anywhere. More consumers than partitions do not help: each partition has one reader in a group.

    Publish to it as to a queue; as rows, each group is a queue of its own, `LOG.GROUP`. Its partitions have leaders on the nodes
    of its broker, one after the other, and as many copies as that says; a message is there to be read when all copies that are
    up have it. The broker's own `confirm` is for queues.

    In zones each node of its broker is in one, and so is each leader: what is sent there, and fetched there, crosses over; a
    member has one fetch under way to each zone. The coordinator of a group is with the leader of the first partition. A leader
    that is cut off from other zones leads on with the copies that it reaches (`min_insync`): in Kafka the larger part would
    choose another one. What is published to a log is not counted by zones.

    Left out: a copy that dies is missed at once, and one that is back has all at once.
    Source: Kreps et al., "Kafka: a distributed messaging system for log processing", NetDB 2011; kafka@3.
    """

    preset: str | None = Field(
        None, description="a system whose rules and numbers lie below what is written here; `sim presets` lists them"
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(1, description="how many lines with an order of their own")
    broker: Name | None = Field(
        None, description="the machine of `brokers` that keeps it; absent: one of its own, that is never busy"
    )
    zone: Name | None = Field(None, description="without a broker: the zone that it is in; absent: the first of `zones`")
    persist: LawSpec = Field(_NO_TIME, description="time to write a batch, a law; on a broker: `write` of that")
    max_size: PositiveSize | None = Field(
        None, description="largest message that producers take; a larger one is rejected. Kafka's max.request.size: 1 MiB"
    )
    min_insync: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="copies that must be up, the leader's included, or `acks: all` is refused"
    )
    retention: Retention | None = Field(None, description="how long messages are kept; absent: for ever")
    producer: Producer = Field(Producer(), description="how those who publish to it do it")
    consuming: Consuming = Field(Consuming(), description="how its groups read it, unless they say otherwise")
    groups: dict[Name, ConsumerGroup] = Field({}, description="who reads it; without any it keeps what it gets")

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        if not isinstance(name, str):
            return data
        if name not in LOGS:
            raise ValueError(f"no preset {name!r} of logs; {nearest(name, LOGS)}")
        return merged(_in_base_units(LOGS[name].on), data)

    @model_serializer(mode="wrap")
    def _also_what_is_off(self, handler: Any) -> Any:
        # What was put back over the preset to what would be there without it has to be said, or the preset's would come back.
        data = handler(self)
        if self.preset is not None and isinstance(data, dict):
            for key in ("producer", "consuming"):
                data.setdefault(key, getattr(self, key).model_dump(mode="json", exclude_unset=True))
        return data

    @model_validator(mode="after")
    def _fits(self) -> Log:
        if self.broker is not None and self.persist != _NO_TIME:
            raise ValueError("persist: the log is on a broker, whose `write` says how long that takes; leave it out")
        if self.broker is not None and self.zone is not None:
            raise ValueError(f"zone: its partitions are where the nodes of {self.broker} are; leave it out, and give that zones")
        for name in self.groups:
            self.group(name)
        return self

    def group(self, name: str) -> ConsumerGroup:
        """How a group reads: its own settings over those of all."""
        below, own = (each.model_dump(exclude_unset=True) for each in (self.consuming, self.groups[name]))
        return ConsumerGroup.model_validate({**below, **own})
