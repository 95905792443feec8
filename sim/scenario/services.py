"""Services, their operations and steps, links and selectors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from sim.laws import Constant
from sim.policies.adaptive import AdaptiveConcurrency
from sim.policies.autoscaling import Autoscaling
from sim.policies.caching import Cache
from sim.policies.cpu import CpuLimit
from sim.policies.deduplication import Inbox
from sim.policies.discipline import Discipline
from sim.policies.queries import QueryLimits
from sim.policies.rate import RateLimit
from sim.policies.shedding import Shedding
from sim.policies.zones import Placement
from sim.scenario.contents import Body
from sim.scenario.registries import HealthCheckSpec
from sim.values import (
    Address,
    Duration,
    LawSpec,
    Name,
    PositiveBandwidth,
    PositiveDuration,
    PositiveSize,
    Ratio,
    Spec,
)

NO_TIME = Constant(0.0)
#: Calls that one step can make; a run with more would hardly end.
MOST_CALLS = 10_000


#: How often something happens: a number, or a map of number to weight.
Count = Annotated[int, Field(ge=0, le=MOST_CALLS)] | dict[int, float]


def _check_count(count: int | dict[int, float], what: str) -> None:
    if isinstance(count, dict):
        if not count or min(count) < 0 or min(count.values()) < 0 or sum(count.values()) <= 0:
            raise ValueError(f"count = {count} must map numbers of {what} to weights, for example {{1: 70, 2: 30}}")
        if max(count) > MOST_CALLS:
            raise ValueError(f"count: {max(count)} {what} in one step are more than {MOST_CALLS:,}; nothing does so many")


class Work(Spec):
    """Hold the worker for a drawn time: `work: {exponential: 20ms}`."""

    work: LawSpec = Field(description="how long, a law")


class Call(Spec):
    """Call an operation and wait for its answer; the worker is held meanwhile: `call: payment.charge`.

    A call that fails (after its retries) ends the operation, which then answers `error`.
    """

    call: Address = Field(description="service.operation")
    count: Count = Field(1, description="how often: a number, or a map of number to weight, {0: 20, 1: 70, 2: 10}")
    in_parallel: bool = Field(False, description="whether the `count` calls run at the same time")
    probability: Ratio = Field(1.0, description="whether the step happens at all")
    required: bool = Field(
        True, description="whether its failure ends the operation; else the operation goes on and its answer is `degraded`"
    )

    @model_validator(mode="after")
    def _counts(self) -> Call:
        _check_count(self.count, "calls")
        return self


class MessageKey(Spec):
    """What a message is about, for queues that keep an order per key and for what is counted out of order: `{keys: 1000}`."""

    keys: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="how many there are")
    zipf: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="exponent of their popularity; 0: all alike")


class Payload(Spec):
    """How large the messages of a publish are; a bare size is the mean: `payload: 2 MB`.

    ::

        in the message   publish(2 MB) -> broker writes, copies and delivers 2 MB        size / its `bandwidth`, each time
        claim check      put(2 MB) -> store; publish(1 kB) -> broker -> consumer -> get(2 MB) <- store

    With a `claim_check` the payload goes into a store first, and the message says where it is (Hohpe and Woolf, Enterprise
    Integration Patterns). The worker of the publisher is held while it puts, that of the consumer while it gets; a put or get
    that fails ends the operation, which the rules of the call or queue may try again. A payload whose publish then fails stays
    in the store for nothing. Not for small messages: two more round trips cost more than they save.
    """

    size: PositiveSize = Field(description="mean size, in bytes")
    cv: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="standard deviation over mean, lognormal; 0: all alike")
    claim_check: Name | None = Field(
        None, description="the store of `stores` that payloads go through; absent: the message carries it"
    )
    reference: PositiveSize = Field(1000.0, description="size of a message that says where its payload is")

    @model_validator(mode="before")
    @classmethod
    def _bare_size(cls, data: Any) -> Any:
        return data if isinstance(data, dict | Payload) else {"size": data}


class Outbox(Spec):
    """A publish that is written into the service's own database first, and sent by a relay. A bare duration is the interval.

    ::

        operation     ... -> entry written, answered -- user has the answer
        relay            look . . . . . look: publish -> confirmed: gone      not confirmed: again with the next look

    The entry is there, with what else the operation has written, once the step is reached (write it last): nothing is lost
    when the process dies, the broker is down or answers late, and nobody waits. It costs the interval, half of one on
    average, and is at least once: an entry whose confirmation was lost is published again, as the same message, which the
    `deduplicate` of a queue or a consumer knows. Entries of one look go out together, so order is kept as far as the network
    keeps it. The relay runs on the first replica that is up; all entries of a step wait for the same looks. What is not out
    when the run ends is no message yet: it has no row. With a small interval it is change data capture. Not for what must be
    known before the answer.
    Source: Richardson, Microservices Patterns, ch. 3 (polling publisher, log tailing); Debezium's outbox event router.
    """

    interval: PositiveDuration = Field(1.0, description="time between two looks of the relay")

    @model_validator(mode="before")
    @classmethod
    def _bare_interval(cls, data: Any) -> Any:
        return data if isinstance(data, dict | Outbox) else {"interval": data}


class Publish(Spec):
    """Send a message to a queue, topic or log and wait for the broker's acknowledgement: `publish: emails`.

    A publish that fails (after its retries) ends the operation, as a call does. With `confirm: false` nobody waits, and what is
    lost on the way, refused for lack of room or thrown away is lost unseen. With an `outbox` nobody waits, and nothing is lost.
    """

    publish: Name = Field(description="a queue of `queues`, a topic of `topics`, or a log of `logs`")
    probability: Ratio = Field(1.0, description="whether the step happens at all")
    key: MessageKey | None = Field(None, description="what the message is about; absent: it has no key")
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="rank in a queue with `order: priority`: 0 goes first")
    confirm: bool = Field(
        True, description="whether the publisher waits for the broker's acknowledgement; false: fire and forget"
    )
    poison: Ratio = Field(0.0, description="share of the messages at which every consumer fails, each time")
    payload: Payload | None = Field(None, description="how large it is; absent: sizes play no part")
    outbox: Outbox | None = Field(
        None, description="the message is written with the operation's own data, and published later by a relay until confirmed"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Publish:
        if self.outbox is not None and not self.confirm:
            raise ValueError("outbox: its relay waits for confirmations; leave out confirm: false")
        return self


class RequestReply(Spec):
    """Publish a request to a queue, topic or log and wait for the reply, which comes as a message of its own.

    ::

        caller   publish(request, correlation id) . . . . . . . . . . . . . . . . . . take the reply, go on
        queue                     -> consumer: work -> publish(reply) -> acknowledge    ↑
        replies                                              -> written, sent to the process that waits

    The worker is held meanwhile, as by a call; a service with `workers: unlimited` waits without one. Replies are matched by
    their correlation id: of several, because a request was delivered or published again, the first one counts and the others
    are discarded (fate `duplicate`). After `timeout`, from the beginning of the step, nobody waits any more: the step ends with
    `timeout`, the request stays where it is, and its reply is `late`. A consumer that dies is the queue's affair (delivered
    again); one that dies between its reply and its acknowledgement replies twice. A caller that dies has nobody who waits, and
    no way to hear of what it asked for. A consumer that fails answers nothing, and the request comes back as its queue says; or
    it says so (`reply_failures`). One that is given up is no request any more: who reads the dead letters answers nobody.

    To a topic each of its queues gets the request, to a log each of its groups: the first reply counts (NATS takes the first,
    and discards the others), also where it says that the work failed. Replies through a log cost what a publish to it costs,
    `linger` included, and each process that waits reads them where they are written: the others' are discarded there, for
    nothing (left out). One that is fetched in vain is fetched again, so none gets lost on its last way.

    Not for an answer that somebody needs soon: a call tells at once that nobody is there. Here the request waits for it.
    Source: Hohpe and Woolf, Enterprise Integration Patterns (Request-Reply, Correlation Identifier); RabbitMQ's tutorial 6;
    Spring AMQP, Handling Exceptions; Spring Kafka, ReplyingKafkaTemplate; NATS docs, Request-Reply and Services.
    """

    request: Name = Field(description="the queue, topic or log that the request is published to; its consumers reply")
    replies: Name = Field(
        description="the queue or log that replies go through: without a consumer or group, for each process that waits has its "
        "own"
    )
    timeout: PositiveDuration = Field(description="how long the caller waits for the reply, the publish included")
    reply_failures: bool = Field(
        False,
        description="whether a consumer at which the work fails says so in its reply, which ends the step with `error` at once, "
        "and has done with the request (fate `failed`): NATS services (Nats-Service-Error), Spring AMQP's returnExceptions. "
        "false: the caller hears nothing, as of RabbitMQ, Spring and Kafka clients if nobody says otherwise",
    )
    probability: Ratio = Field(1.0, description="whether the step happens at all")
    key: MessageKey | None = Field(None, description="what the request is about; absent: it has no key")
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="rank in a queue with `order: priority`: 0 goes first")

    @property
    def published(self) -> Publish:
        """The request as a publish."""
        return Publish(publish=self.request, probability=self.probability, key=self.key, priority=self.priority)


class Fail(Spec):
    """End the operation with `error`, with a probability: `fail: 30 %`."""

    fail: Ratio = Field(description="probability of failing here")
    work: LawSpec = Field(NO_TIME, description="how long the worker is held before failing")


class ReadVersion(Spec):
    """Read a row of this service, and remember its version for a `commit` by the same request: `read_version: stock`."""

    read_version: Name = Field(description="name of the row; one for all replicas, as in a database behind them")


class Commit(Spec):
    """Write a row, if nobody has written it since this request read it; else the operation ends with `error`: `commit: stock`.

    Optimistic concurrency: under contention most writers fail and come back, which is what back-off with jitter is for.
    """

    commit: Name = Field(description="name of a row that the request has read with `read_version`")


class Parallel(Spec):
    """Run branches at the same time and wait for all: `parallel: [{call: a.x}, [{work: 5ms}, {call: b.y}]]`.

    Each item is a branch; a list is a branch of several steps. If a branch fails, the operation answers `error` when all
    have ended.
    """

    parallel: tuple[tuple[Step, ...], ...] = Field(description="the branches")

    @model_validator(mode="before")
    @classmethod
    def _branches(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("parallel"), list | tuple):
            return {
                **data,
                "parallel": tuple(b if isinstance(b, list | tuple) else (b,) for b in data["parallel"]),
            }
        return data


class Repeat(Spec):
    """Run steps in order, several times over: `{repeat: [{call: stock.look}, {call: prices.ask}], count: 3}`.

    ::

        repeat [look, ask] three times     look ask look ask look ask
        two calls with count: 3            look look look ask ask ask

    The same calls, but in another order: where each look takes 100 ms, the asks come 100 ms apart and not in a burst. Every round
    draws anew. The first failure ends the operation.
    """

    repeat: tuple[Step, ...] = Field(description="the steps of one round")
    count: Count = Field(description="how many rounds: a number, or a map of number to weight, {1: 70, 2: 30}")

    @model_validator(mode="after")
    def _counts(self) -> Repeat:
        _check_count(self.count, "rounds")
        return self


class SagaPart(Spec):
    """What one part of a saga does, and what undoes it: `{do: {call: payment.charge}, undo: {call: payment.refund}}`."""

    do: tuple[Step, ...] = Field(description="a step, or several")
    undo: tuple[Step, ...] = Field((), description="a step, or several, if a later part fails; none: it stays done")

    @model_validator(mode="before")
    @classmethod
    def _single_steps(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        lists = {key: data[key] for key in ("do", "undo") if data.get(key) is not None}
        return {**data, **{key: steps if isinstance(steps, list | tuple) else (steps,) for key, steps in lists.items()}}


class Saga(Spec):
    """Do parts in order, each a transaction of its own; when one fails, undo those before it in reverse order, and fail.

    ::

        saga: [{do: charge, undo: refund}, {do: reserve, undo: release}, {do: ship}]
        ship fails       charge  reserve  ship(failed)  release  refund  -> the failure
        reserve times out  charge  reserve(?)  release  refund  -> the failure: nobody knows whether it was reserved

    The part that failed is undone itself (`undo_failed`) if nobody knows whether it was done: when it timed out, or its server
    could not be reached any more. So an undo has to be harmless where nothing was done. Frameworks undo what was completed
    (`never`), unless one registers the undo before the call (`always`, which also covers a first try that timed out and a second
    that was refused). Undoing has no deadline; it is retried as the policy of its call says, and what then fails is left behind
    while the rest is still undone: retry an undo for long.

    Orchestrated, the operation that has the saga calls all parts; as the consumer of a queue it starts from the beginning when it
    is delivered again, so parts have to be idempotent. Choreographed, each consumer has a saga of its own whose first part does
    nothing and is undone by an event: `saga: [{do: [], undo: {publish: payment_refused}}, {do: {call: bank.charge}}]`.

    A process that dies in the middle undoes nothing: nobody has written down where it was. Not for parts that can be one
    transaction in one database. What was done and not undone: `sim.analysis.done_though_failed(…, undone_by=…)`.
    Source: Garcia-Molina and Salem, Sagas, SIGMOD 1987 (backward recovery); Temporal's Java SDK, io.temporal.workflow.Saga.
    """

    saga: Annotated[tuple[SagaPart, ...], Field(min_length=1)] = Field(description="list of {do, undo}")
    undo_failed: Literal["never", "unknown", "always"] = Field(
        "unknown", description="whether the part that failed is undone, too: never, if it timed out or was not reached, always"
    )


_STEPS: dict[str, type[Spec]] = {
    "work": Work,
    "call": Call,
    "publish": Publish,
    "request": RequestReply,
    "fail": Fail,
    "parallel": Parallel,
    "read_version": ReadVersion,
    "commit": Commit,
    "repeat": Repeat,
    "saga": Saga,
}


def _step_kind(value: Any) -> str | None:
    if isinstance(value, Spec):
        return next((kind for kind, cls in _STEPS.items() if type(value) is cls), None)
    if isinstance(value, dict):
        # `fail` may carry `work`, so it is looked for first.
        kinds = ("fail", "call", "publish", "request", "parallel", "repeat", "saga", "work", "read_version", "commit")
        return next((kind for kind in kinds if kind in value), None)
    return None


Step = Annotated[
    Annotated[Work, Tag("work")]
    | Annotated[Call, Tag("call")]
    | Annotated[Publish, Tag("publish")]
    | Annotated[RequestReply, Tag("request")]
    | Annotated[Fail, Tag("fail")]
    | Annotated[Parallel, Tag("parallel")]
    | Annotated[Repeat, Tag("repeat")]
    | Annotated[Saga, Tag("saga")]
    | Annotated[ReadVersion, Tag("read_version")]
    | Annotated[Commit, Tag("commit")],
    Discriminator(
        _step_kind,
        custom_error_type="step",
        custom_error_message="is not a step; write one of work, call, publish, request, fail, parallel, repeat, saga, "
        "read_version, commit, for example {call: payment.charge}",
    ),
]
Parallel.model_rebuild()
Repeat.model_rebuild()
SagaPart.model_rebuild()
Saga.model_rebuild()


class Operation(Spec):
    """What a service does for one kind of request: its steps, in order. A bare list is read as the steps."""

    steps: tuple[Step, ...] = Field((), description="work, call, publish, request, fail, parallel, repeat, saga, in order")
    effect: bool = Field(
        False,
        description="whether a completed run is recorded in the effects table, also when it was called synchronously",
    )
    idempotent: bool = Field(True, description="whether running it twice does no harm; `sim check` warns of retries otherwise")
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="rank of its requests in a line by priority and in load shedding: 0 goes first"
    )
    cache: Cache | None = Field(None, description="answers that each replica keeps; a hit needs a worker and no step")
    revalidate: LawSpec | None = Field(
        None,
        description="work to tell a caller that the answer which its cache holds is still good (304), in place of the steps; "
        "absent: all steps, from whose answer the ETag is made",
    )
    request: Body | None = Field(
        None, description="what callers send: a message of `messages`, a size, or a stream; counts where calls have a `protocol`"
    )
    response: Body | None = Field(None, description="what it answers, likewise; a failure has headers only")
    deduplicate: Inbox | None = Field(
        None, description="messages that were dealt with already have no effect again (an idempotent consumer); not for calls"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, data: Any) -> Any:
        return {"steps": data} if isinstance(data, list | tuple) else data


class Waiting(Spec):
    """The line in front of a replica's workers. A bare number is the capacity: `queue: 100`."""

    capacity: Annotated[int, Field(ge=0, le=10**9)] | Literal["unbounded"] = Field(
        "unbounded", description="requests that may wait; one more is rejected. 0: no line at all"
    )
    max_wait: LawSpec | None = Field(
        None, description="longest wait for a worker, a law; then the request leaves the line and is rejected"
    )
    discipline: Discipline = Field(Discipline(), description="who is next")

    @model_validator(mode="before")
    @classmethod
    def _bare_capacity(cls, data: Any) -> Any:
        return data if isinstance(data, dict | Waiting) else {"capacity": data}


class Service(Spec):
    """A service: identical replicas, each with its own workers and line."""

    replicas: Annotated[int, Field(ge=1, le=100_000)] = Field(1, description="how many processes")
    workers: Annotated[int, Field(ge=1, le=10**9)] | Literal["unlimited"] = Field(
        description="requests a replica works on at once (threads; held while waiting for calls); unlimited for event loops"
    )
    queue: Waiting = Field(Waiting(), description="the line in front of the workers")
    sharing: Literal["none", "processor"] = Field(
        "none",
        description="processor: all are let in at once and share `workers` cores equally; none: a worker each",
    )
    cpu: CpuLimit | None = Field(None, description="a container's CPU limit per replica; absent: work never stands still")
    rate_limit: RateLimit | None = Field(None, description="what each replica accepts at most; the rest is rejected")
    shedding: Shedding | None = Field(None, description="what each replica refuses under overload, before it waits")
    adaptive_concurrency: AdaptiveConcurrency | None = Field(
        None, description="a limit per replica on what is inside, that follows the latency; the rest is rejected"
    )
    zones: Placement | None = Field(
        None, description="zones that the replicas are dealt out to in turn, by index; absent: all `zones`"
    )
    discovery_delay: Duration = Field(
        1.0,
        description="how long callers keep choosing a replica that died, and ignore one that came back; "
        "not read where there is a registry",
    )
    registry: Name | None = Field(
        None, description="a registry of `registries`: replicas register there, and each caller process learns from it"
    )
    autoscaling: Autoscaling | None = Field(
        None, description="replicas come and go with how busy the workers are, or with how much waits for them"
    )
    start_up: LawSpec = Field(NO_TIME, description="from the start of a replica by a deployment until it serves, a law")
    warm_up: Duration = Field(0.0, description="how long work takes longer after a replica has come: caches, compilers")
    cold_factor: Annotated[float, Field(ge=1, le=1000)] = Field(
        1.0, description="how many times as long at first; it falls evenly to 1 over `warm_up`"
    )
    readiness: HealthCheckSpec | None = Field(
        None, description="check by the machine that a replica runs on; the registry lists it while it passes"
    )
    query_limits: QueryLimits | None = Field(
        None, description="queries that ask for more are rejected, once they are read: depth and objects of `response`"
    )
    max_connections: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="connections of callers to a replica at most; more are refused. Absent: no limit"
    )
    operations: Annotated[dict[Name, Operation], Field(min_length=1)] = Field(description="what it can be asked to do")


class Link(Spec):
    """The network between two services, each way. A bare law is the latency: `0.5ms`."""

    latency: LawSpec = Field(NO_TIME, description="one way, drawn for each message")
    loss: Ratio = Field(
        0.0,
        description="probability that a message never arrives; only a timeout notices. Of calls with a `protocol`: that a packet "
        "does not; it is sent again",
    )
    bandwidth: PositiveBandwidth | None = Field(
        None, description="each way, of each process that calls; counts where calls have a `protocol`. Absent: no limit"
    )
    shared: bool = Field(False, description="whether all processes share the bandwidth, first come first served (a bottleneck)")

    @model_validator(mode="before")
    @classmethod
    def _bare_latency(cls, data: Any) -> Any:
        own = {"latency", "loss", "bandwidth", "shared"}
        if isinstance(data, Link) or (isinstance(data, dict) and (not data or set(data) & own)):
            return data
        return {"latency": data}


def _selector(value: object) -> object:
    parts = [part.strip() for part in value.split("->")] if isinstance(value, str) else []
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise ValueError(f"{value!r} is not a selector; write default, payment, payment.charge or 'shop -> payment'")
    return " -> ".join(parts)


#: Chooses edges: ``default``, ``payment``, ``payment.charge``, ``shop -> payment``, ``shop -> payment.charge``.
Selector = Annotated[str, BeforeValidator(_selector)]
