"""The caller with every policy, as a stack of layers. Read `GuardedCaller` from top to bottom; `LAYERS` is the usual order.

::

    call -> fallback -> cache -> deadline -> batch -> retry -> hedging -> throttling -> circuit breaker
         -> rate limit -> adaptive concurrency -> concurrency limit -> attempt

Each layer is a short generator that does `yield from` the next and returns an outcome; what is not configured is not there.
The order is a modelling decision, so it is data (`order` of a call's policy): retries outside of the breaker let it see every
try, as in resilience4j; inside, it sees whole calls. An edge with none of these policies has the plain, faster `Caller`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Pool, Steps, Task
from sim.policies.adaptive import AdaptiveGate, adaptive_gate
from sim.policies.breaker import REFUSED, STATES, BreakerGate, breaker_gate
from sim.policies.budget_gates import Account, BudgetGate, budget_gate
from sim.policies.hedging import HedgeGate
from sim.policies.rate import RateGate, rate_gate
from sim.policies.throttle import ThrottleGate, throttle_gate
from sim.records import DEGRADED, GOOD, IN_FLIGHT, OUTCOMES, REJECTED, SHORT_CIRCUITED, TIMEOUT, UNREACHABLE
from sim.runtime.batches import Collector
from sim.runtime.caller import Caller
from sim.runtime.choice import ALL_REFUSE, NONE_ALIVE, Choice
from sim.runtime.health import ActiveHealth
from sim.runtime.journey import Journey
from sim.runtime.race import Race
from sim.runtime.shelf import Shelf
from sim.runtime.visit import Visit, new_visit
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.context import Context
    from sim.runtime.visit import Edge
    from sim.runtime.world import World

_INF = math.inf
_PAUSE, _PICK, _FALLBACK, _THROTTLE, _ADAPT, _HEALTH = (
    salt("caller", name) for name in ("pause", "pick", "fallback", "throttle", "adapt", "health")
)

#: Attempts of one call between two looks at whether the clock still moves.
_STUCK_AFTER = 10_000


def _number(limit: int | str) -> float:
    """A limit that may be the word unbounded."""
    return _INF if isinstance(limit, str) else limit


def _word(journey: Journey, outcome: cython.int) -> str:
    """How a try ended, for policies that tell what the target refused from what was never sent."""
    return "overflow" if journey.refused_here else OUTCOMES[outcome]


def _too_late() -> Steps:
    return TIMEOUT
    yield  # a generator that waits for nothing


#: A layer: steps of a journey that go on with the layer at the given place.
_Layer = Callable[[Journey, int], Steps]


class GuardedCaller(Caller):
    """One caller process on one edge, with every policy that the edge has."""

    def __init__(
        self, world: World, edge: Edge, process_key: cython.ulonglong, process: cython.long, callers: Callable[[Edge], Caller]
    ) -> None:
        self._policy = edge.policy
        self._callers = callers  # of the same process, for fallback calls
        self._shelf: Shelf | None = None
        self._loose: list[Task] = []  # attempts that nobody waits for
        self._active: ActiveHealth | None = None
        self._choice: Choice | None = None
        self._gate: BreakerGate | None = None
        Caller.__init__(self, world, edge, process_key, process)
        self.plain = False
        layers: dict[str, tuple[object, _Layer]] = {
            "fallback": (self._policy.fallback, self._fall_back),
            "cache": (self._policy.cache, self._look_up),
            "deadline": (self._policy.timeout, self._in_time),
            "batch": (self._policy.batch, self._go_together),
            "retry": (self._policy.retry, self._try_again),
            "hedging": (self._policy.hedging, self._hedge),
            "throttling": (self._policy.throttling, self._throttle),
            "circuit_breaker": (self._policy.circuit_breaker, self._break),
            "rate_limit": (self._policy.rate_limit, self._pace),
            "adaptive_concurrency": (self._policy.adaptive_concurrency, self._adapt),
            "concurrency_limit": (self._policy.concurrency_limit, self._hold_place),
        }
        stack = [layers[name][1] for name in self._policy.layers if layers[name][0] is not None]
        self._stack: list[_Layer] = [*stack, self._attempt]

    def forget(self) -> None:
        """The process was started anew, with no call in flight: it has learned nothing yet."""
        tasks, policy, now_s = self._tasks, self._policy, self._tasks.now_s()
        self._past = self.changes()
        self.close()
        self._balance_anew()
        endpoints = self._edge.target.endpoints
        if policy.health_check is not None:
            key = child(self._process_key, _HEALTH)
            self._active = ActiveHealth(tasks, self._edge, policy.health_check, key, self._view.known)
        self._choice = Choice(policy, self._balancer, len(endpoints), self._process_key, now_s, self._active)
        breaker = policy.circuit_breaker
        self._gate = None
        if breaker is not None and breaker.scope == "per_client_process":
            self._gate = breaker_gate(breaker, self._process_key, now_s)
        self._budget: BudgetGate | None = None if policy.retry.budget is None else budget_gate(policy.retry.budget)
        self._hedges: HedgeGate | None = None
        if policy.hedging is not None:
            self._hedges = HedgeGate(policy.hedging, _INF if policy.per_try_timeout is None else policy.per_try_timeout)
        self._throttled: ThrottleGate | None = None if policy.throttling is None else throttle_gate(policy.throttling)
        self._rate: RateGate | None = None if policy.rate_limit is None else rate_gate(policy.rate_limit, now_s)
        self._adaptive: AdaptiveGate | None = None
        if policy.adaptive_concurrency is not None:
            self._adaptive = adaptive_gate(policy.adaptive_concurrency, now_s, uniform(self._process_key))
        self._shelf = None if policy.cache is None else Shelf(tasks, policy.cache)
        self._collector = None if policy.batch is None else Collector(tasks, policy.batch)
        limit = policy.concurrency_limit
        self._places = None if limit is None else Pool(tasks, limit.max_concurrent, _number(limit.max_queue))
        self._calls = 0  # in flight, for adaptive concurrency

    def close(self) -> None:
        """The process ends, and with it what it does in the background."""
        for task in self._loose:
            task.kill()
        self._loose.clear()
        if self._active is not None:
            self._active.close()
        if self._shelf is not None:
            self._shelf.close()

    def call(self, context: Context, key: cython.ulonglong) -> Steps:
        """Steps of one logical call through all layers; they return the outcome."""
        return self._set_out(self._journey(context, key))

    def stand_in(self, context: Context, key: cython.ulonglong) -> Steps:
        """The same as somebody's fallback, which has no fallback of its own."""
        journey = self._journey(context, key)
        journey.stands_in = True
        return self._set_out(journey)

    def _set_out(self, journey: Journey) -> Steps:
        """All layers; or none, and nobody learns from it, if nobody waits any more for what led here."""
        return self._on(journey, 0) if journey.due_s > self._tasks.now_s() else _too_late()

    def _journey(self, context: Context, key: cython.ulonglong) -> Journey:
        return Journey(context, key, context.due_s if self._edge.propagate_deadline else _INF)

    def _on(self, journey: Journey, place: cython.long) -> Steps:
        """Steps of the layer at a place of the stack; the last one is an attempt."""
        return self._stack[place](journey, place + 1)

    def _fall_back(self, journey: Journey, place: cython.long) -> Steps:
        """A value, or another call, in the place of a failed answer: the outcome is `degraded`."""
        outcome: cython.int = yield from self._on(journey, place)
        fallback = self._policy.fallback
        assert fallback is not None
        if outcome in GOOD or journey.stands_in or OUTCOMES[outcome] not in fallback.on:
            return outcome
        if self._edge.fallback is not None:
            other, key = self._callers(self._edge.fallback), child(journey.key, _FALLBACK)
            ask = other.stand_in if isinstance(other, GuardedCaller) else other.call
            outcome = yield from ask(journey.context, key)
            return DEGRADED if outcome in GOOD else outcome
        return DEGRADED

    def _look_up(self, journey: Journey, place: cython.long) -> Steps:
        """An answer from this process's cache, or from the target."""

        def fetch(context: Context) -> Steps:
            return self._ask(journey, context, place, False)

        def validate(context: Context) -> Steps:
            return self._ask(journey, context, place, True)

        shelf = self._shelf
        assert shelf is not None
        return shelf.get(journey.context, journey.key, journey.due_s, fetch, validate)

    def _ask(self, journey: Journey, context: Context, place: cython.long, unchanged: bool) -> Steps:
        """Ask the target, for an answer or whether the one that is held has changed; in a thread beside, or in the call's own."""
        own = journey if context is journey.context else journey.branch(context)
        own.unchanged = unchanged
        return self._on(own, place)

    def _in_time(self, journey: Journey, place: cython.long) -> Steps:
        """What is inside ends within the call's timeout; whoever waits in there looks at `due_s`."""
        outer_s = journey.due_s
        journey.due_s = own_s = min(outer_s, self._tasks.now_s() + self._edge.timeout_s)
        outcome: cython.int = yield from self._on(journey, place)
        if own_s < outer_s:
            journey.cut_off = False  # outside there is time left, for another try
        journey.due_s = outer_s
        return outcome

    def _go_together(self, journey: Journey, place: cython.long) -> Steps:
        """Gather with other calls, and go on as one with them."""
        collector = self._collector
        assert collector is not None
        return collector.join(journey, lambda whole: self._on(whole, place))

    def _try_again(self, journey: Journey, place: cython.long) -> Steps:
        """Tries with pauses between them, within the budget."""
        tasks = self._tasks
        began_s = tasks.now_s()
        account = None if self._budget is None else self._budget.begin(began_s)
        outcome: cython.int = IN_FLIGHT
        journey.account = account
        tries = 0
        try:
            while True:
                tries += 1
                journey.refused_here = journey.told = False
                journey.retry_after_s = -1.0
                outcome = IN_FLIGHT
                outcome = yield from self._on(journey, place)
                if outcome in GOOD or not self._may_try_again(journey, account, tries, outcome):
                    return outcome
                if tries % _STUCK_AFTER == 0:
                    if tasks.now_s() <= began_s:
                        self._stuck(tries)
                    began_s = tasks.now_s()  # the first tries may have taken time, and those after them none
                pause_s = self._pause_before(journey, tries, outcome)
                left_s = journey.due_s - tasks.now_s()
                if pause_s >= left_s:
                    # The pause is cut off by the deadline, as in gRPC: no try can follow.
                    if left_s > 0:
                        yield from self._pause(journey, left_s)
                    outcome = TIMEOUT
                    return outcome
                if pause_s > 0:
                    yield from self._pause(journey, pause_s)
                if account is not None:
                    account.sent(tasks.now_s())
        finally:
            if account is not None:
                account.end(tasks.now_s(), OUTCOMES[outcome])

    def _may_try_again(self, journey: Journey, account: Account | None, tries: int, outcome: cython.int) -> bool:
        """Whether a failure is one that is tried again, if there is time, and within the budget."""
        retry, now_s = self._policy.retry, self._tasks.now_s()
        word, late = _word(journey, outcome), now_s >= journey.due_s
        if (outcome == TIMEOUT and (late or journey.cut_off)) or word not in retry.on:
            return False
        if account is not None and not journey.told:
            account.failed(now_s, word)
        return retry.again(tries, word) and (late or account is None or account.may_retry(now_s, word))

    def _pause_before(self, journey: Journey, tries: int, outcome: cython.int) -> float:
        """The pause before the next try, in seconds."""
        backoff = self._policy.retry.backoff_after(OUTCOMES[outcome])
        u, previous_u = (uniform(child(child(journey.key, number), _PAUSE)) for number in (tries, tries - 1))
        asked_s = journey.retry_after_s if journey.retry_after_s >= 0 else None
        journey.pause_s = backoff.pause_s(journey.pauses, journey.pause_s, u, asked_s, previous_u)
        journey.pauses = backoff.next_retry(journey.pauses, asked_s)
        return journey.pause_s

    def _pause(self, journey: Journey, pause_s: float) -> Steps:
        yield pause_s
        journey.context.backoff_s += pause_s

    def _hedge(self, journey: Journey, place: cython.long) -> Steps:
        """Several attempts at the same time; the first good one counts."""
        gate = self._hedges
        assert gate is not None
        return Race(self._tasks, gate, journey, lambda branch: self._on(branch, place), self._loose).run()

    def _throttle(self, journey: Journey, place: cython.long) -> Steps:
        """Refuse a share of the calls while the target refuses many."""
        gate = self._throttled
        assert gate is not None
        u = uniform(child(child(journey.key, journey.next_look()), _THROTTLE))
        if not gate.allows(self._tasks.now_s(), u):
            journey.refused_here = True
            return REJECTED
        outcome: cython.int = yield from self._on(journey, place)
        gate.settle(self._tasks.now_s(), _word(journey, outcome))
        return outcome

    def _break(self, journey: Journey, place: cython.long) -> Steps:
        """Refuse while the circuit breaker is open; tell it how the others went."""
        gate = self._gate
        if gate is None:  # one for each endpoint: asked when one is chosen
            return (yield from self._on(journey, place))
        began_s = self._tasks.now_s()
        permit = gate.permit(began_s)
        if permit == REFUSED:
            return SHORT_CIRCUITED
        outcome: cython.int = IN_FLIGHT
        try:
            outcome = yield from self._on(journey, place)
            return outcome
        finally:
            now_s = self._tasks.now_s()
            gate.finish(permit, outcome, now_s, now_s - began_s)

    def _pace(self, journey: Journey, place: cython.long) -> Steps:
        """Wait for the rate limiter's leave, or be refused."""
        gate = self._rate
        assert gate is not None
        now_s = self._tasks.now_s()
        wait_s = gate.ask(now_s)
        refused = wait_s < 0
        if refused:
            journey.refused_here = True
            wait_s = gate.refusal_s
        if wait_s > 0:
            allowed_s = max(0.0, min(wait_s, journey.due_s - now_s))
            yield allowed_s
            journey.context.queue_s += allowed_s
            if allowed_s < wait_s:
                return TIMEOUT
        if refused:
            return REJECTED
        return (yield from self._on(journey, place))

    def _adapt(self, journey: Journey, place: cython.long) -> Steps:
        """Refuse what is beyond a limit that follows the latency."""
        gate, tasks = self._adaptive, self._tasks
        assert gate is not None
        began_s = tasks.now_s()
        if self._calls >= gate.limit(began_s):
            journey.refused_here = True
            return REJECTED
        self._calls += 1
        calls, outcome = self._calls, IN_FLIGHT
        try:
            outcome = yield from self._on(journey, place)
            return outcome
        finally:
            self._calls -= 1
            if outcome != IN_FLIGHT:
                now_s, u = tasks.now_s(), uniform(child(child(journey.key, journey.numbers[0]), _ADAPT))
                gate.sample(now_s, now_s - began_s, calls, outcome in (TIMEOUT, REJECTED), u)

    def _hold_place(self, journey: Journey, place: cython.long) -> Steps:
        """Hold one of the places for calls in flight; wait for one in line, if there is a line."""
        places, tasks, limit = self._places, self._tasks, self._policy.concurrency_limit
        assert places is not None
        assert limit is not None
        ticket = None
        if not places.take():
            ticket = places.line_up()
            if ticket is None:
                journey.refused_here = True
                return REJECTED
        try:
            if ticket is not None:
                began_s = tasks.now_s()
                limit_s = max(0.0, min(_INF if limit.max_wait is None else limit.max_wait, journey.due_s - began_s))
                if limit_s < _INF:
                    ticket.expire_after(limit_s)
                yield ticket
                journey.context.queue_s += tasks.now_s() - began_s
                if not ticket.granted:
                    journey.refused_here = True
                    return TIMEOUT if tasks.now_s() >= journey.due_s else REJECTED
            return (yield from self._on(journey, place))
        finally:
            if ticket is None or ticket.granted:
                places.free()
            else:
                places.leave(ticket)

    def _attempt(self, journey: Journey, place: cython.long) -> Steps:
        """Choose an endpoint, send a visit, wait for its answer: one row."""
        if journey.due_s <= self._tasks.now_s():
            return TIMEOUT  # nobody waits any more for what led here
        visit = self._dispatch(journey)
        if visit.chosen < 0:
            return visit.outcome
        outcome: cython.int = IN_FLIGHT
        try:
            answer = visit.value if visit.settled else (yield visit)
            if answer is TIMED_OUT:
                outcome = TIMEOUT
            else:
                outcome = answer
                journey.cut_off = False  # not even where a proxy answers that its own call timed out
            return outcome
        finally:
            # Also when this caller itself is killed, or a faster attempt has won: then nobody waits for this one.
            self._conclude(journey, visit, outcome)

    def _dispatch(self, journey: Journey) -> Visit:
        """Choose an endpoint and let a visit begin its way; nothing is `chosen` if there is none to send it to."""
        choice, now_s = self._choice, self._tasks.now_s()
        assert choice is not None
        visit = self._new_attempt(journey, now_s)
        known = self._known(now_s)
        if self._learns and known:
            known = self._balancer.look(now_s, journey.key, known)
        chosen = choice.choose(known, self._in_flight, journey.tried, child(visit.key, _PICK), now_s)
        if chosen == ALL_REFUSE:
            visit.outcome = SHORT_CIRCUITED
            return visit
        self._number_attempt(journey, visit)
        if chosen == NONE_ALIVE:
            visit.outcome = UNREACHABLE
            self._record(journey, visit, UNREACHABLE)
            return visit
        self._let_go(journey, visit, chosen, now_s)
        return visit

    def _new_attempt(self, journey: Journey, began_s: float) -> Visit:
        """A visit that is not sent yet, nor counted."""
        number = journey.next_number()
        visit = new_visit(journey.context, self._edge)
        visit.sent_s = began_s
        visit.key = child(journey.key, number)
        visit.call_key = journey.key
        visit.number = number
        visit.unchanged = journey.unchanged
        if journey.batch is not None:
            visit.batch = journey.batch.attempt(visit.key)
        if self._edge.propagate_deadline:
            visit.due_s = journey.due_s
        return visit

    def _number_attempt(self, journey: Journey, visit: Visit) -> None:
        context = journey.context
        visit.attempt = self._recorder.next_attempt(context.request, context.entry, context.arrived_s)

    def _let_go(self, journey: Journey, visit: Visit, chosen: cython.long, now_s: float) -> None:
        """Let a visit begin its way to an endpoint."""
        edge, choice = self._edge, self._choice
        assert choice is not None
        visit.chosen = chosen
        visit.permit = choice.permit(chosen, now_s)
        if journey.tie is not None:
            visit.tie = journey.tie
            journey.tie.add(visit)
        if self._policy.retry.avoid_previous_endpoints:
            journey.tried.append(chosen)
        if self._counts:
            self._in_flight[chosen] += 1
        if self._learns:
            self._tell_sent(visit, now_s)
        # The first attempt has the whole timeout, and not what is left of it after rounding.
        whole = visit.number == 1 and now_s + edge.timeout_s == journey.due_s
        left_s = edge.timeout_s if whole else journey.due_s - now_s
        journey.cut_off = left_s <= edge.per_try_s
        visit.leave(left_s)

    def _conclude(self, journey: Journey, visit: Visit, outcome: cython.int) -> None:
        """Account for an attempt that is over."""
        if self._counts:
            self._in_flight[visit.chosen] -= 1
        context, now_s = journey.context, self._tasks.now_s()
        if self._learns:
            self._balancer.settled(visit.chosen, now_s, now_s - visit.sent_s, outcome, visit.report)
        visit.watched_no_more()
        if outcome == TIMEOUT or outcome == UNREACHABLE:
            context.lost_s += now_s - visit.sent_s
        elif outcome != IN_FLIGHT:
            context.add(visit)
            journey.retry_after_s = visit.retry_after_s
            if visit.batch is not None:
                visit.batch.answered(outcome)
        if outcome == TIMEOUT or outcome == IN_FLIGHT:
            visit.abandon()
        assert self._choice is not None
        self._choice.settle(visit.chosen, visit.permit, outcome, now_s, visit.sent_s)
        self._record(journey, visit, outcome)

    def _record(self, journey: Journey, visit: Visit, outcome: cython.int) -> None:
        edge = self._edge
        self._recorder.attempt(visit, journey.context.attempt, edge.caller_code, edge.target_code, visit.number, outcome)
        if edge.zone is not None:
            edge.zone.count(visit.chosen, visit.sent_s, outcome)

    def changes(self) -> list[tuple[float, int, str]]:
        """When a breaker or an ejection changed its state: clock time, endpoint (-1: all), new state; of each in its order."""
        if self._choice is None:
            return self._past  # not born yet
        now_s, found = self._tasks.now_s(), []
        if self._gate is not None:
            self._gate.state(now_s)
            found = [(time_s, -1, STATES[state]) for time_s, state in self._gate.changes]
        return self._past + found + self._choice.changes(now_s)

    def flush(self) -> None:
        """Empty the cache of answers."""
        if self._shelf is not None:
            self._shelf.flush()
