"""What a protocol makes of calls: bytes on links, processor time at both ends, and when the last byte is there.

::

    caller  --leave--> [latency] ConnectedEndpoint: the rest of the request (`comes`) --> worker: ReceiveStep ... AnswerStep
    caller  <--------- [latency] WiredCaller: the rest of the answer (`goes_back`)   <-- answer

There is one `Wire` for each edge whose calls have a protocol; edges without one know nothing of all this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sim.kernel.tasks import Reply, Steps
from sim.laws import Constant
from sim.policies.flow import Credit, Flow
from sim.policies.queries import NOT_FOUND_BYTES
from sim.records import DEGRADED, OK, TRAFFIC, UNREACHABLE
from sim.runtime.network import Line
from sim.runtime.steps import Runnable, WorkStep
from sim.scenario.contents import Streamed, message_of
from sim.scenario.edges import operations_of
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.policies.flow import Hole
    from sim.policies.transport import Transport
    from sim.runtime.batches import Batch, CarriedBatch
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.world import World
    from sim.scenario.calls import CallPolicy
    from sim.scenario.protocols import Body, Costs

_INF: Final = float("inf")
_THERE, _BACK, _AGAIN = (salt("wire", name) for name in ("there", "back", "again"))


class Way:
    """One direction of a link, for those who send again what is lost: its bandwidth, what it loses, until when it is busy."""

    __slots__ = ("_free_s", "_line", "_loss", "_shared", "bytes_per_s")

    def __init__(self, world: World, source: str, destination: str) -> None:
        link = world.scenario.link(source, destination)
        self.bytes_per_s = _INF if link.bandwidth is None else link.bandwidth
        self._shared = link.shared
        self._loss = link.loss
        self._line: Line = world.network.line(source, destination)  # whose losses are repaired here
        self._free_s: dict[int, float] = {}  # by process that calls, or for all of them

    def loss(self) -> float:
        """Share of packets that are lost now."""
        if not self._line.disturbances:
            return self._loss
        passes = 1 - self._loss
        for disturbance in self._line.disturbances:
            passes *= 1 - disturbance.loss
        return 1 - passes

    def enter(self, now_s: float, process: cython.long, size: float) -> float:
        """When so many bytes can begin their way: first come, first served."""
        if self.bytes_per_s == _INF:
            return now_s
        who = -1 if self._shared else process
        begins_s: cython.double = max(now_s, self._free_s.get(who, 0.0))
        self._free_s[who] = begins_s + size / self.bytes_per_s
        return begins_s


class Session:
    """A connection as its protocol knows it: the two directions, and how many messages each has carried."""

    __slots__ = ("credits", "flows", "messages", "process")

    def __init__(self, transport: Transport, process: cython.long) -> None:
        self.flows = Flow(transport), Flow(transport)
        self.credits = Credit(), Credit()  # of all streams together
        self.messages = [0, 0]
        self.process = process  # which of its caller's processes it is of


class Wire:
    """The protocol of one edge in motion, and what its calls have cost so far."""

    __slots__ = (
        "_asked_again", "_bytes", "_contents", "_ends_s", "_ends_unread", "_of_one", "_of_several", "_overhead", "_payloads",
        "_segment", "_starts_s", "_tail", "_tasks", "_transport", "_ways", "bodies", "caller_cpu_s", "calls", "connections",
        "costs", "first_message_s", "known", "messages", "persisted", "reads_s", "streamed", "streams", "target_cpu_s", "writes",
    )  # fmt: skip

    def __init__(self, world: World, names: tuple[str, str], policy: CallPolicy, place: tuple[str, str], to_proxy: bool) -> None:
        scenario = world.scenario
        assert policy.protocol is not None
        self.costs = costs = scenario.costs(policy.protocol)
        self.persisted = costs.persisted
        self.known = self.persisted is not None and self.persisted.kept_by == "registered"
        operation = operations_of(scenario)[names[1]]
        text = message_of(operation.request)
        self._contents = (text if self.persisted is None else self.persisted.request), message_of(operation.response)
        self._payloads = scenario.payloads
        request, response = (costs.body(each, scenario.payloads) for each in self._contents)
        self.streamed = isinstance(operation.request, Streamed), isinstance(operation.response, Streamed)
        self._ends_unread = names[0] in world.proxies, to_proxy  # a proxy passes bodies on unread
        self._of_one = self._exchange(request, response)
        self._of_several: dict[int, Exchange] = {}  # by how many calls go together
        self.writes = Work(request.encode_s), Work(response.encode_s)
        self.reads_s = request.decode_s, response.decode_s
        self.bodies = request.sent, response.sent
        whole = costs.body(text, scenario.payloads).sent + request.sent
        self._asked_again = _sizes(costs, 1, NOT_FOUND_BYTES)[3], _sizes(costs, 0, whole)[3]  # not found; hash and text
        self._transport = costs.transport
        self._segment, self._overhead = costs.transport.segment, costs.transport.segment_overhead
        self._tasks = world.tasks
        self._tail: Hole | None = None  # of the latest message, if it hangs on that
        self._ways = world.edges.way(*place), world.edges.way(*reversed(place))
        self._starts_s, self._ends_s = scenario.run.warmup, scenario.run.end
        self.calls = self.connections = 0
        self.streams = self.messages = 0  # streamed answers of which the first message was read; messages of all streams
        self.first_message_s = 0.0  # from sending to reading that one, over all of them
        self._bytes = [0, 0]
        self.caller_cpu_s = self.target_cpu_s = 0.0

    def exchange(self, batch: Batch | CarriedBatch | None) -> Exchange:
        """What is sent and worked on for one call, or for those that go together."""
        if batch is None:
            return self._of_one
        found = self._of_several.get(len(batch))
        if found is None:
            asked, answered = self._contents
            together: cython.long = len(batch)
            body = self.costs.body
            found = self._exchange(body(asked, self._payloads, together), body(answered, self._payloads, together))
            self._of_several[together] = found
        return found

    def _exchange(self, request: Body, response: Body) -> Exchange:
        by_proxy, to_proxy = self._ends_unread
        # Who sends a stream writes, and who gets it reads, each message when it is there.
        asked, answered = self.streamed
        return Exchange(
            Work(0.0 if by_proxy or asked else request.encode_s),
            Work(0.0 if to_proxy or asked else request.decode_s),
            Work(0.0 if to_proxy or answered else response.encode_s),
            Work(0.0 if by_proxy or answered else response.decode_s),
            [_sizes(self.costs, side, body.sent) for side, body in enumerate((request, response))],
        )

    def measured(self) -> cython.bint:
        """Whether what happens now counts."""
        return self._starts_s <= self._tasks.now_s() < self._ends_s

    def session(self, process: cython.long) -> Session:
        """What is known of a new connection of a process."""
        return Session(self._transport, process)

    def comes(self, visit: Visit) -> float:
        """Seconds until the rest of a request is there, whose first packet has just come."""
        self.calls += self.measured()
        if self.streamed[0]:
            return 0.0  # its messages come one by one
        rest_s: cython.double = self._rest_s(0, visit, True)
        visit.own_network_s += rest_s
        return rest_s

    def goes_back(self, visit: Visit, outcome: cython.int) -> float:
        """Seconds until the rest of an answer is there, whose first packet has just come."""
        if outcome == UNREACHABLE:
            return 0.0  # nobody answered: the connection was refused or reset
        self._tail = None
        if visit.streamed_s >= 0:
            return max(0.0, visit.streamed_s - self._tasks.now_s())
        return self._rest_s(1, visit, (outcome == OK or outcome == DEGRADED) and not visit.unchanged)

    def _rest_s(self, side: cython.int, visit: Visit, has_body: cython.bint) -> float:
        session: Session = visit.connection.session
        size = self._size(side, session, has_body, self.exchange(visit.batch))
        # Its first packet left when the latency of its way began; the way back will take as long.
        now_s, latency_s = self._tasks.now_s(), visit.lasts_s
        bits = child(visit.key, _BACK if side else _THERE)
        rest_s = max(0.0, self._send(side, session, now_s - latency_s, size, latency_s, bits, False) - now_s)
        flow: Flow = session.flows[side]
        self._tail = flow.tail
        return rest_s

    def until_there(self, rest_s: float) -> float | Reply:
        """What to wait for until the message of `comes` or `goes_back` is there: so long, or less where others follow it."""
        if self._tail is None:
            return rest_s
        reply = Reply(self._tasks)
        reply.expire_after(rest_s)
        self._tail.waiter = reply
        return reply

    def _size(self, side: cython.int, session: Session, has_body: cython.bint, exchange: Exchange) -> float:
        """Bytes on the wire of the next message on a connection: the first has its headers in full."""
        before: cython.long = session.messages[side]
        session.messages[side] = before + 1
        size: cython.double = exchange.sizes[side][2 * has_body + (before > 0)]
        return size

    def _send(
        self, side: cython.int, session: Session, sent_s: float, size: float, latency_s: float, bits: cython.ulonglong,
        is_part: cython.bint,
    ) -> float:  # fmt: skip
        """When all of a message, or of a part of a stream, is there."""
        flow: Flow = session.flows[side]
        way: Way = self._ways[side]
        whole: cython.double = size + flow.segments(size) * self._overhead
        begins_s = way.enter(sent_s, session.process, whole)
        loss = way.loss()
        draw = _sure if loss <= 0 else _draws(bits)
        if is_part:
            arrives_s = flow.part_s(begins_s, size, latency_s, 2 * latency_s, way.bytes_per_s, loss, draw)
        else:
            arrives_s = flow.arrives_s(begins_s, size, latency_s, 2 * latency_s, way.bytes_per_s, loss, draw)
        if flow.sooner:
            self._tell(flow.sooner)
            flow.sooner = []
        if self.measured():
            again = flow.lost * (self._segment + self._overhead)
            self._bytes[side] += int(whole + again)
        return arrives_s

    def _tell(self, sooner: list[Hole]) -> None:
        """What was lost will be there sooner than those were told who wait for it."""
        for hole in sooner:
            if hole.waiter is not None:
                hole.waiter.expire_after(max(0.0, max(hole.until_s, hole.not_before_s) - self._tasks.now_s()))

    def asks_again(self, visit: Visit) -> Steps:
        """Steps of a caller that hears that its hash is not known, and sends it with the text: a round trip more."""
        session, edge, began_s = visit.connection.session, visit.edge, self._tasks.now_s()
        assert edge is not None
        for side in (1, 0):
            bits = child(visit.key, _AGAIN + side)
            latency_s = max(0.0, edge.back_s(visit.chosen, bits) if side else edge.there_s(visit.chosen, bits))
            now_s = self._tasks.now_s()
            wait_s = self._send(side, session, now_s, self._asked_again[1 - side], latency_s, bits, False) - now_s
            if wait_s > 0:
                yield wait_s
        visit.own_network_s += self._tasks.now_s() - began_s

    # What streams ask for.

    def around(self, side: cython.int, session: Session, first: cython.bint) -> float:
        """Bytes around a message of a stream: frames, records, and headers with the first one."""
        if first:
            return self._size(side, session, True, self._of_one) - self.bodies[side]
        return self.costs.on_the_wire(self.bodies[side], 0.0) - self.bodies[side]

    def part_s(
        self, side: cython.int, session: Session, sent_s: float, size: float, latency_s: float, bits: cython.ulonglong
    ) -> float:
        """When a part of a stream's message is there, which leaves at `sent_s`."""
        return self._send(side, session, sent_s, size, latency_s, bits, True)

    def spent(self, side: cython.int, seconds: float) -> None:
        """The caller (0) or the callee (1) has worked on messages of a stream."""
        if not self.measured():
            return
        if side:
            self.target_cpu_s += seconds
        else:
            self.caller_cpu_s += seconds

    def was_read(self, side: cython.int, visit: Visit, first_s: float) -> None:
        """A message of a stream was read; `first_s` tells when, if it is the first."""
        if not self.measured():
            return
        self.messages += 1
        if side == 1 and first_s >= 0:
            self.streams += 1
            self.first_message_s += first_s - visit.sent_s

    def row(self, edge: Edge) -> tuple[Any, ...]:
        """What the calls have cost: a row of the table."""
        return (
            edge.caller_code,
            edge.target_code,
            self.calls,
            *self._bytes,
            self.caller_cpu_s,
            self.target_cpu_s,
            self.connections,
            self.streams,
            self.messages,
            self.first_message_s,
        )


def _sizes(costs: Costs, side: int, body: float) -> tuple[float, ...]:
    """Bytes on the wire of a message with headers only, first on its connection and later; and with its body."""
    headers = costs.headers[side], costs.headers[side] * costs.headers_again[side]
    return tuple(costs.on_the_wire(sent, own) for sent in (0.0, body) for own in headers)


def _sure(number: int) -> float:
    """Odds where nothing is lost."""
    return 0.5


def _draws(bits: int) -> Callable[[int], float]:
    """Uniform numbers of one message."""
    return lambda number: uniform(child(bits, number))


class Work:
    """Some processor time of one side of a protocol, as a step."""

    __slots__ = ("seconds", "step")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.step = WorkStep(Constant(seconds), 0)

    def spend(self, replica: Replica | None, context: Context) -> Steps:
        """Steps that take the time: of a replica as its work does, or of a client, which has a processor of its own."""
        if self.seconds <= 0:
            return
        if replica is not None:
            yield from self.step.run(replica, context)
        else:
            yield self.seconds
            context.service_s += self.seconds


class Exchange:
    """A request and its answer: the work on both at both ends, and by side their bytes on the wire (see `_sizes`)."""

    __slots__ = ("answer", "decode", "encode", "receive", "sizes")

    def __init__(self, encode: Work, receive: Work, answer: Work, decode: Work, sizes: list[tuple[float, ...]]) -> None:
        self.encode = encode
        self.receive = receive
        self.answer = answer
        self.decode = decode
        self.sizes = sizes


class WireStep(Runnable):
    """What a worker does for the protocol of the visit's edge; nothing where it has none."""

    __slots__ = ("_wires",)

    def __init__(self, wires: dict[tuple[str, str], Wire]) -> None:
        self._wires = wires

    def _work(self, exchange: Exchange) -> Work:
        raise NotImplementedError

    def wire_of(self, context: Context) -> Wire | None:
        """The protocol on whose connection a visit has come, if any."""
        visit: Visit = context  # type: ignore[assignment]  # operations are done for visits
        return None if visit.edge is None else self._wires.get(visit.edge.names)

    def holds_s(self, replica: Replica, context: Context) -> float:
        """How long it takes, in seconds; negative where others' work or a CPU limit can stretch it."""
        wire = self.wire_of(context)
        if wire is None:
            return 0.0
        work = self._work(wire.exchange(context.batch))
        if work.seconds <= 0:
            return 0.0
        if wire.measured():
            wire.target_cpu_s += work.seconds
        return work.step.holds_s(replica, context)

    def run(self, replica: Replica, context: Context) -> Steps:
        """Take the time."""
        wire = self.wire_of(context)
        assert wire is not None
        return self._work(wire.exchange(context.batch)).step.run(replica, context)


class ReceiveStep(WireStep):
    """Read the request."""

    __slots__ = ()

    def _work(self, exchange: Exchange) -> Work:
        return exchange.receive


class AnswerStep(WireStep):
    """Write the answer, unless its caller has it."""

    __slots__ = ()

    def holds_s(self, replica: Replica, context: Context) -> float:
        """How long it takes, in seconds; negative where others' work or a CPU limit can stretch it."""
        visit: Visit = context  # type: ignore[assignment]  # operations are done for visits
        return 0.0 if visit.unchanged else WireStep.holds_s(self, replica, context)

    def _work(self, exchange: Exchange) -> Work:
        return exchange.answer


def traffic(world: World) -> dict[str, np.ndarray[Any, Any]]:
    """The table of what protocols cost, one row per edge that has one and was used."""
    rows = [wire.row(world.edges.by_names[names]) for names, wire in world.edges.wires.items() if wire.calls or wire.connections]
    table = np.array(rows, dtype=TRAFFIC.dtype)
    return {name: table[name].copy() for name, _ in TRAFFIC.columns}
