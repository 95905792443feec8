"""The caller: what happens between "call payment.charge" and its answer. Read `Caller` from top to bottom.

::

    begin    a call: its deadline
    _try     one try after the other, until there is something to wait for
    _send    one try: the circuit breaker lets it through, or not; choose an endpoint, let a visit leave
    _settle  the try is over: its time, the breaker, its row
    _then    what follows: the call is over, or another try, after a pause

The order is the usual one of client libraries: the deadline is outermost, so that retries cannot outlive it; every try asks the
breaker, so that it can open between two tries; the endpoint is chosen inside the retry, so that another try can go elsewhere.

A call runs once per request and hop, so it is written as stages between waits instead of a generator; `call` is for generators.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sim.errors import ScenarioError
from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Tasks
from sim.policies.balancers import new_balancer
from sim.policies.balancing import Balancer
from sim.policies.breaker import REFUSED, STATES, BreakerGate, breaker_gate
from sim.records import DEGRADED, IN_FLIGHT, OK, OUTCOMES, SHORT_CIRCUITED, TIMEOUT, UNREACHABLE
from sim.runtime.visit import Edge, View, Visit, new_visit, use_again
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.context import Context
    from sim.runtime.recorder import Recorder
    from sim.runtime.world import World

_INF = math.inf
_PAUSE, _PICK, _PROBE = (salt("caller", name) for name in ("pause", "pick", "probe"))

#: Attempts of one call between two looks at whether the clock still moves.
_STUCK_AFTER = 10_000

# What a call waits for: the answer of an attempt, or the end of a pause that another try follows, or none.
_SENT, _PAUSE_BEFORE_RETRY, _LAST_PAUSE = range(3)


class Call(Reply):
    """One logical call on its way through the caller's layers; it is settled with its outcome."""

    __slots__ = (
        "began_s", "caller", "context", "deadline_s", "key", "left_s", "next_spare", "number", "outcome", "pause_s", "permit",
        "stage", "timed_out", "visit",
    )  # fmt: skip

    def __init__(self, caller: Caller, context: Context, key: cython.ulonglong) -> None:
        self.open(context._tasks)
        self.begin(caller, context, key)

    def begin(self, caller: Caller, context: Context, key: cython.ulonglong) -> None:
        """Begin; also anew, as another call, once all of an earlier one is over."""
        self.caller = caller
        self.context = context
        self.key = key  # names its random draws
        self.number = 1  # of the current attempt
        self.began_s = 0.0
        self.deadline_s = _INF  # clock time
        self.left_s = _INF  # until the deadline, at the begin of the current attempt
        self.pause_s = 0.0  # the last pause
        self.permit = REFUSED  # of the breaker, for the current attempt
        self.outcome = IN_FLIGHT  # of the call, or of an attempt that could not be sent
        self.timed_out = False  # whether the last attempt ended because it was waited for no longer
        self.visit: Visit | None = None  # the attempt for which it waits
        self.stage = _SENT  # what it waits for
        self.next_spare: Call | None = None

    def fire(self) -> None:
        """The pause is over."""
        self._tasks.wake(self, None)

    def advance(self, value: Any) -> None:
        """Go on with the answer of an attempt, or after a pause."""
        self.caller.go_on(self, value)

    def kill(self) -> None:
        """Its own caller is gone: the attempt stays in flight, and nobody waits for it."""
        if self.settled or not self.alive:
            return
        self.alive = False
        visit = self.visit
        if visit is not None:
            self.visit = None
            visit.waiter = None
            self.caller.give_up(self, visit)


class Caller:
    """One caller process on one edge: it owns its balancer and its breaker, and knows its own calls in flight, nobody else's.

    Attributes:
        process: index of the replica, or of the client, whose caller it is.
        plain: whether a call may `begin` without a generator. A subclass whose `call` does more than this sets it to False.
    """

    __slots__ = (
        "_balancer", "_breaker", "_counts", "_edge", "_in_flight", "_learns", "_past", "_peer", "_probes", "_process_key",
        "_recorder", "_retry", "_shared_key", "_spare", "_tasks", "_view", "_zone_gate", "plain", "process",
    )  # fmt: skip

    def __init__(self, world: World, edge: Edge, process_key: cython.ulonglong, process: cython.long) -> None:
        self._tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self._edge = edge
        self._view: View = world.view(edge, process)
        self._in_flight: list[int] = []  # calls by endpoint, where the balancer counts them
        self._breaker: BreakerGate | None = None
        self._spare: Call | None = None  # a list, through `next_spare`, of calls that are over
        self._retry = edge.policy.retry
        self._process_key = process_key
        self._shared_key = key(world.seed, "balancing", edge.names[1].split(".")[0])  # what all its callers hash alike
        self._past: list[tuple[float, int, str]] = []  # changes of state in earlier lives of the process
        self._zone_gate = world.zone_gate(edge, process)
        self._peer = process, world.processes_of(edge.names[0])
        self.process = process
        self.plain = True
        self.forget()

    def forget(self) -> None:
        """The process was started anew, with no call in flight: its breaker is closed, its balancer knows nothing."""
        self._past = self.changes()
        self._balance_anew()
        spec = self._edge.policy.circuit_breaker
        self._breaker = None if spec is None else breaker_gate(spec, self._process_key, self._tasks.now_s())

    def _balance_anew(self) -> None:
        edge, own = self._edge, self._process_key
        endpoints = len(edge.target.endpoints)
        start, now_s = own % endpoints, self._tasks.now_s()
        balancer = new_balancer(edge.policy.balancing, own, self._shared_key, start, now_s, self._zone_gate, self._peer)
        self._balancer: Balancer = balancer
        self._counts = balancer.counts
        self._learns = balancer.learns
        self._probes = balancer.probes_endpoints
        if self._counts and not self._in_flight:
            self._in_flight = [0] * endpoints

    @property
    def names(self) -> tuple[str, str]:
        """Of the service that calls (or client), and of the target."""
        return self._edge.names

    @property
    def caller_code(self) -> int:
        """Code of the service that calls."""
        return self._edge.caller_code

    @property
    def target_code(self) -> int:
        """Code of the target."""
        return self._edge.target_code

    def close(self) -> None:
        """End what the process does in the background; this caller does nothing there."""

    def flush(self) -> None:
        """Empty the cache of answers; this caller has none."""

    def changes(self) -> list[tuple[float, int, str]]:
        """When a breaker opened, half-opened or closed, or an endpoint was left out: clock time, endpoint (-1: all), state."""
        breaker = self._breaker
        if breaker is None:
            return self._past
        breaker.state(self._tasks.now_s())
        return self._past + [(time_s, -1, STATES[state]) for time_s, state in breaker.changes]

    def call(self, context: Context, key: cython.ulonglong) -> Steps:
        """Steps that call, retry and pause until an answer, the last attempt or the deadline; they return the outcome."""
        return self._call(context, key)

    def _call(self, context: Context, key: cython.ulonglong) -> Steps:
        call = self.begin(context, key)
        try:
            if not call.settled:
                yield call
        finally:
            call.kill()
        return call.outcome

    def begin(self, context: Context, key: cython.ulonglong) -> Call:
        """Make a call, with draws named by `key`: settled already, or it will be, with the outcome."""
        call = self._spare
        if call is None:
            call = Call.__new__(Call)
            call.open(context._tasks)
        else:
            self._spare = call.next_spare
            call.ask()
        call.begin(self, context, key)
        edge = self._edge
        call.began_s = self._tasks.now_s()
        call.left_s = edge.timeout_s
        call.deadline_s = call.began_s + edge.timeout_s
        if edge.propagate_deadline and context.due_s < call.deadline_s:
            call.left_s = context.due_s - call.began_s
            call.deadline_s = context.due_s
        if call.left_s > 0:
            self._try(call)
        else:
            self._end(call, TIMEOUT)  # nobody waits any more for what led here
        return call

    def over(self, call: Call) -> None:
        """Whoever began a call has taken its outcome and will not look at it again."""
        call.next_spare = self._spare
        self._spare = call

    def go_on(self, call: Call, value: Any) -> None:
        """The wait of a call is over: that for an attempt, or a pause."""
        if call.stage == _SENT:
            visit = call.visit
            call.visit = None
            assert visit is not None
            call.timed_out = value is TIMED_OUT
            outcome: cython.int = TIMEOUT if call.timed_out else value
            self._settle(call, visit, outcome)
            use_again(visit, self._edge)
            if self._then(call, outcome):
                self._try(call)
            return
        call.context.backoff_s += call.pause_s
        if call.stage == _LAST_PAUSE:
            self._end(call, TIMEOUT)
        else:
            call.number += 1
            self._try(call)

    def _try(self, call: Call) -> None:
        """Send attempts, until one has to be waited for or the call is over."""
        again = True
        while again:
            if call.number > 1:
                call.left_s = call.deadline_s - self._tasks.now_s()
            visit = self._send(call)
            if visit is None:
                again = self._then(call, call.outcome)
            elif visit.settled:
                call.timed_out = visit.value is TIMED_OUT
                outcome: cython.int = TIMEOUT if call.timed_out else visit.value
                self._settle(call, visit, outcome)
                again = self._then(call, outcome)
            else:
                call.stage = _SENT
                call.visit = visit
                visit.waiter = call
                return

    def _then(self, call: Call, outcome: cython.int) -> cython.bint:
        """Whether another try follows at once; if not, the call is over or pauses."""
        if outcome == OK or outcome == DEGRADED or self._gives_up(call, outcome):
            self._end(call, outcome)
            return False
        now_s = self._tasks.now_s()
        if call.number % _STUCK_AFTER == 0:
            if now_s <= call.began_s:
                self._stuck(call.number)
            call.began_s = now_s  # the first tries may have taken time, and those after them none
        call.pause_s = self._pause_s(call, call.pause_s)
        left_s = call.deadline_s - now_s
        call.stage = _PAUSE_BEFORE_RETRY
        if call.pause_s >= left_s:
            # The pause is cut off by the deadline, as in gRPC: no try can follow.
            if left_s <= 0:
                self._end(call, TIMEOUT)
                return False
            call.stage = _LAST_PAUSE
            call.pause_s = left_s
        if call.pause_s > 0:
            self._tasks.schedule(call, now_s + call.pause_s)
            return False
        call.number += 1
        return True

    def _end(self, call: Call, outcome: cython.int) -> None:
        call.outcome = outcome
        call.settle_in_place(outcome)

    def give_up(self, call: Call, visit: Visit) -> None:
        """This caller itself is killed: its attempt stays in flight."""
        self._settle(call, visit, IN_FLIGHT)

    def _gives_up(self, call: Call, outcome: cython.int) -> cython.bint:
        """Whether no other try follows a failure: the deadline has passed, or the retry policy says so."""
        # A proxy may answer that its own call timed out, which says nothing about this one's deadline.
        if outcome == TIMEOUT and call.timed_out and call.left_s <= self._edge.per_try_s:
            return True
        return not self._retry.again(call.number, OUTCOMES[outcome])

    def _pause_s(self, call: Call, previous_s: float) -> float:
        u = uniform(child(child(call.key, call.number), _PAUSE))
        pause_s: float = self._retry.backoff.pause_s(call.number, previous_s, u)
        return pause_s

    def _stuck(self, tries: cython.long) -> None:
        """Stop a run in which retries without a pause would fail at one instant for ever."""
        caller, target = self._edge.names
        raise ScenarioError(
            f"calls.{caller} -> {target}.retry: {tries} attempts failed at one instant ({self._tasks.now_s():g} s) "
            "and no time passes between them; give retry.backoff a base, for example 10ms, or retry a limited max_attempts"
        )

    def _send(self, call: Call) -> Visit | None:
        """Choose an endpoint and let a visit begin its way; None, and the call's `outcome`, if there is nothing to send it to."""
        edge, breaker, context = self._edge, self._breaker, call.context
        now_s = self._tasks.now_s()
        if breaker is not None:
            call.permit = breaker.permit(now_s)
            if call.permit == REFUSED:
                call.outcome = SHORT_CIRCUITED
                return None
        visit = new_visit(context, edge)
        visit.sent_s = now_s
        visit.attempt = self._recorder.next_attempt(context.request, context.entry, context.arrived_s)
        if edge.propagate_deadline:
            visit.due_s = call.deadline_s
        known = self._known(now_s)
        if not known:
            call.outcome = UNREACHABLE
            self._note(call, visit, UNREACHABLE)
            return None
        visit.key = child(call.key, call.number)
        visit.call_key = call.key
        if self._learns:
            known = self._balancer.look(now_s, call.key, known)
        visit.chosen = self._balancer.pick(known, self._in_flight, child(visit.key, _PICK))
        if self._counts:
            self._in_flight[visit.chosen] += 1
        if self._learns:
            self._tell_sent(visit, now_s)
        visit.leave(call.left_s)
        return visit

    def _known(self, now_s: float) -> list[int]:
        """The endpoints that this process knows of now."""
        view = self._view
        if now_s >= view.until_s:
            view.renew(now_s)
        return view.known

    def _tell_sent(self, visit: Visit, now_s: float) -> None:
        """Tell the balancer that an attempt goes out, and send the probes that it wants, if any."""
        balancer = self._balancer
        balancer.sent(visit.chosen, now_s)
        if self._probes:
            for endpoint in balancer.probes():
                self._tasks.start(self._probe(balancer, endpoint, child(child(visit.key, _PROBE), endpoint)))

    def _probe(self, balancer: Balancer, endpoint: cython.long, bits: cython.ulonglong) -> Steps:
        """A question to an endpoint and its answer; it holds nothing up."""
        edge = self._edge
        delay_s = edge.there_s(endpoint, bits)
        if delay_s < 0:
            return
        if delay_s > 0:
            yield delay_s
        report = edge.target.endpoints[endpoint].probed()
        delay_s = self.way_back_s(endpoint, child(bits, _PROBE))
        if report is None or delay_s < 0:
            return
        if delay_s > 0:
            yield delay_s
        balancer.heard(endpoint, self._tasks.now_s(), report)  # in this life of the process, or in none

    def way_back_s(self, endpoint: cython.long, bits: cython.ulonglong) -> float:
        """How long a message from an endpoint takes, in seconds; negative if it is lost."""
        return self._edge.back_s(endpoint, bits)

    def hear(self, endpoint: cython.long) -> None:
        """An endpoint says that it is idle."""
        self._balancer.heard(endpoint, self._tasks.now_s(), None)

    def _settle(self, call: Call, visit: Visit, outcome: cython.int) -> None:
        """Account for an attempt that is over."""
        if self._counts:
            self._in_flight[visit.chosen] -= 1
        if self._learns:
            now_s = self._tasks.now_s()
            self._balancer.settled(visit.chosen, now_s, now_s - visit.sent_s, outcome, visit.report)
        context = call.context
        visit.watched_no_more()
        if outcome == TIMEOUT or outcome == UNREACHABLE:
            context.lost_s += self._tasks.now_s() - visit.sent_s
        elif outcome != IN_FLIGHT:
            context.add(visit)
        if outcome == TIMEOUT or outcome == IN_FLIGHT:
            visit.abandon()
        self._note(call, visit, outcome)

    def _note(self, call: Call, visit: Visit, outcome: cython.int) -> None:
        """Tell the breaker and the recorder."""
        edge, breaker = self._edge, self._breaker
        if breaker is not None:
            now_s = self._tasks.now_s()
            breaker.finish(call.permit, outcome, now_s, now_s - visit.sent_s)
        self._recorder.attempt(visit, call.context.attempt, edge.caller_code, edge.target_code, call.number, outcome)
        if edge.zone is not None:
            edge.zone.count(visit.chosen, visit.sent_s, outcome)
