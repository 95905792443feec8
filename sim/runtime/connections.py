"""Connections in motion: making them, waiting for a place on one, and what ends them. Read `Pool` from top to bottom.

::

    seat      a call wants a place: on a connection with room, on a new one, or in the line
    _open     a new connection: the owner's balancing chooses its replica, round trips make it
    lost, stopping    the replica has died, or will stop: its connections end, or take no new calls, one way back later
    leave     a call is over: the next one gets its place

A balancer of connections has a `FlowTable` instead: one connection onward for each that comes in; they live and die together.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sim.kernel.tasks import Reply, Steps, Tasks
from sim.policies.connections import CLOSED, OPEN, OPENING, Connection, Connections, ConnectionsGate
from sim.records import IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.runtime.context import OVER
from sim.runtime.visit import Endpoint, Target
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.connected import ConnectedCaller
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.wire import Wire

_AGE, _HANDSHAKE, _NEWS = (salt("connections", name) for name in ("age", "handshake", "news"))

#: What the network lost is sent again by TCP: after this time, then after twice as long, so many times (see `Connections`).
_RESEND_S: Final = 1.0
_SENDS: Final = 7


class Channel(Connection):
    """A connection in motion: whose it is, and to which life of its replica."""

    __slots__ = ("accepted", "behind", "key", "life", "pool", "session")

    def __init__(self, pool: Pool, endpoint: int, key: int, behind: Channel | None) -> None:
        super().__init__(endpoint)
        self.pool = pool
        self.key = key  # names its random draws
        self.accepted = False  # whether its replica has let it in, of which the caller hears later
        self.life = -1  # of its replica; negative until it is made
        self.behind = behind  # the connection that it carries on, at a balancer of connections
        self.session = None if pool.wire is None else pool.wire.session(pool.names[1])


class Seat(Reply):
    """A call's place: in the line until it has a `channel`, then on that. It is settled with OK when the call can be sent."""

    __slots__ = ("began_s", "channel", "incoming", "seated_s", "visit")

    def __init__(self, tasks: Tasks, incoming: Channel | None) -> None:
        super().__init__(tasks)
        self.channel: Channel | None = None
        self.visit: Visit | None = None  # once it is sent
        self.began_s = self.seated_s = tasks.now_s()
        self.incoming = incoming  # the connection on which the call came, at a balancer of connections

    def cut(self) -> None:
        """Its connection is gone, and with it the call."""
        visit = self.visit
        if visit is None:
            self.settle(UNREACHABLE)
        else:
            visit.stop()
            visit.settle(UNREACHABLE)


class Pool:
    """One caller process's connections to one target, for all of its calls there."""

    def __init__(
        self, edge: Edge, replicas: list[Replica], key: int, names: tuple[int, int, int], wire: Wire | None = None
    ) -> None:
        assert edge.policy.connections is not None
        self.wire = wire  # of the calls, where they have a protocol
        self._connected_before = False
        self.spec: Connections = edge.policy.connections
        self.gate = ConnectionsGate(self.spec)
        self._follows = self.spec.follow_discovery
        self._alone = self.spec.max_concurrent == 1  # one call at a time on each
        self.owner: ConnectedCaller | None = None  # whose balancing chooses
        self.names = names  # code of the caller, which of its processes it is, code of the target
        self._tasks: Tasks = edge.tasks
        self._edge = edge
        self._replicas = replicas
        self._key = key
        self._opened = 0
        self._line: deque[Seat] = deque()
        self._serving = False
        self._ended = False

    def forget(self) -> None:
        """The process has died, and all its connections with it."""
        for channel in self.channels():
            self.gate.close(channel, self._tasks.now_s())
        self._line.clear()

    def end_run(self) -> None:
        """The run is over: nothing is opened or closed any more."""
        self.gate.advance(self._tasks.now_s())
        self._ended = True

    def channels(self) -> list[Channel]:
        """Connections that are not over."""
        return list(self.gate.connections)  # type: ignore[arg-type]  # it holds what we gave it

    def seat(self, context: Context) -> Seat | None:
        """A place for a call; None if the line is full. It may have to be waited for: then it is settled later."""
        seat = Seat(self._tasks, self._incoming(context))
        if self._follows:
            self._leave_unknown()
        if self._line or not self._place(seat):
            if not self.gate.may_wait(len(self._line)):
                return None
            self._line.append(seat)
            if self.spec.max_wait is not None:
                self._tasks.start(self._loses_patience(seat, self.spec.max_wait))
        return seat

    def _incoming(self, context: Context) -> Channel | None:
        return None

    def _loses_patience(self, seat: Seat, wait_s: float) -> Steps:
        yield wait_s
        if seat.channel is None:
            seat.settle(REJECTED)

    def leave(self, seat: Seat, outcome: cython.int) -> None:
        """A call is over, however: its place is free, unless the connection ends with it."""
        if self._ended:
            return
        channel = seat.channel
        if channel is None:
            if seat in self._line:
                self._line.remove(seat)
            return
        self.gate.done(channel, seat, self._tasks.now_s())
        if outcome == UNREACHABLE and self._is_broken(channel):
            self.reset(channel)
        elif self._alone and seat.visit is not None and outcome in (TIMEOUT, IN_FLIGHT):
            self.reset(channel)  # its answer may still come, and would be taken for another's
        self._serve_line()

    def _is_broken(self, channel: Channel) -> cython.bint:
        replica = self._replicas[channel.endpoint]
        return replica.refuses or replica.life != channel.life

    def _serve_line(self) -> None:
        if self._serving:
            return  # a connection that was made at once asks for what is going on already
        self._serving = True
        try:
            while self._line and (self._line[0].settled or self._place(self._line[0])):
                self._line.popleft()
        finally:
            self._serving = False

    def _place(self, seat: Seat) -> cython.bint:
        """Give a call its place on a connection, if there can be one now."""
        now_s = self._tasks.now_s()
        channel: Channel | None = self.gate.take(now_s, seat)  # type: ignore[assignment]  # it holds what we gave it
        if channel is None and self.gate.may_open():
            channel = self._open(seat, None)
            if channel is None:
                seat.settle(UNREACHABLE)
                return True
        if channel is None:
            return False
        self._take_place(seat, channel)
        return True

    def _take_place(self, seat: Seat, channel: Channel) -> None:
        seat.channel = channel
        seat.seated_s = self._tasks.now_s()
        if channel.state == CLOSED:
            seat.settle(UNREACHABLE)
        elif channel.life >= 0:
            seat.settle(OK)

    def _open(self, seat: Seat, behind: Channel | None) -> Channel | None:
        """A new connection, which is being made; None if the process knows of nobody to connect to."""
        now_s, key = self._tasks.now_s(), child(self._key, self._opened)
        self._opened += 1
        assert self.owner is not None
        endpoint = self.owner.choose(key, self._connections_by_endpoint(), now_s)
        if endpoint < 0:
            return None
        channel = Channel(self, endpoint, key, behind)
        self.gate.add(channel, now_s, seat)
        self._tasks.start(self._make(channel))
        if self._edge.policy.connect_timeout is not None and channel.state == OPENING:
            self._tasks.start(self._give_up(channel, self._edge.policy.connect_timeout))
        return channel

    def _connections_by_endpoint(self) -> list[int]:
        found = [0] * len(self._replicas)
        for channel in self.gate.connections:
            found[channel.endpoint] += 1
        return found

    def _give_up(self, channel: Channel, limit_s: float) -> Steps:
        yield limit_s
        if channel.state == OPENING:
            self.reset(channel)

    def _make(self, channel: Channel) -> Steps:
        """Steps that make a connection: round trips, of which the last tells that it is there."""
        replica = self._replicas[channel.endpoint]
        life = -1 if replica.refuses else replica.life
        trips, client_s, server_s = self._set_up()
        if client_s > 0:
            yield client_s
        trips = trips or int(life < 0)  # that nobody is there takes a round trip to learn
        for trip in range(trips):
            work_s = server_s if trip == trips - 1 else 0.0
            life = yield from self._round_trip(channel, replica, child(child(channel.key, _HANDSHAKE), trip), work_s)
            if life < 0:
                break
        if channel.state != OPENING:
            return
        if life < 0:
            self.reset(channel)
            return
        channel.life = life
        self._connected_before = True
        self.gate.established(channel, self._tasks.now_s(), uniform(child(channel.key, _AGE)))
        if self.spec.max_age_grace is not None:
            self._tasks.start(self._cut_the_last(channel, self.spec.max_age_grace))
        for seat in list(channel.calls):
            seat.settle(OK)
        self._serve_line()
        if life != replica.life:
            self._tasks.start(self._news(channel, cuts=True))  # it has died while its answer was on the way

    def _set_up(self) -> tuple[int, float, float]:
        """Round trips of a new connection, and processor time of caller and server, in seconds."""
        wire = self.wire
        if wire is None:
            return self.spec.round_trips, 0.0, 0.0
        costs = wire.costs
        resumes = self._connected_before and costs.resumption != "none"
        seconds = costs.resumed_handshake_s if resumes else costs.handshake_s
        if wire.measured():
            wire.connections += 1
            wire.caller_cpu_s += seconds[0]
            wire.target_cpu_s += seconds[1]
        trips = min(self.spec.round_trips, costs.resumed_round_trips) if resumes else self.spec.round_trips
        return trips, *seconds

    def _accepted(self, channel: Channel, replica: Replica, work_s: float) -> Steps:
        """Steps of the server's part: whether it has room for another connection, and its work on the keys, by a worker."""
        most = replica.service.spec.max_connections
        if most is not None and not channel.accepted and replica.service.connections_of(replica.index) >= most:
            return -1
        channel.accepted = True
        if work_s <= 0 or replica.refuses:
            return -1 if replica.refuses else replica.life
        life, workers = replica.life, replica.pool
        if not workers.take():
            ticket = workers.line_up()
            if ticket is None:
                return -1
            yield ticket
        yield work_s * replica.slowness()
        workers.free()
        return -1 if replica.refuses else life

    def _round_trip(self, channel: Channel, replica: Replica, bits: int, work_s: float) -> Steps:
        """Steps of one question and its answer, with which life of the replica it was; -1 if it refuses or never answers.

        The answer takes `work_s` seconds of a worker.
        """
        edge, wait_s = self._edge, _RESEND_S
        for turn in range(_SENDS):
            sent_s, own = self._tasks.now_s(), child(bits, turn)
            delay_s = edge.there_s(replica.index, own)
            if delay_s > 0:
                yield delay_s
            if delay_s >= 0 and (replica.alive or not replica.silent):
                life = yield from self._accepted(channel, replica, work_s)
                delay_s = edge.back_s(replica.index, child(own, 1))
                if delay_s > 0:
                    yield delay_s
                if delay_s >= 0:
                    return life
            left_s = sent_s + wait_s - self._tasks.now_s()
            if left_s > 0:
                yield left_s
            wait_s *= 2
        return -1

    def _cut_the_last(self, channel: Channel, grace_s: float) -> Steps:
        yield channel.retires_s - self._tasks.now_s()
        self.gate.advance(self._tasks.now_s())
        if grace_s > 0:
            yield grace_s
        self.reset(channel)

    def reset(self, channel: Channel) -> None:
        """A connection ends at once, and the calls on it with it."""
        if channel.state == CLOSED:
            return
        self.gate.close(channel, self._tasks.now_s())
        for seat in list(channel.calls):
            seat.cut()
        if channel.behind is not None:
            channel.behind.pool.hears_of(channel.behind, cuts=True)
        self._serve_line()

    def drain(self, channel: Channel) -> None:
        """A connection takes no more calls."""
        self.gate.drain(channel, self._tasks.now_s())
        if channel.behind is not None:
            channel.behind.pool.hears_of(channel.behind, cuts=False)
        self._serve_line()

    def _leave_unknown(self) -> None:
        """Take connections out of use whose replicas are not to be used any more; if none is, the old ones are as good."""
        assert self.owner is not None
        usable = self.owner.usable(self._tasks.now_s())
        for channel in self.channels() if usable else ():
            if channel.endpoint not in usable and channel.state == OPEN:
                self.drain(channel)

    def lost(self, replica: Replica) -> None:
        """A replica has died: its host says so to everybody who is connected, or vanishes with it."""
        for channel in self.channels():
            if channel.endpoint != replica.index or channel.life < 0:
                continue
            if not replica.silent:
                self.hears_of(channel, cuts=True)
            elif self.spec.keepalive is not None:
                self._tasks.start(self._finds_out(channel, replica, self.spec.keepalive))

    def stopping(self, replica: Replica) -> None:
        """A replica says that it will stop."""
        for channel in self.channels():
            if channel.endpoint == replica.index:
                self.hears_of(channel, cuts=False)

    def _finds_out(self, channel: Channel, replica: Replica, keepalive_s: float) -> Steps:
        yield keepalive_s
        if not replica.alive or replica.life != channel.life:
            self.reset(channel)

    def hears_of(self, channel: Channel, cuts: bool) -> None:
        """The other end has closed a connection (`cuts`), or wants no more calls on it: that is on its way here."""
        self._tasks.start(self._news(channel, cuts))

    def _news(self, channel: Channel, cuts: bool) -> Steps:
        wait_s = _RESEND_S
        for turn in range(_SENDS):
            delay_s = self._edge.back_s(channel.endpoint, child(child(channel.key, _NEWS + cuts), turn))
            if delay_s > 0:
                yield delay_s
            if delay_s >= 0:
                break
            yield wait_s
            wait_s *= 2
        if cuts:
            self.reset(channel)
        else:
            self.drain(channel)


class FlowTable(Pool):
    """The connections of a balancer of connections (layer 4): one onward for each that comes in.

    ::

        caller ==incoming==> balancer ==onward==> replica       the balancer chooses when the first call comes, and for no other

    What ends one of the two ends the other; that a replica wants no more calls goes through to the caller.
    """

    def _incoming(self, context: Context) -> Channel | None:
        visit: Visit = context  # type: ignore[assignment]  # a balancer is called by visits only
        incoming: Channel = visit.connection
        return incoming

    def _place(self, seat: Seat) -> cython.bint:
        self._close_behind_the_callers()
        channel = self._behind(seat.incoming)
        if channel is None:
            channel = self._open(seat, seat.incoming)
            if channel is None:
                seat.settle(UNREACHABLE)
                return True
        else:
            self.gate.attach(channel, seat)
        self._take_place(seat, channel)
        return True

    def _behind(self, incoming: Channel | None) -> Channel | None:
        return next((each for each in self.channels() if each.behind is incoming), None)

    def _close_behind_the_callers(self) -> None:
        for channel in self.channels():
            if channel.behind is not None and channel.behind.state == CLOSED and not channel.calls:
                self.gate.close(channel, channel.behind.closed_s)

    def end_run(self) -> None:
        """The run is over: what callers have closed is closed here, too."""
        self._close_behind_the_callers()
        super().end_run()


class ConnectedEndpoint(Endpoint):
    """A replica's operation for calls that come on connections: it knows none that was made to an earlier life of it."""

    __slots__ = ("_inner", "_knows_since", "_replica", "_wire")

    def __init__(self, inner: Endpoint, replica: Replica, wire: Wire | None) -> None:
        self._inner = inner
        self._replica = replica
        self._wire = wire
        self._knows_since = -1  # in which life of the replica a persisted query was heard; negative if in none

    def receive(self, visit: Visit) -> None:
        """Take a visit, once all of it is there, or answer that its connection is not known."""
        wire = self._wire
        rest_s = 0.0 if wire is None else wire.comes(visit)
        if rest_s > 0 or (wire is not None and wire.persisted is not None):
            self._replica.tasks.start(self._later(visit, rest_s))
        else:
            self._deliver(visit)

    def _later(self, visit: Visit, rest_s: float) -> Steps:
        wire = self._wire
        if rest_s > 0:
            assert wire is not None
            began_s = self._replica.tasks.now_s()
            wait = wire.until_there(rest_s)
            yield wait
            if wait is not rest_s:
                visit.own_network_s += self._replica.tasks.now_s() - began_s - rest_s
        if wire is not None and wire.persisted is not None and not self._knows(wire):
            yield from wire.asks_again(visit)
            wire.known = wire.known or wire.persisted.kept_by == "all"
            self._knows_since = self._replica.life
        if visit.stage != OVER:
            self._deliver(visit)

    def _knows(self, wire: Wire) -> bool:
        """Whether the text of the query is known here: to all, or to this life of the replica."""
        return wire.known or self._knows_since == self._replica.life

    def _deliver(self, visit: Visit) -> None:
        channel: Channel = visit.connection
        if self._replica.alive and channel.life != self._replica.life:
            visit.answer(UNREACHABLE)
        else:
            self._inner.receive(visit)

    def check(self, timeout_s: float, bits: int) -> Steps:
        """As the operation does; checks bring their own connections."""
        return self._inner.check(timeout_s, bits)

    def probed(self) -> Any:
        """As the operation does."""
        return self._inner.probed()


def connected(target: Target, replicas: list[Replica], wire: Wire | None = None) -> Target:
    """A target for calls that come on connections."""
    endpoints: list[Endpoint] = [ConnectedEndpoint(*pair, wire) for pair in zip(target.endpoints, replicas, strict=True)]
    return Target(endpoints, target.view)
