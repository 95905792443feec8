"""Connections: a replica is chosen when one is made, and kept; calls share those of their process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from sim.values import Duration, PositiveDuration, Ratio, Spec

if TYPE_CHECKING:
    import cython

_INF: Final = math.inf

#: What becomes of a connection: being made; taking calls; finishing those that it has; over.
OPENING, OPEN, DRAINING, CLOSED = _OPENING, _OPEN, _DRAINING, _CLOSED = range(4)

_Count = Annotated[int, Field(ge=1, le=10**6)]


class Connections(Spec):
    """The connections of a caller process to a target: balancing chooses for each of them (layer 4), not for each call.

    ::

        call --> one with room? --yes--> its replica
                   | no
                   +--> fewer than per_process? --yes--> a new one: `balancing` chooses, `round_trips` pass --> its replica
                          | no
                          +--> waits for a place, first come first served, at most max_queue calls, at most max_wait

    HTTP/2 and gRPC have one connection with many calls at a time: `{per_process: 1, max_concurrent: 100}`. HTTP/1.1 has a pool
    with one call at a time in each, `{per_process: 20, max_concurrent: 1}`, and closes one whose call is given up.

    A connection takes no new calls from max_age ± jitter on, after max_requests, and once its replica says that it will stop;
    those that it has go on (GOAWAY), after max_age for `max_age_grace` at most. It ends at once when the replica dies; its calls
    are then `unreachable`. A replica that vanishes without a word ends nothing: calls wait for their timeouts until `keepalive`
    has passed, or it is back and knows nothing of the connection. A new replica gets no call before a connection is made to it.

    What `balancing` counts as in flight are connections then, as IPVS's and HAProxy's least connections do; outlier detection and
    health checks are asked when one is made. Absent: no connections, and every call is balanced (layer 7, or a client like
    gRPC's round robin with a connection to each replica). Not for those: there a connection decides nothing.
    With a `protocol` there are always connections: its own where none are written, and null is refused.

    Source: grpc-go@1.7x internal/transport/http2_server.go (age ± 10 %, GOAWAY, grace), defaults.go (100 streams until told);
    envoy@1.40 conn_pool_base.cc (the connection that was ready last is used first; drained after its last request);
    nginx@1.29 ngx_http_upstream_keepalive_module (1000 requests, 1 h, idle 60 s); gax-java ChannelPool (`spread`);
    RFC 6298 and Linux' tcp_syn_retries 6 (what is lost while connecting is sent again after 1, 2, 4 ... s, for 127 s).
    """

    per_process: _Count | Literal["unlimited"] = Field(
        1, description="that a caller process has at most; those that take no new calls are not counted"
    )
    max_concurrent: _Count | Literal["unlimited"] = Field(
        100, description="calls at one time on one of them: 1 as in HTTP/1.1; streams of HTTP/2"
    )
    use: Literal["fill", "spread"] = Field(
        "fill", description="fill: another is made when all are full; spread: all are made first, and calls take turns"
    )
    max_queue: Annotated[int, Field(ge=0)] | Literal["unbounded"] = Field(
        "unbounded", description="calls that wait for a place; more are rejected (Envoy: max_pending_requests)"
    )
    max_wait: PositiveDuration | None = Field(
        None, description="longest wait for a place, then the call is rejected; absent: no limit but its timeout"
    )
    round_trips: Annotated[int, Field(ge=0, le=10)] = Field(
        1, description="to make one, before the first call can be sent: TCP 1, with TLS 1.3 2, with TLS 1.2 3"
    )
    max_age: PositiveDuration | None = Field(None, description="age from which it takes no new calls; absent: none")
    max_age_jitter: Ratio = Field(0.1, description="share by which that varies, up and down, so that not all end together")
    max_age_grace: Duration | None = Field(
        None, description="time that is left after max_age for calls in flight, which are then cut; absent: no limit"
    )
    max_requests: _Count | None = Field(None, description="calls after which it takes no more; absent: no limit")
    idle_timeout: PositiveDuration | None = Field(None, description="time without calls after which it is closed; absent: none")
    keepalive: PositiveDuration | None = Field(
        None, description="time after which a replica that vanished without a word is given up; absent: never"
    )
    follow_discovery: bool = Field(
        False, description="whether one whose replica is no longer known, or is left out, takes no new calls (gRPC)"
    )

    @model_validator(mode="after")
    def _fits(self) -> Connections:
        if self.use == "spread" and self.per_process == "unlimited":
            raise ValueError("connections: use = spread makes all of them first; give per_process a number, or write use: fill")
        if self.max_age_grace is not None and self.max_age is None:
            raise ValueError("connections: max_age_grace begins at max_age, and there is none; write max_age, or leave it out")
        if self.max_wait is not None and self.max_queue == 0:
            raise ValueError("connections: max_wait has no effect while max_queue = 0 lets nobody wait; give max_queue a number")
        return self


class Connection:
    """One connection of a caller process to a replica; `calls` are those in flight on it, as their owner knows them."""

    __slots__ = ("calls", "closed_s", "endpoint", "idle_s", "left", "retires_s", "state")

    def __init__(self, endpoint: int) -> None:
        self.endpoint = endpoint
        self.state = _OPENING
        self.calls: list[Any] = []
        self.left: float = _INF  # calls that it may still take
        self.idle_s = 0.0  # clock time since which it has no call
        self.retires_s = _INF  # clock time from which it takes no more calls
        self.closed_s = _INF


class ConnectionsGate:
    """One caller process's connections to one target: which of them a call goes to, when one is over, who may wait.

    It knows no clock: what ran out meanwhile is found when it is asked next, and bears the time at which it did.

    >>> gate = ConnectionsGate(Connections(per_process=2, max_concurrent=1))
    >>> first = Connection(endpoint=7)
    >>> gate.add(first, 0.0, "a"); gate.established(first, 0.0, 0.5)
    >>> gate.take(1.0, "b") is None, gate.may_open()
    (True, True)
    >>> gate.done(first, "a", 2.0)
    >>> gate.take(3.0, "b") is first
    True
    """

    def __init__(self, spec: Connections) -> None:
        self.spec = spec
        self._spreads = spec.use == "spread"
        self._idle_s = _INF if spec.idle_timeout is None else spec.idle_timeout
        self.connections: list[Connection] = []  # that are not over, in the order in which they were made
        self.changes: list[tuple[float, int, str]] = []  # clock time, endpoint, state
        self._most = _number(spec.per_process)
        self._room = _number(spec.max_concurrent)
        self._longest = _number(spec.max_queue)  # line
        self._ready: list[Connection] = []  # with room; the last is that which became so last
        self._next_s = _INF  # nothing runs out before
        self._turn = 0

    def take(self, now_s: float, call: Any) -> Connection | None:
        """The connection that a new call goes to, which counts it from now on; None if none has room, or another comes first."""
        self.advance(now_s)
        found = self._in_turn() if self._spreads else self._ready[-1] if self._ready else None
        if found is not None:
            self.attach(found, call)
            if found.left <= 0 and found.state == _OPEN:
                self.drain(found, now_s)
        return found

    def _in_turn(self) -> Connection | None:
        if self.may_open():
            return None
        usable = [each for each in self.connections if each in self._ready]
        if not usable:
            return None
        self._turn += 1
        return usable[(self._turn - 1) % len(usable)]

    def attach(self, connection: Connection, call: Any) -> None:
        """A call goes to this one."""
        connection.calls.append(call)
        connection.left -= 1
        if connection.left <= 0 or len(connection.calls) >= self._room:
            self._forget_room(connection)

    def may_open(self) -> cython.bint:
        """Whether the process may make another connection."""
        taken: cython.long = 0
        for each in self.connections:
            connection: Connection = each
            taken += connection.state != _DRAINING
        return taken < self._most

    def may_wait(self, waiting: cython.long) -> cython.bint:
        """Whether one more call may wait for a place beside so many."""
        return waiting < self._longest

    def add(self, connection: Connection, now_s: float, call: Any) -> None:
        """A connection is being made, for this call; others may join it meanwhile."""
        connection.left = _INF if self.spec.max_requests is None else self.spec.max_requests
        self.connections.append(connection)
        self._ready.append(connection)
        self.attach(connection, call)

    def established(self, connection: Connection, now_s: float, u: float) -> None:
        """It has been made; `u`, uniform in [0, 1), decides how far its age lies from `max_age`."""
        spec = self.spec
        connection.state = _OPEN
        connection.idle_s = now_s
        if spec.max_age is not None:
            connection.retires_s = now_s + spec.max_age * (1 + spec.max_age_jitter * (2 * u - 1))
        self._look_again_at(connection)
        self.changes.append((now_s, connection.endpoint, "connected"))
        if connection.left <= 0:
            self.drain(connection, now_s)

    def done(self, connection: Connection, call: Any, now_s: float) -> None:
        """A call is over, however; where the connection only waited for that, so is the connection."""
        if call not in connection.calls:
            return
        self.advance(now_s)  # what retired meanwhile did so with this call on it
        full = len(connection.calls) >= self._room
        connection.calls.remove(call)
        if connection.state == _CLOSED:
            return
        if not connection.calls:
            connection.idle_s = now_s
            self._look_again_at(connection)
        if connection.state == _DRAINING:
            if not connection.calls:
                self.close(connection, now_s)
        elif full and connection.left > 0:
            self._ready.append(connection)

    def drain(self, connection: Connection, now_s: float) -> None:
        """It takes no more calls, and is over when it has none."""
        if connection.state >= _DRAINING:
            return
        connection.state = _DRAINING
        self._forget_room(connection)
        self.changes.append((now_s, connection.endpoint, "draining"))
        if not connection.calls:
            self.close(connection, now_s)

    def close(self, connection: Connection, now_s: float) -> None:
        """It is over at once."""
        if connection.state == _CLOSED:
            return
        if connection.state != _OPENING:
            self.changes.append((now_s, connection.endpoint, "disconnected"))
        connection.state = _CLOSED
        connection.closed_s = now_s
        self.connections.remove(connection)
        self._forget_room(connection)

    def advance(self, now_s: float) -> None:
        """Let run out what has: ages, and times without calls."""
        if now_s < self._next_s:
            return
        for connection in list(self.connections):
            over_s = self._runs_out_s(connection)
            if over_s > now_s:
                continue
            if over_s == connection.retires_s:
                self.drain(connection, over_s)
            else:
                self.close(connection, over_s)
        self._next_s = _INF
        for connection in self.connections:
            self._look_again_at(connection)

    def _forget_room(self, connection: Connection) -> None:
        if connection in self._ready:
            self._ready.remove(connection)

    def _runs_out_s(self, connection: Connection) -> float:
        """When it will, as things are: by its age, or because it has had no calls for too long."""
        if connection.state != _OPEN:
            return _INF
        idles_s = _INF if connection.calls else connection.idle_s + self._idle_s
        return min(idles_s, connection.retires_s)

    def _look_again_at(self, connection: Connection) -> None:
        self._next_s = min(self._next_s, self._runs_out_s(connection))


def _number(limit: int | str) -> float:
    """A limit that may be a word for none."""
    return _INF if isinstance(limit, str) else limit
