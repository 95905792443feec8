"""Steps that publish: and wait for the acknowledgement, or do not, or leave it to an outbox, or wait for a reply."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.records import DEGRADED, ERROR, OK, TIMEOUT
from sim.runtime.messages import Stamp, mailbox_of
from sim.runtime.replies import Answer, Pending, Terms
from sim.runtime.steps import CallStep
from sim.runtime.visit import new_visit
from sim.streams import child, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.caller import Call as CallInMotion
    from sim.runtime.caller import Caller
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.stores import Store
    from sim.runtime.visit import Edge


class PublishStep(CallStep):
    """Publish to a queue or topic: a call whose message bears a stamp, or that nobody waits for."""

    __slots__ = ("_by_process", "_plain", "_stamp", "_store")

    def __init__(
        self, edge: Edge, stamp: Stamp, probability: float, step_salt: cython.ulonglong, store: Store | None = None
    ) -> None:
        CallStep.__init__(self, edge, 1, False, probability, True, step_salt)
        self._stamp = stamp
        self._store = store  # that payloads are put into first
        self._plain = stamp.confirmed and store is None  # whether it is one call and nothing else
        self._by_process = mailbox_of(edge).by_process

    def begun_call(self, replica: Replica, context: Context) -> CallInMotion | None:
        """The publish, if it is no more than that and its caller does nothing special."""
        if not self._plain:
            return None
        context.stamp = self._stamp.of(replica.index) if self._by_process else self._stamp
        return CallStep.begun_call(self, replica, context)

    def run(self, replica: Replica, context: Context) -> Steps:
        """Publish; wait for the answer, if anybody wants one."""
        return self._publish(replica, context) if self._store is None else self._put_first(replica, context, self._store)

    def _put_first(self, replica: Replica, context: Context, store: Store) -> Steps:
        """Put the payload where the consumer will find it, then publish where that is."""
        if not self._times(context):
            return OK
        payload = self._stamp.payload
        assert payload is not None
        bits = child(child(context.key, self._salt), 0)
        outcome: cython.int = yield from store.put(context, bits, payload.draw(bits))
        if outcome != OK:
            return outcome
        return (yield from self._publish(replica, context))

    def _publish(self, replica: Replica, context: Context) -> Steps:
        context.stamp = self._stamp.of(replica.index) if self._by_process else self._stamp
        if self._stamp.confirmed:
            return CallStep.run(self, replica, context)
        return self._send_off(replica, context)

    def _send_off(self, replica: Replica, context: Context) -> Steps:
        if self._times(context):
            own = context.branch()
            replica.world.goes_on(own, self._unseen(replica, own, child(child(context.key, self._salt), 0)))
        return OK
        yield  # a generator that waits for nothing

    def _unseen(self, replica: Replica, own: Context, key: cython.ulonglong) -> Steps:
        """The publish goes on by itself, and its failure is known to nobody but us."""
        edge, ledger = self._edge, replica.world.ledger
        ledger.opened(own)
        caller: Caller = replica.caller(edge)
        sent_s = replica.tasks.now_s()
        outcome: cython.int = yield from caller.call(own, key)
        if outcome != OK and outcome != DEGRADED:
            lost = new_visit(own, edge)
            lost.call_key = key
            lost.sent_s = sent_s
            mailbox_of(edge).never_came(lost)
        replica.world.beside.pop(own, None)
        ledger.closed(own)


class OutboxStep(PublishStep):
    """Leave an entry in the outbox of the service; its relay publishes it later, until the broker has confirmed it."""

    __slots__ = ("_interval_s",)

    def __init__(
        self,
        edge: Edge,
        stamp: Stamp,
        probability: float,
        step_salt: cython.ulonglong,
        interval_s: cython.double,
        store: Store | None = None,
    ) -> None:
        PublishStep.__init__(self, edge, stamp, probability, step_salt, store)
        self._interval_s = interval_s
        self._plain = False  # the publish is made by the relay

    def _publish(self, replica: Replica, context: Context) -> Steps:
        return self._write(replica, context)  # the entry, which is part of what the operation writes anyway

    def _write(self, replica: Replica, context: Context) -> Steps:
        if self._times(context):
            own = context.branch()
            replica.world.goes_on(own, self._relay(replica, own, child(child(context.key, self._salt), 0)))
        return OK
        yield  # a generator that waits for nothing

    def _relay(self, replica: Replica, own: Context, key: cython.ulonglong) -> Steps:
        """Publish an entry with each look of the relay, from a replica that is up, until somebody has confirmed it."""
        service, ledger, tasks = replica.service, replica.world.ledger, replica.tasks
        interval_s = self._interval_s
        # All entries of a service wait for the same looks.
        phase_s = interval_s * uniform(child(service.relay_key, self._salt))
        own.due_s = inf
        ledger.opened(own)
        number = 0
        while True:
            wait_s = interval_s - (tasks.now_s() - phase_s) % interval_s
            # A look that is due by rounding only is the one that has just been.
            yield wait_s if wait_s > 1e-9 * interval_s else wait_s + interval_s
            relay = service.first_alive()
            if relay is not None:
                own.stamp = self._stamp.entry(key, relay.index)
                caller: Caller = relay.caller(self._edge)
                # The first try is the publish that it would have been without an outbox.
                outcome: cython.int = yield from caller.call(own, child(key, number) if number else key)
                if outcome == OK or outcome == DEGRADED:
                    break
                number += 1
        replica.world.beside.pop(own, None)
        ledger.closed(own)


class RequestStep(PublishStep):
    """Publish a request, and wait for its reply."""

    __slots__ = ("_terms", "_timeout_s")

    def __init__(
        self, edge: Edge, stamp: Stamp, probability: float, step_salt: cython.ulonglong, terms: Terms, timeout_s: cython.double
    ) -> None:
        PublishStep.__init__(self, edge, stamp, probability, step_salt)
        self._terms = terms
        self._timeout_s = timeout_s
        self._plain = False  # there is more to wait for than the publish

    def _publish(self, replica: Replica, context: Context) -> Steps:
        return self._ask(replica, context)

    def _ask(self, replica: Replica, context: Context) -> Steps:
        if not self._times(context):
            return OK
        tasks = replica.tasks
        pending = Pending(tasks, replica, self._terms)
        stamp = self._stamp.of(replica.index) if self._by_process else self._stamp
        context.stamp = stamp.correlated(pending)
        caller: Caller = replica.caller(self._edge)
        until_s = tasks.now_s() + self._timeout_s
        if self._edge.propagate_deadline:
            until_s = min(until_s, context.due_s)
        try:
            outcome: cython.int = yield from caller.call(context, child(child(context.key, self._salt), 0))
            if outcome != OK and outcome != DEGRADED:
                return outcome
            waits_from_s = tasks.now_s()
            if not pending.settled and until_s > waits_from_s:
                yield from pending.within(until_s - waits_from_s)
            waited_s = tasks.now_s() - waits_from_s
            answer: Answer | None = pending.answer
            if answer is None:
                context.lost_s += waited_s
                return TIMEOUT
            answer.account(context, waited_s)
            return ERROR if answer.failed else OK
        finally:
            pending.given_up = True
