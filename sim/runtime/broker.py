"""A broker in motion: nodes with workers that write and deliver, copies, and who leads a queue when its node is gone.

::

    write → [line] worker of the leader's node → copies on the other nodes → confirmed (in the order of the log)
    leader's node down → failover → the next node that has a copy leads, without what it never got
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import TYPE_CHECKING, Protocol

from sim.kernel.tasks import TIMED_OUT, Pool, Reply, Steps, Tally, Tasks
from sim.laws import sampler
from sim.policies.zones import OUTSIDE
from sim.records import OK, REJECTED, UNREACHABLE
from sim.runtime.network import crossed_s
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.world import World
    from sim.scenario.messaging.queues import Broker as BrokerSpec

_WRITE, _COPY, _HAND_OUT = (salt("broker", name) for name in ("write", "copy", "hand out"))


class Node:
    """One machine of a broker."""

    __slots__ = ("outages", "pool", "served")

    def __init__(self, tasks: Tasks, spec: BrokerSpec, tally: Tally) -> None:
        self.pool = Pool(tasks, inf if spec.workers == "unlimited" else spec.workers, inf, tally)
        self.outages = 0  # faults that keep it down
        self.served = 0


class Kept(Protocol):
    """What has a seat at a broker: a queue, or a partition of a log."""

    @property
    def stored(self) -> int:
        """Messages in it that count against the broker's watermark."""

    def cut(self) -> None:
        """Its leader is gone: connections to consumers break."""

    def resume(self) -> None:
        """It is led again."""

    def lose_uncopied(self, crashed_s: float) -> None:
        """Another node leads: what only the old leader had, which went down at a clock time, is lost."""


class Job(Protocol):
    """What is written: a message, or a batch of them."""

    write_bits: int
    bytes: float
    waited_s: float
    wrote_s: float
    copied_s: float


class Seat:
    """The place of a queue or partition at a broker: which nodes have a copy, and which of them leads."""

    __slots__ = ("available", "committed_s", "confirm", "copies", "crashed_s", "era", "leader", "queue")

    def __init__(self, queue: Kept, copies: list[int], confirm: str) -> None:
        self.queue = queue
        self.confirm = confirm  # how many copies there must be: one, majority, all
        self.copies = copies  # nodes, by index
        self.leader = copies[0]
        self.available = True
        self.era = 0  # how often it was lost: a write from before is none
        self.crashed_s = 0.0  # when the leader's node went down
        self.committed_s = 0.0  # of the latest message: a log confirms in its order


class Broker:
    """Some nodes, and the queues that they keep."""

    def __init__(self, world: World, name: str, spec: BrokerSpec) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self.tally = Tally()
        self.nodes = [Node(world.tasks, spec, self.tally) for _ in range(spec.nodes)]
        self.zones = world.places(spec.zones, spec.nodes)  # of the nodes; none where there are no zones
        self.seats: list[Seat] = []
        self.slow_factors: list[float] = []  # of active faults; they multiply
        self.alarms: list[tuple[float, str]] = []  # when publishers were blocked, and when no more
        self._high = inf if spec.high_watermark == "unlimited" else spec.high_watermark
        self._low = self._high if spec.low_watermark is None else spec.low_watermark
        self._blocked: list[Reply] = []  # publishes that wait
        self._alarmed = False
        self._write = sampler(spec.write)
        self._replicate = sampler(spec.replicate)
        self._bandwidth = inf if spec.bandwidth == "unlimited" else spec.bandwidth
        self._weighs = self._bandwidth < inf
        self._deliver = sampler(spec.deliver) if spec.deliver.mean > 0 else None

    @property
    def alive(self) -> int:
        """Nodes that are up."""
        return sum(not node.outages for node in self.nodes)

    def zone_of(self, seat: Seat) -> int:
        """The zone of whoever leads a queue or partition; OUTSIDE where there are no zones."""
        return self.zones[seat.leader] if self.zones else OUTSIDE

    def spent(self) -> tuple[float, int]:
        """Integral of the workers held so far, in seconds, and what they did."""
        return sum(node.pool.busy_worker_s for node in self.nodes), sum(node.served for node in self.nodes)

    def _stored(self) -> int:
        return sum(seat.queue.stored for seat in self.seats)

    def blocks(self) -> bool:
        """Whether a publish that comes now has to wait."""
        if not self._alarmed and self._high < inf and self._stored() >= self._high:
            self._alarmed = True
            self.alarms.append((self.world.now, "blocked"))
        return self._alarmed

    def open_again(self) -> Steps:
        """Steps of a publish that is blocked: OK; REJECTED after `max_block`; UNREACHABLE if the broker is gone meanwhile."""
        place = Reply(self.world.tasks)
        self._blocked.append(place)
        try:
            answer = (yield place) if self.spec.max_block is None else (yield from place.within(self.spec.max_block))
        finally:
            if place in self._blocked:
                self._blocked.remove(place)
        return REJECTED if answer is TIMED_OUT else answer

    def emptied(self) -> None:
        """Messages have gone: if there are few enough, all that are blocked go on."""
        if self._alarmed and self._stored() < self._low + (self._low == 0):
            self._alarmed = False
            self.alarms.append((self.world.now, "unblocked"))
            self._release(OK)

    def _release(self, answer: int) -> None:
        blocked, self._blocked = self._blocked, []
        for place in blocked:
            place.settle(answer)

    def seat(self, queue: Kept, confirm: str | None = None) -> Seat:
        """A place for one more queue or partition: its leader on the next node. It is confirmed as the broker says, or so."""
        first, nodes = len(self.seats), len(self.nodes)
        seat = Seat(queue, [(first + i) % nodes for i in range(self.spec.copies)], confirm or self.spec.confirm)
        self.seats.append(seat)
        return seat

    def write(self, seat: Seat, message: Job) -> Steps:
        """Steps that write a message and its copies; they return OK once it is confirmed, UNREACHABLE if that cannot be."""
        outcome = yield from self.lead(seat, message)
        return (yield from self.copy(seat, message)) if outcome == OK else outcome

    def lead(self, seat: Seat, message: Job) -> Steps:
        """Steps that write at the leader: OK, or UNREACHABLE."""
        tasks, era = self.world.tasks, seat.era
        began_s = tasks.now_s()
        message.copied_s = inf
        write_s = self._write.draw(child(message.write_bits, _WRITE))
        if self._weighs:
            write_s += message.bytes / self._bandwidth
        message.waited_s = yield from self._hold(seat, write_s)
        message.wrote_s = tasks.now_s() - began_s - message.waited_s
        return OK if seat.era == era else UNREACHABLE

    def up(self, seat: Seat) -> int:
        """Copies that are up and that the leader reaches, its own included."""
        return self._with(seat, seat.leader)

    def copy(self, seat: Seat, message: Job) -> Steps:
        """Steps that write the copies of what the leader has: OK once it is confirmed, in the order of the log; UNREACHABLE."""
        tasks, era, bits = self.world.tasks, seat.era, message.write_bits
        delays_s = sorted(
            self._copied_s(seat.leader, node, child(child(bits, _COPY), number))
            for number, node in enumerate(seat.copies)
            if node != seat.leader and self._reaches(seat.leader, node)
        )
        if self._weighs:
            delays_s = [delay_s + message.bytes / self._bandwidth for delay_s in delays_s]
        now_s = tasks.now_s()
        if delays_s:
            message.copied_s = now_s + delays_s[0]
        needed = {"one": 0, "majority": self.spec.copies // 2, "all": len(delays_s)}[seat.confirm]
        confirmed_s = max(now_s + (delays_s[needed - 1] if needed else 0.0), seat.committed_s)
        seat.committed_s = confirmed_s
        if confirmed_s > now_s:
            yield confirmed_s - now_s
        message.wrote_s += tasks.now_s() - now_s
        return OK if seat.era == era else UNREACHABLE

    def _copied_s(self, leader: int, node: int, bits: int) -> float:
        """Seconds until a copy is there and the leader knows."""
        delay_s = self._replicate.draw(bits)
        zoning = self.world.zoning
        if zoning is not None:
            ways = zoning.crossing(self.zones[leader], self.zones[node]), zoning.crossing(self.zones[node], self.zones[leader])
            for number, way in enumerate(ways):  # the stream is TCP: what is lost is sent again
                delay_s += max(0.0, crossed_s(0.0, way, child(bits, number)))
        return delay_s

    def _reaches(self, leader: int, node: int) -> bool:
        """Whether another node, or itself, is up and not cut off from a leader."""
        zoning = self.world.zoning
        return not self.nodes[node].outages and (zoning is None or not zoning.cut(self.zones[leader], self.zones[node]))

    def copy_in(self, seat: Seat, zone: int) -> int:
        """The node in a zone that has all of a queue or partition: that which leads it before others; -1 if there is none."""
        nodes = (seat.leader, *seat.copies)
        return next((node for node in nodes if self.zones and self.zones[node] == zone and self._reaches(seat.leader, node)), -1)

    def hand_out(self, seat: Seat, bits: int, size: float = 0.0, node: int = -1) -> Steps:
        """Steps that a delivery of `size` bytes takes at the broker, at its leader's node or another one."""
        if self._deliver is not None or self._weighs:
            work_s = 0.0 if self._deliver is None else self._deliver.draw(child(bits, _HAND_OUT))
            yield from self._hold(seat, work_s + size / self._bandwidth, node)

    def _hold(self, seat: Seat, work_s: float, at: int = -1) -> Steps:
        """Hold a worker of the leader's node, or of another one; return how long that had to be waited for, in seconds."""
        node, era, tasks = self.nodes[seat.leader if at < 0 else at], seat.era, self.world.tasks
        pool, began_s = node.pool, tasks.now_s()
        if not pool.take():
            ticket = pool.line_up()
            assert ticket is not None  # the line has no end
            try:
                yield ticket
            except GeneratorExit:
                if ticket.granted:
                    pool.free()
                else:
                    pool.leave(ticket)
                raise
        waited_s = tasks.now_s() - began_s
        try:
            if seat.era == era:
                node.served += 1
                if self.slow_factors:
                    work_s *= prod(self.slow_factors)
                if work_s > 0:
                    yield work_s
        finally:
            pool.free()
        return waited_s

    def outage(self, nodes: list[int]) -> Callable[[], None]:
        """Nodes go down; return how they come back."""
        for index in nodes:
            self.nodes[index].outages += 1
        if not self.alive:
            self._release(UNREACHABLE)
        self.look()

        def mend() -> None:
            for index in nodes:
                self.nodes[index].outages -= 1
            self.look()

        return mend

    def look(self) -> None:
        """Nodes have gone or come, or are cut off: so have the queues that they lead, or that need a majority."""
        for seat in self.seats:
            leads = not self.nodes[seat.leader].outages
            available = leads and self._suffices(seat, self._with(seat, seat.leader))
            if seat.available and not available:
                seat.available = False
                seat.era += 1
                seat.crashed_s = self.world.now
                seat.queue.cut()
            elif available and not seat.available:
                seat.available = True
                seat.queue.resume()
            if not available and self._candidates(seat):
                self.world.tasks.start(self._elect(seat, seat.era))

    def _with(self, seat: Seat, node: int) -> int:
        """Copies that a node would have if it led, its own included; 0 if it is down."""
        return 0 if self.nodes[node].outages else sum(self._reaches(node, other) for other in seat.copies)

    def _candidates(self, seat: Seat) -> list[int]:
        """Nodes that could lead."""
        return [node for node in seat.copies if (up := self._with(seat, node)) and self._suffices(seat, up)]

    def _suffices(self, seat: Seat, up: int) -> bool:
        return seat.confirm != "majority" or up > self.spec.copies // 2

    def _elect(self, seat: Seat, era: int) -> Steps:
        """The next node that has a copy leads; what only the old leader had is lost."""
        if self.spec.failover > 0:
            yield self.spec.failover
        up = self._candidates(seat)
        if seat.era != era or seat.available or seat.leader in up or not up:
            return
        seat.leader = up[0]
        seat.queue.lose_uncopied(seat.crashed_s)
        if self.world.zoning is not None:
            self.world.zoning.moved()
        self.look()

    def __repr__(self) -> str:
        return f"<Broker {self.name} {self.alive} of {len(self.nodes)} nodes, {len(self.seats)} queues and partitions>"
