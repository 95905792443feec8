"""Faults on a timeline: what breaks, when, for how long; at a fixed time or drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from sim.scenario.services import Selector
from sim.values import Duration, LawSpec, Name, PositiveDuration, Ratio, Spec


class _Fault(Spec):
    at: Duration | None = Field(None, description="clock time at which it starts; the warm-up counts")
    for_: PositiveDuration | None = Field(None, alias="for", description="how long; absent: until the end")
    mtbf: PositiveDuration | None = Field(None, description="instead of at: mean time between failures, exponential")
    mttr: PositiveDuration | None = Field(None, description="instead of for: mean time to repair, exponential")

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _when(self) -> _Fault:
        if self.at is not None and self.mtbf is None and self.mttr is None:
            return self
        if self.mtbf is not None and self.mttr is not None and self.at is None and self.for_ is None:
            if min(self.mtbf, self.mttr) < 0.001:
                raise ValueError(f"mtbf = {self.mtbf:g} s and mttr = {self.mttr:g} s must be at least 1ms")
            return self
        raise ValueError("a fault needs either at (and for), or mtbf and mttr; for example at: 20s, for: 10s")

    @property
    def end_s(self) -> float | None:
        """Clock time at which it ends; None: it lasts until the end, or its times are drawn."""
        return None if self.at is None or self.for_ is None else self.at + self.for_


class _Moment(_Fault):
    """What happens once, and is over."""

    @property
    def end_s(self) -> float | None:
        """When it begins."""
        return self.at


class _OnService(_Fault):
    replica: Annotated[int, Field(ge=0)] | Literal["all", "each"] = Field(
        "all", description="index of one replica; all together; or each by its own clock (with mtbf)"
    )


class Crash(_OnService):
    """A service's replicas die, with the work in them, and come back empty.

    Of all replicas, it also holds down those that a deployment or an autoscaler starts meanwhile.
    """

    crash: Name = Field(description="the service")
    silent: bool = Field(
        False,
        description="whether the host vanishes (callers learn only by timeout) instead of refusing and resetting connections",
    )

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"crash of {self.crash}"


class Slow(_OnService):
    """Work that starts in the window takes `factor` times as long."""

    slow: Name = Field(description="the service; or a registry, a broker, a store: its lookups, writes, transfers, on all nodes")
    factor: Annotated[float, Field(gt=0)] = Field(description="multiplies each work step")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.slow} {self.factor:g} × slower"


class Stop(_OnService):
    """Replicas are stopped in order, and started again: as in a deployment, or when a platform moves them.

    ::

        at: asked to stop; tells its registry -- drain: serves on --> lets nobody in, finishes (at most grace) --> ended
        for, after at: comes back empty (or when it has ended, if that is later)

    Callers learn of it as late as ever: who has a drain shorter than that answers them `unreachable`. Consumers of queues go on
    until the end, and what they hold then goes back.
    """

    stop: Name = Field(description="the service")
    drain: Duration = Field(0.0, description="how long it serves on after it was asked to stop (a preStop hook)")
    grace: Duration = Field(30.0, description="how long it may take to finish what is inside, after the drain")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"stop of {self.stop}"


class Pause(_OnService):
    """No work begins in the window: the replicas accept requests and let them wait; what has begun is finished.

    A stop-the-world pause, a frozen dependency, an outage of capacity after which the backlog is still there.
    """

    pause: Name = Field(description="the service")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"pause of {self.pause}"


class Errors(_OnService):
    """A share of the calls and messages is answered with `error`, as soon as a worker takes them.

    By chance, each attempt and delivery anew: retries help. Or always those of the same requests, as with data that a new version
    cannot read: retries do not help, and in a queue they are poison. Which requests, is the same for every candidate.
    """

    errors: str = Field(description="a service, or a service.operation")
    ratio: Ratio = Field(description="share of the calls and messages; with `same_requests`, of the requests")
    same_requests: bool = Field(False, description="whether a request that fails once fails whenever it is tried")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{100 * self.ratio:.3g} % errors of {self.errors}"


class LinkFault(_Fault):
    """The network between two services degrades, both ways or one way.

    A delay put on what a pod sends (tc netem, or the network chaos of Kubernetes tools) is `direction: from` that service:
    it delays each of its answers once, and what it asks of others once.
    """

    link: Selector = Field(description="a service (all its links), or 'a -> b'")
    direction: Literal["both", "from", "to"] = Field(
        "both", description="which messages: all; only those that leave the service (or a); only those that reach it (or a)"
    )
    latency: LawSpec | None = Field(None, description="added to each message, one way")
    loss: Ratio | None = Field(None, description="share of messages that vanish; absent: none")
    partition: bool = Field(False, description="nothing gets through")

    @model_validator(mode="after")
    def _does_something(self) -> LinkFault:
        # A written 0 is something: the first value of a sweep.
        if self.latency is None and self.loss is None and not self.partition:
            raise ValueError(
                f"a link fault does nothing without latency, loss or partition; write for example {{link: {self.link}, "
                "latency: 100ms, at: 20s, for: 10s}"
            )
        return self

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{'partition' if self.partition else 'bad link'} at {self.link}"


class Outage(_Fault):
    """A queue or log is down, or nodes of a broker are, with the queues and partitions that they lead: publishing is refused,
    nothing is delivered; what is written is kept. Or nodes of a registry are down: they answer nobody, and keep their tables."""

    outage: Name = Field(description="the queue, the log, the broker, the registry, or the store")
    node: Annotated[int, Field(ge=0)] | Literal["all"] = Field("all", description="of a broker or registry: which of its nodes")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"outage of {self.outage}"


class Flush(_Moment):
    """Caches forget what they hold, once, at `at` (or again and again with `mtbf`; then `mttr` is the gap after each)."""

    flush: Selector = Field(description="whose: a selector of calls (their callers' caches), a service or service.operation")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"flush of {self.flush}"


class ReplayGroup(_Moment):
    """A group of a log is set back (or on) to another offset, once, at `at`: it reads from there, what it has done included.

    ::

        offset   0 1 2 3 4 5 6 7 8
                     ↑ to: 2     ↑ committed     2 to 7 are delivered again, and done again unless `deduplicate` knows them

    As with Kafka's tool, which refuses while anybody reads: its members commit and leave, the offset is set, and they join anew,
    with the pauses of that. An offset that is deleted, or not there yet, means the nearest one that is there.
    Source: kafka@4 `kafka-consumer-groups --reset-offsets` (to-earliest, to-latest, to-offset, by-duration).
    """

    replay: str = Field(description="the group, LOG.GROUP")
    to: Literal["earliest", "latest"] | Annotated[int, Field(ge=0)] = Field(
        "earliest", description="the first message that is there, the end, or an offset, in every partition"
    )
    since: PositiveDuration | None = Field(
        None, description="instead of to: the first message that was published within so long before"
    )

    @model_validator(mode="after")
    def _one_place(self) -> ReplayGroup:
        if self.since is not None and "to" in self.model_fields_set:
            raise ValueError(f"to: {self.to} and since are two places to begin at; write one of them")
        if self.for_ is not None:
            raise ValueError("for: a group is set once, and goes on from there; leave it out")
        return self

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"replay of {self.replay}"


class ZoneOutage(_Fault):
    """A zone is down: every replica, proxy, node of a registry or broker, and queue in it goes at once, with what it was doing.

    When it is over, replicas start as a deployment starts them (`start_up`, then `warm_up`), and nodes and queues are there with
    what they kept. Clients in the zone are outside of it all: they go on asking, and find nobody at home.
    """

    zone: Name = Field(description="the zone")
    silent: bool = Field(
        True,
        description="whether its machines vanish (callers learn only by timeout) instead of refusing and resetting connections",
    )

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"outage of zone {self.zone}"


class Partition(_Fault):
    """Nothing gets from one part of the zones to another, either way: it is lost, not refused, and callers learn only by timeout.

    ::

        partition: [[a], [b, c]]      a alone; b and c reach each other

    Calls, answers, health checks, heartbeats, lookups, replication, publishes and deliveries are cut off alike. What is on its
    way when the cut comes arrives. A zone that is not named reaches all. Of a broker whose queues need a majority, a leader
    without one stops, and after `failover` a node that has one leads. Nodes of a registry tell each other afterwards what they
    missed; consumers stay connected to a queue that they cannot hear, and what is sent to them is lost, and comes back as ever.
    """

    partition: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(
        description="the parts: a zone or a list of zones each; no zone in two of them"
    )

    @field_validator("partition", mode="before")
    @classmethod
    def _bare_zones(cls, value: Any) -> Any:
        parts = [[part] if isinstance(part, str) else part for part in value] if isinstance(value, list | tuple) else value
        if isinstance(parts, list) and len(parts) < 2:
            raise ValueError("one part is no cut; name two at least, for example [[a], [b, c]]")
        return parts

    @property
    def sides(self) -> str:
        """The parts in words: ``a | b, c``."""
        return " | ".join(", ".join(part) for part in self.partition)

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"partition {self.sides}"


_FAULTS = {
    "crash": Crash,
    "stop": Stop,
    "slow": Slow,
    "pause": Pause,
    "errors": Errors,
    "link": LinkFault,
    "outage": Outage,
    "flush": Flush,
    "replay": ReplayGroup,
    "zone": ZoneOutage,
    "partition": Partition,
}


def _fault_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in _FAULTS if kind in value), None)
    return next((kind for kind, cls in _FAULTS.items() if type(value) is cls), None)


Fault = Annotated[
    Annotated[Crash, Tag("crash")]
    | Annotated[Stop, Tag("stop")]
    | Annotated[Slow, Tag("slow")]
    | Annotated[Pause, Tag("pause")]
    | Annotated[Errors, Tag("errors")]
    | Annotated[LinkFault, Tag("link")]
    | Annotated[Outage, Tag("outage")]
    | Annotated[Flush, Tag("flush")]
    | Annotated[ReplayGroup, Tag("replay")]
    | Annotated[ZoneOutage, Tag("zone")]
    | Annotated[Partition, Tag("partition")],
    Discriminator(
        _fault_kind,
        custom_error_type="fault",
        custom_error_message="is not a fault; write one of crash, stop, slow, pause, errors, link, outage, flush, replay, "
        "zone, partition, "
        "for example {crash: payment, at: 20s, for: 10s}",
    ),
]
