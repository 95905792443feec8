"""The caller: what happens between "call payment.charge" and its answer. Read `Caller` from top to bottom.

::

    call     deadline of the whole call, retries and the pauses between them
    attempt  one try: choose an endpoint, send, wait at most the per-try timeout
    hop      there over the network, through the endpoint, and back

The order is the usual one of client libraries: the deadline is outermost, so that retries cannot outlive it; the endpoint
is chosen
inside the retry, so that another try can go elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.errors import ScenarioError
from sim.kernel.tasks import TIMED_OUT, Reply, Steps
from sim.policies.balancing import RULES
from sim.records import IN_FLIGHT, OK, OUTCOMES, TIMEOUT, UNREACHABLE
from sim.runtime.context import Context, Visit
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.network import Line
    from sim.runtime.world import World
    from sim.scenario.services import CallPolicy

_PAUSE, _PICK, _THERE, _BACK, _CANCEL = (salt("caller", name) for name in ("pause", "pick", "there", "back", "cancel"))

#: Attempts of one call between two looks at whether the clock still moves.
_STUCK_AFTER = 10_000

#: Answer of an endpoint that vanished without a word: nothing goes back.
SILENCE = -1


class Endpoint(Protocol):
    """Something that can be called: a replica's operation, or a broker's queue."""

    def serve(self, visit: Visit) -> Steps:
        """Work on the visit and return its outcome, or SILENCE."""


class Target(Protocol):
    """What an edge leads to: endpoints, and which of them callers believe to be alive."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, by index."""

    @property
    def believed_alive(self) -> list[int]:
        """Indices that callers may choose."""


class Edge:
    """What all caller processes of one service share on the way to one target: policy, lines, codes."""

    __slots__ = ("back", "caller_code", "policy", "target", "target_code", "there")

    def __init__(self, policy: CallPolicy, target: Target, there: Line, back: Line, caller_code: int, target_code: int) -> None:
        self.policy = policy
        self.target = target
        self.there = there
        self.back = back
        self.caller_code = caller_code
        self.target_code = target_code


class Caller:
    """One caller process on one edge: it owns its balancer and knows its own calls in flight, nobody else's."""

    __slots__ = ("_balancer", "_edge", "_in_flight", "_world")

    def __init__(self, world: World, edge: Edge, process_key: int) -> None:
        self._world = world
        self._edge = edge
        endpoints = len(edge.target.endpoints)
        self._balancer = RULES[edge.policy.balancing](process_key % endpoints)
        self._in_flight = [0] * endpoints

    def call(self, context: Context, key: int) -> Steps:
        """Call, retry and pause until an answer, the last attempt or the deadline; return the outcome."""
        world, policy = self._world, self._edge.policy
        began_s = world.now
        deadline_s = began_s + policy.timeout if policy.timeout is not None else None
        number, pause_s = 0, 0.0
        while True:
            number += 1
            limit_s, is_deadline = self._limit(deadline_s)
            outcome = yield from self._attempt(context, key, number, limit_s)
            if outcome == OK or (outcome == TIMEOUT and is_deadline):
                return outcome
            if not policy.retry.again(number, OUTCOMES[outcome]):
                return outcome
            if number % _STUCK_AFTER == 0:
                self._check_that_time_passes(began_s, number)
            pause_s = policy.retry.backoff.pause_s(number, pause_s, uniform(child(child(key, number), _PAUSE)))
            if deadline_s is not None and world.now + pause_s >= deadline_s:
                # The pause is cut off by the deadline, as in gRPC: no try can follow.
                yield from self._pause(context, max(0.0, deadline_s - world.now))
                return TIMEOUT
            yield from self._pause(context, pause_s)

    def _check_that_time_passes(self, began_s: float, number: int) -> None:
        """Stop a run in which retries without a pause would fail at one instant for ever."""
        if self._world.now > began_s:
            return
        names = self._world.names
        edge = f"{names[self._edge.caller_code]} -> {names[self._edge.target_code]}"
        raise ScenarioError(
            f"calls.{edge}.retry: {number} attempts failed at one instant ({began_s:g} s) and no time passes between them; "
            "give retry.backoff a base, for example 10ms, or retry a limited max_attempts"
        )

    def _limit(self, deadline_s: float | None) -> tuple[float | None, bool]:
        """Longest wait of the next attempt, and whether the deadline sets it."""
        per_try_s = self._edge.policy.per_try_timeout
        if deadline_s is None:
            return per_try_s, False
        left_s = max(0.0, deadline_s - self._world.now)
        return (left_s, True) if per_try_s is None or left_s <= per_try_s else (per_try_s, False)

    def _pause(self, context: Context, pause_s: float) -> Steps:
        if pause_s > 0:
            yield pause_s
            context.backoff_s += pause_s

    def _attempt(self, context: Context, call_key: int, number: int, limit_s: float | None) -> Steps:
        """One try at one endpoint; return its outcome and account for its time."""
        world, edge = self._world, self._edge
        key = child(call_key, number)
        started_s = world.now
        attempt = world.recorder.next_attempt(context.request.number)
        chosen, outcome, visit = -1, IN_FLIGHT, None
        alive = edge.target.believed_alive
        try:
            if not alive:
                outcome = UNREACHABLE
                return outcome
            chosen = self._balancer.pick(alive, self._in_flight, child(key, _PICK))
            self._in_flight[chosen] += 1
            visit = Visit(context.request, attempt, key, call_key, started_s)
            reply = self._send(visit, edge.target.endpoints[chosen])
            answer = (yield reply) if limit_s is None else (yield from reply.within(limit_s))
            outcome = TIMEOUT if answer is TIMED_OUT else answer
            if outcome == TIMEOUT or outcome == UNREACHABLE:
                context.lost_s += world.now - started_s
            else:
                context.add(visit)
            return outcome
        finally:
            # Also when this caller itself is killed: then the attempt stays in_flight, and nobody waits for it.
            if visit is not None:
                self._in_flight[chosen] -= 1
                if outcome == TIMEOUT or outcome == IN_FLIGHT:
                    self._abandon(visit)
            world.recorder.attempt(attempt, context, edge, chosen, number, started_s, outcome, visit)

    def _send(self, visit: Visit, endpoint: Endpoint) -> Reply:
        world = self._world
        visit.reply = reply = Reply(world.tasks)
        visit.back = self._edge.back
        world.opened(visit)
        visit.task = world.tasks.start(self._hop(visit, endpoint, reply))
        return reply

    def _hop(self, visit: Visit, endpoint: Endpoint, reply: Reply) -> Steps:
        """Carry one visit there, through the endpoint and back; it goes on when nobody waits for it any more."""
        try:
            delay_s = self._edge.there.travel_s(child(visit.key, _THERE))
            if delay_s is None:
                return
            if delay_s > 0:
                yield delay_s
                visit.own_network_s += delay_s
            outcome = yield from endpoint.serve(visit)
            if outcome == SILENCE or reply.settled:
                return
            yield from answer(visit, outcome)
        finally:
            self._world.closed(visit)

    def _abandon(self, visit: Visit) -> None:
        """Give up on a visit: without cancellation the server never learns and finishes for nobody."""
        assert visit.reply is not None
        visit.reply.settle(TIMED_OUT)
        if self._edge.policy.cancellation and visit.task is not None and visit.task.alive:
            self._world.tasks.start(self._cancel(visit))

    def _cancel(self, visit: Visit) -> Steps:
        delay_s = self._edge.there.travel_s(child(visit.key, _CANCEL))
        if delay_s is None:
            return
        if delay_s > 0:
            yield delay_s
        assert visit.task is not None
        visit.task.kill()


def answer(visit: Visit, outcome: int) -> Steps:
    """Send an outcome back to whoever waits for the visit; on a lossy line it may never arrive."""
    assert visit.back is not None
    assert visit.reply is not None
    delay_s = visit.back.travel_s(child(visit.key, _BACK))
    if delay_s is None:
        return
    if delay_s > 0:
        yield delay_s
        visit.own_network_s += delay_s
    visit.network_s += visit.own_network_s
    visit.reply.settle(outcome)
