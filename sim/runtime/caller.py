"""The caller: what happens between "call payment.charge" and its answer. Read `Caller` from top to bottom.

::

    call     deadline of the whole call, retries and the pauses between them
    permit   the circuit breaker lets the try through, or not
    attempt  one try: choose an endpoint, send, wait at most the per-try timeout
    hop      there over the network, through the endpoint, and back

The order is the usual one of client libraries: the deadline is outermost, so that retries cannot outlive it; every try asks the
breaker, so that it can open between two tries; the endpoint is chosen inside the retry, so that another try can go elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.kernel.tasks import TIMED_OUT, Limit, Reply, Steps, Tasks
from sim.policies.balancing import RULES
from sim.policies.breaker import REFUSED, BreakerGate
from sim.records import IN_FLIGHT, OK, OUTCOMES, SHORT_CIRCUITED, TIMEOUT, UNREACHABLE
from sim.runtime.context import SILENCE, Context, Visit
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.ledger import Ledger
    from sim.runtime.network import Line
    from sim.runtime.recorder import Recorder
    from sim.runtime.world import World
    from sim.scenario.services import CallPolicy

_PAUSE, _PICK, _THERE, _BACK, _CANCEL = (salt("caller", name) for name in ("pause", "pick", "there", "back", "cancel"))

#: Attempts of one call between two looks at whether the clock still moves.
_STUCK_AFTER = 10_000

_INF = math.inf


class Endpoint:
    """Something that can be called: a replica's operation, or a broker's queue."""

    __slots__ = ()

    def serve(self, visit: Visit) -> Steps:
        """Work on the visit and return its outcome, or SILENCE."""
        raise NotImplementedError


class Target:
    """What an edge leads to: its endpoints, and the indices of those that callers believe to be alive."""

    __slots__ = ("believed_alive", "endpoints")

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self.endpoints = endpoints
        self.believed_alive = list(range(len(endpoints)))


class Edge:
    """What all caller processes of one service share on the way to one target: policy, lines, codes."""

    __slots__ = (
        "back", "caller_code", "cancellation", "names", "per_try", "per_try_s", "policy", "target", "target_code", "there",
        "timeout_s",
    )  # fmt: skip

    def __init__(self, world: World, policy: CallPolicy, target: Target, there: Line, back: Line, caller_code: int, target_code: int) -> None:
        self.policy = policy
        self.timeout_s = _INF if policy.timeout is None else policy.timeout
        self.per_try_s = _INF if policy.per_try_timeout is None else policy.per_try_timeout
        self.per_try = Limit(world.tasks, self.per_try_s)
        self.cancellation = policy.cancellation
        self.target = target
        self.there = there
        self.back = back
        self.caller_code = caller_code
        self.target_code = target_code
        self.names = (world.names[caller_code], world.names[target_code])


class Call:
    """One logical call on its way through the caller's layers."""

    __slots__ = ("context", "key", "left_s", "number")

    def __init__(self, context: Context, key: cython.ulonglong) -> None:
        self.context = context
        self.key = key
        self.number = 1  # of the current attempt
        self.left_s = _INF  # until the deadline, at the begin of the current attempt


class Caller:
    """One caller process on one edge: it owns its balancer and its breaker, and knows its own calls in flight, nobody else's."""

    __slots__ = ("_balancer", "_breaker", "_edge", "_in_flight", "_ledger", "_once", "_recorder", "_retry", "_tasks")

    def __init__(self, world: World, edge: Edge, process_key: cython.ulonglong) -> None:
        self._tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self._ledger: Ledger = world.ledger
        self._edge = edge
        policy = edge.policy
        endpoints = len(edge.target.endpoints)
        self._balancer = RULES[policy.balancing](process_key % endpoints)
        self._breaker = None if policy.circuit_breaker is None else BreakerGate(policy.circuit_breaker)
        self._in_flight = [0] * endpoints
        self._retry = policy.retry
        self._once = policy.retry.max_attempts == 1  # once and never again: the layer above has nothing to do

    def call(self, context: Context, key: cython.ulonglong) -> Steps:
        """Steps that call, retry and pause until an answer, the last attempt or the deadline; they return the outcome."""
        call = Call(context, key)
        if self._once and self._edge.timeout_s == _INF:
            return self._permitted(call)
        return self._retried(call)

    def _retried(self, call: Call) -> Steps:
        tasks = self._tasks
        began_s = tasks.now_s()
        deadline_s = began_s + self._edge.timeout_s
        pause_s = 0.0
        while True:
            left_s = max(0.0, deadline_s - tasks.now_s())
            call.left_s = left_s
            outcome: cython.int = yield from self._permitted(call)
            if outcome == OK or (outcome == TIMEOUT and left_s <= self._edge.per_try_s):
                return outcome
            number = call.number
            if not self._retry.again(number, OUTCOMES[outcome]):
                return outcome
            if number % _STUCK_AFTER == 0 and tasks.now_s() <= began_s:
                self._stuck(number)
            pause_s = self._retry.backoff.pause_s(number, pause_s, uniform(child(child(call.key, number), _PAUSE)))
            left_s = deadline_s - tasks.now_s()
            if pause_s >= left_s:
                # The pause is cut off by the deadline, as in gRPC: no try can follow.
                if left_s > 0:
                    yield left_s
                    call.context.backoff_s += left_s
                return TIMEOUT
            if pause_s > 0:
                yield pause_s
                call.context.backoff_s += pause_s
            call.number = number + 1

    def _stuck(self, number: cython.long) -> None:
        """Stop a run in which retries without a pause would fail at one instant for ever."""
        caller, target = self._edge.names
        raise ScenarioError(
            f"calls.{caller} -> {target}.retry: {number} attempts failed at one instant ({self._tasks.now_s():g} s) and no time passes "
            "between them; give retry.backoff a base, for example 10ms, or retry a limited max_attempts"
        )

    def _permitted(self, call: Call) -> Steps:
        """One try, if the breaker lets it through."""
        return self._attempt(call) if self._breaker is None else self._guarded(call)

    def _guarded(self, call: Call) -> Steps:
        breaker = self._breaker
        assert breaker is not None
        permit = breaker.permit(self._tasks.now_s())
        if permit == REFUSED:
            return SHORT_CIRCUITED
        outcome: cython.int = IN_FLIGHT
        try:
            outcome = yield from self._attempt(call)
            return outcome
        finally:
            if outcome == IN_FLIGHT:
                breaker.back(permit)
            else:
                breaker.settle(permit, outcome == OK, self._tasks.now_s())

    def _attempt(self, call: Call) -> Steps:
        """One try at one endpoint, for at most `call.left_s` seconds; return its outcome and account for its time."""
        edge, context, number = self._edge, call.context, call.number
        key = child(call.key, number)
        started_s = self._tasks.now_s()
        attempt = self._recorder.next_attempt(context.request.number)
        alive = edge.target.believed_alive
        outcome: cython.int = IN_FLIGHT
        if not alive:
            outcome = UNREACHABLE
            self._recorder.attempt(
                attempt, context, edge.caller_code, edge.target_code, -1, number, started_s, outcome, None
            )
            return outcome
        chosen = self._balancer.pick(alive, self._in_flight, child(key, _PICK))
        self._in_flight[chosen] += 1
        visit = Visit(context.request, attempt, key, call.key, started_s)
        try:
            reply = self._send(visit, edge.target.endpoints[chosen], call.left_s)
            answer = reply.value if reply.settled else (yield reply)
            outcome = TIMEOUT if answer is TIMED_OUT else answer
            if outcome == TIMEOUT or outcome == UNREACHABLE:
                context.lost_s += self._tasks.now_s() - started_s
            else:
                context.add(visit)
            return outcome
        finally:
            # Also when this caller itself is killed: then the attempt stays in_flight, and nobody waits for it.
            self._in_flight[chosen] -= 1
            if outcome == TIMEOUT or outcome == IN_FLIGHT:
                self._abandon(visit)
            self._recorder.attempt(
                attempt, context, edge.caller_code, edge.target_code, chosen, number, started_s, outcome, visit
            )

    def _send(self, visit: Visit, endpoint: Endpoint, left_s: float) -> Reply:
        """Let a visit begin its way; the reply is settled with its outcome, or with TIMED_OUT."""
        edge = self._edge
        reply = Reply(self._tasks)
        visit.reply = reply
        visit.back = edge.back
        self._ledger.opened(visit)
        visit.task = self._tasks.start(self._hop(visit, endpoint, reply))
        if not reply.settled:
            if edge.per_try_s < left_s:
                edge.per_try.watch(reply)
            elif left_s < _INF:
                reply.expire_after(left_s)
        return reply

    def _hop(self, visit: Visit, endpoint: Endpoint, reply: Reply) -> Steps:
        """Carry one visit there, through the endpoint and back; it goes on when nobody waits for it any more."""
        try:
            delay_s = self._edge.there.travel_s(child(visit.key, _THERE))
            if delay_s < 0:
                return
            if delay_s > 0:
                yield delay_s
                visit.own_network_s += delay_s
            outcome: cython.int = yield from endpoint.serve(visit)
            if outcome == SILENCE or reply.settled:
                return
            delay_s = way_back_s(visit)
            if delay_s < 0:
                return
            if delay_s > 0:
                yield delay_s
            arrived(visit, outcome, delay_s)
        finally:
            self._ledger.closed(visit)

    def _abandon(self, visit: Visit) -> None:
        """Give up on a visit: without cancellation the server never learns and finishes for nobody."""
        reply, task = visit.reply, visit.task
        assert reply is not None
        reply.settle(TIMED_OUT)
        if self._edge.cancellation and task is not None and task.alive:
            self._tasks.start(self._cancel(visit))

    def _cancel(self, visit: Visit) -> Steps:
        delay_s = self._edge.there.travel_s(child(visit.key, _CANCEL))
        if delay_s < 0:
            return
        if delay_s > 0:
            yield delay_s
        assert visit.task is not None
        visit.task.kill()


def way_back_s(visit: Visit) -> float:
    """Seconds that an answer takes to whoever waits for the visit; LOST on a lossy line."""
    back = visit.back
    assert back is not None
    return back.travel_s(child(visit.key, _BACK))


def arrived(visit: Visit, outcome: cython.int, delay_s: float) -> None:
    """The answer is there, after `delay_s` on the way back."""
    reply = visit.reply
    assert reply is not None
    visit.own_network_s += delay_s
    visit.network_s += visit.own_network_s
    reply.settle(outcome)


def answer(visit: Visit, outcome: cython.int) -> Steps:
    """Send an outcome back to whoever waits for the visit."""
    delay_s = way_back_s(visit)
    if delay_s < 0:
        return
    if delay_s > 0:
        yield delay_s
    arrived(visit, outcome, delay_s)
