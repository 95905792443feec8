"""A cache in motion: what it holds, who is fetching, and who waits for somebody else's fetch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Task, Tasks
from sim.laws import sampler
from sim.policies.caching import COLLAPSE, MISS, STALE_REVALIDATE, Cache, CacheGate
from sim.records import DEGRADED, GOOD, IN_FLIGHT, OK, TIMEOUT
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.context import Context

_ITEM, _HIT_TIME, _CHANGED = (salt("cache", name) for name in ("item", "hit time", "changed"))

#: Fetches an item on behalf of a thread.
_Fetch = Callable[["Context"], Steps]


class Shelf:
    """One cache: of a caller process on an edge, or of an operation at a replica.

    ::

        look --fresh--------------------------> OK
             --stale, may be served meanwhile-> OK, and one fetch in the background
             --somebody fetches it already----> wait for that answer (`request_collapsing`)
             --else---------------------------> fetch; if that fails and a stale one may stand in: DEGRADED
    """

    __slots__ = ("_fetching", "_gate", "_hit_time", "_refreshes", "_tasks")

    def __init__(self, tasks: Tasks, spec: Cache) -> None:
        self._tasks = tasks
        self._refreshes: list[Task] = []  # in the background
        self._gate = CacheGate(spec)
        self._hit_time = sampler(spec.hit_time)
        self._fetching: dict[int, list[Reply]] = {}

    def flush(self) -> None:
        """Forget everything that is held."""
        self._gate.flush()

    def close(self) -> None:
        """The process dies, and with it what it fetches in the background."""
        for task in self._refreshes:
            task.kill()
        self._refreshes.clear()

    def get(self, context: Context, key: cython.ulonglong, due_s: float, fetch: _Fetch, validate: _Fetch | None = None) -> Steps:
        """Steps that answer from the cache or fetch; they return the outcome. `key` names the random draws of this call.

        Where what is held turns out to be still good, `validate` is done instead of `fetch`.
        """
        item = self._gate.key_of(uniform(child(key, _ITEM)))
        while True:
            found = self._gate.look(item, self._tasks.now_s())
            if found != COLLAPSE:
                break
            outcome = yield from self._wait_for(context, item, due_s)
            if outcome != IN_FLIGHT:  # else whoever fetched was killed: look again
                return outcome
        if validate is not None and self._gate.unchanged(item, self._tasks.now_s(), uniform(child(key, _CHANGED))):
            fetch = validate
        if found == MISS:
            return (yield from self._fetch(context, item, fetch))
        if found == STALE_REVALIDATE:
            self._refreshes = [task for task in self._refreshes if task.alive]
            self._refreshes.append(self._tasks.start(self._fetch(context.branch(), item, fetch)))
        hit_s = self._hit_time.draw(child(key, _HIT_TIME))
        if hit_s > 0:
            yield hit_s
            context.service_s += hit_s
            context.own_s += hit_s
        return OK

    def _wait_for(self, context: Context, item: int, due_s: float) -> Steps:
        """Wait for somebody else's answer; waiting counts as queueing."""
        tasks = self._tasks
        began_s = tasks.now_s()
        reply = Reply(tasks)
        self._fetching.setdefault(item, []).append(reply)
        if due_s < float("inf"):
            reply.expire_after(max(0.0, due_s - began_s))
        answer = yield reply
        context.queue_s += tasks.now_s() - began_s
        return TIMEOUT if answer is TIMED_OUT else answer

    def _fetch(self, context: Context, item: int, fetch: _Fetch) -> Steps:
        outcome: cython.int = IN_FLIGHT
        try:
            outcome = yield from fetch(context)
        finally:
            outcome = self._fetched(item, outcome)
        return outcome

    def _fetched(self, item: int, outcome: cython.int) -> cython.int:
        """A fetch is over, also one that was killed: keep its answer, or see whether a stale one stands in; tell who waits."""
        now_s = self._tasks.now_s()
        if outcome in GOOD:
            self._gate.store(item, now_s)
        elif outcome == IN_FLIGHT:
            self._gate.abandoned(item)
        elif self._gate.failed(item, now_s):
            outcome = DEGRADED
        for reply in self._fetching.pop(item, ()):
            reply.settle(outcome)
        return outcome
