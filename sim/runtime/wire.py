"""What a protocol makes of calls: bytes on links, processor time at both ends, and when the last byte is there.

::

    caller  --leave--> [latency] ConnectedEndpoint: the rest of the request (`comes`) --> worker: ReceiveStep ... AnswerStep
    caller  <--------- [latency] WiredCaller: the rest of the answer (`goes_back`)   <-- answer

There is one `Wire` for each edge whose calls have a protocol; edges without one know nothing of all this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sim.kernel.tasks import Steps
from sim.laws import Constant
from sim.policies.transport import Flow, Path
from sim.records import DEGRADED, OK, TRAFFIC
from sim.runtime.network import Line
from sim.runtime.steps import Runnable, WorkStep
from sim.scenario.edges import operations_of
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.connections import Channel
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.world import World
    from sim.scenario.calls import CallPolicy

_INF: Final = float("inf")
_THERE, _BACK = salt("wire", "there"), salt("wire", "back")


class Way:
    """One direction of a link, for those who send again what is lost: its bandwidth, what it loses, until when it is busy."""

    def __init__(self, world: World, source: str, destination: str) -> None:
        link = world.scenario.link(source, destination)
        self.bytes_per_s = _INF if link.bandwidth is None else link.bandwidth
        self._shared = link.shared
        self._loss = link.loss
        self._line: Line = world.network.line(source, destination)  # whose losses are repaired here
        self._free_s: dict[int, float] = {}  # by process that calls, or for all of them

    def loss(self) -> float:
        """Share of packets that are lost now."""
        passes = 1 - self._loss
        for disturbance in self._line.disturbances:
            passes *= 1 - disturbance.loss
        return 1 - passes

    def enter(self, now_s: float, process: int, size: float) -> float:
        """When so many bytes can begin their way: first come, first served."""
        if self.bytes_per_s == _INF:
            return now_s
        who = -1 if self._shared else process
        begins_s = max(now_s, self._free_s.get(who, 0.0))
        self._free_s[who] = begins_s + size / self.bytes_per_s
        return begins_s


class Wire:
    """The protocol of one edge in motion, and what its calls have cost so far."""

    def __init__(self, world: World, names: tuple[str, str], policy: CallPolicy, place: tuple[str, str], to_proxy: bool) -> None:
        scenario = world.scenario
        assert policy.protocol is not None
        self.costs = costs = scenario.costs(policy.protocol)
        operation = operations_of(scenario)[names[1]]
        request, response = (costs.body(each, scenario.payloads) for each in (operation.request, operation.response))
        by_proxy = names[0] in world.proxies  # which passes bodies on unread
        # Of the caller: before the request and after the answer; of the callee: after the request and before the answer.
        seconds = 0 if by_proxy else request.encode_s, 0 if by_proxy else response.decode_s
        callee = 0 if to_proxy else request.decode_s, 0 if to_proxy else response.encode_s
        self.encode, self.decode, self.receive, self.answer = (Work(each) for each in (*seconds, *callee))
        self._bodies = request.sent, response.sent
        self._world = world
        self._tasks = world.tasks
        self._ways = world.way(*place), world.way(*reversed(place))
        self._arrived: dict[Visit, float] = {}  # network time of those that are at the callee
        self.calls = self.connections = 0
        self.bytes = [0, 0]
        self.caller_cpu_s = self.target_cpu_s = 0.0

    def measured(self) -> bool:
        """Whether what happens now counts."""
        run, now_s = self._world.scenario.run, self._tasks.now_s()
        return run.warmup <= now_s < run.end

    def comes(self, visit: Visit) -> float:
        """Seconds until the rest of a request is there, whose first packet has just come."""
        channel: Channel = visit.connection
        self.calls += self.measured()
        latency_s = visit.own_network_s
        size = self.costs.on_the_wire(self._bodies[0], self._headers(0, channel.requests))
        channel.requests += 1
        rest_s = self._rest_s(0, visit, size, latency_s, channel)
        visit.own_network_s += rest_s
        self._arrived[visit] = visit.own_network_s
        return rest_s

    def goes_back(self, visit: Visit, outcome: int) -> float:
        """Seconds until the rest of an answer is there, whose first packet has just come."""
        arrived_s = self._arrived.pop(visit, None)
        if arrived_s is None:
            return 0.0  # nobody answered: the connection was refused or reset
        channel: Channel = visit.connection
        body = self._bodies[1] if outcome in (OK, DEGRADED) else 0.0
        size = self.costs.on_the_wire(body, self._headers(1, channel.answers))
        channel.answers += 1
        return self._rest_s(1, visit, size, visit.own_network_s - arrived_s, channel)

    def forget(self, visit: Visit) -> None:
        """A visit is over, however."""
        self._arrived.pop(visit, None)

    def _headers(self, side: int, before: int) -> float:
        return self.costs.headers[side] * (self.costs.headers_again[side] if before else 1.0)

    def _rest_s(self, side: int, visit: Visit, size: float, latency_s: float, channel: Channel) -> float:
        transport, way, now_s = self.costs.transport, self._ways[side], self._tasks.now_s()
        segments = max(1.0, -(-size // transport.segment))
        begins_s = way.enter(now_s - latency_s, channel.pool.names[1], size + segments * transport.segment_overhead)
        path = Path(latency_s, 2 * latency_s, way.bytes_per_s, way.loss())
        bits = child(visit.key, _BACK if side else _THERE)
        delivery = channel.flows[side].send(begins_s, size, path, lambda number: uniform(child(bits, number)))
        if self.measured():
            again = delivery.lost * (transport.segment + transport.segment_overhead)
            self.bytes[side] += int(size + segments * transport.segment_overhead + again)
        return max(0.0, delivery.arrives_s - now_s)

    def flows(self) -> tuple[Flow, Flow]:
        """The two directions of a new connection."""
        return Flow(self.costs.transport), Flow(self.costs.transport)

    def row(self, edge: Edge) -> tuple[Any, ...]:
        """What the calls have cost: a row of the table."""
        return (
            edge.caller_code,
            edge.target_code,
            self.calls,
            *self.bytes,
            self.caller_cpu_s,
            self.target_cpu_s,
            self.connections,
        )


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


class _WireStep(Runnable):
    """What a worker does for the protocol of the visit's edge; nothing where it has none."""

    __slots__ = ("_wires",)

    def __init__(self, wires: dict[tuple[str, str], Wire]) -> None:
        self._wires = wires

    def _work(self, wire: Wire) -> Work:
        raise NotImplementedError

    def _of(self, context: Any) -> Wire | None:
        return None if context.edge is None else self._wires.get(context.edge.names)

    def holds_s(self, replica: Replica, context: Context) -> float:
        """How long it takes, in seconds; negative where others' work or a CPU limit can stretch it."""
        wire = self._of(context)
        if wire is None:
            return 0.0
        work = self._work(wire)
        if work.seconds <= 0:
            return 0.0
        if wire.measured():
            wire.target_cpu_s += work.seconds
        return work.step.holds_s(replica, context)

    def run(self, replica: Replica, context: Context) -> Steps:
        """Take the time."""
        wire = self._of(context)
        assert wire is not None
        return self._work(wire).step.run(replica, context)


class ReceiveStep(_WireStep):
    """Read the request."""

    __slots__ = ()

    def _work(self, wire: Wire) -> Work:
        return wire.receive


class AnswerStep(_WireStep):
    """Write the answer."""

    __slots__ = ()

    def _work(self, wire: Wire) -> Work:
        return wire.answer


def traffic(world: World) -> dict[str, np.ndarray[Any, Any]]:
    """The table of what protocols cost, one row per edge that has one and was used."""
    rows = [wire.row(world.edges[names]) for names, wire in world.wires.items() if wire.calls or wire.connections]
    table = np.array(rows, dtype=TRAFFIC.dtype)
    return {name: table[name].copy() for name, _ in TRAFFIC.columns}
