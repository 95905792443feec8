# cython: nonecheck=False
# What may be None is asked for here by hand; asked for each look at the clock, that would be 2 % of a run.
"""Lean tasks beside SimPy processes: the same generator style on the same clock, with fewer events and objects.

A task is a generator that yields what it waits for::

    def component(tasks):
        yield 0.010                    # a float: sleep that many seconds
        answer = yield reply           # a Reply: wait until somebody settles it
        answer = yield from reply.within(0.2)   # the same, at most 0.2 s: TIMED_OUT instead
        yield env.process(...)         # any SimPy event: wait for it, get its value

A task starts in place (it runs to its first yield inside `Tasks.start`), sleeps without an event object (the task itself is the
entry in the event loop's heap), and wakes others directly, in first-come order, without a trip through the heap. Simultaneous
wake-ups never nest: they go through one queue, so the depth of the Python stack does not grow with the work.

Whatever can be woken is a `Waiter`. A task is one that continues a generator; what runs several times per request, a call and a
visit, is one that knows its own stages, and needs no generator: a few C calls where the package was compiled.

Use an ordinary SimPy process for what you add yourself, unless it runs once per request.
"""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from sim.errors import ScenarioError
from sim.kernel.clock import kernel_of
from sim.kernel.entry import Entry
from sim.kernel.resume import ENDED, resume

if TYPE_CHECKING:
    import cython
    import simpy

#: What a component's generator function returns: it yields waits, is sent answers, and returns its result.
Steps = Generator[Any, Any, Any]


class _TimedOut:
    def __repr__(self) -> str:
        return "TIMED_OUT"


#: The answer of a wait whose time ran out.
TIMED_OUT: Final = _TimedOut()

_ENDED: Final = ENDED
_NO_EVENT: Final = object()
_MOST_AT_ONCE: Final = 5_000_000


class _Failure:
    """An exception on its way into a task."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class Waiter(Entry):
    """What can wait for something: when that has come, it goes on in `advance`; never again once it is not `alive`."""

    __slots__ = ("_following", "_value", "alive")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """What `__init__` does, as a C call."""
        self.callbacks = None
        self._following: Waiter | None = None  # in the queue of those that are woken
        self._value: Any = None  # what it is woken with
        self.alive = True

    def advance(self, value: Any) -> None:
        """Go on with what was waited for, up to the next wait. Only for `Tasks`, and for what runs inside of it."""
        raise NotImplementedError

    def kill(self) -> None:
        """End where it stands: what it holds is given back now, nothing else of it will happen. Twice is harmless."""
        raise NotImplementedError


class Task(Waiter):
    """A running generator; `alive` until it returns or is killed."""

    __slots__ = ("_generator", "_tasks")

    def __init__(self, tasks: Tasks, generator: Steps) -> None:
        self.begin(tasks, generator)

    def begin(self, tasks: Tasks, generator: Steps) -> None:
        """What `__init__` does, as a C call."""
        self.clear()
        self._tasks = tasks
        self._generator = generator

    def fire(self) -> None:
        """The sleep is over."""
        self._tasks.wake(self, None)

    def advance(self, value: Any) -> None:
        """Run to the next wait that is not over yet."""
        tasks = self._tasks
        try:
            while True:
                failed = type(value) is _Failure
                wait = _throw(self._generator, value.exception) if failed else resume(self._generator, value)
                if type(wait) is float:
                    tasks.schedule(self, tasks.now_s() + wait)
                    return
                if isinstance(wait, Reply):
                    reply: Reply = wait
                    if not reply.settled:
                        reply.waiter = self
                        return
                    value = reply.value
                elif wait is _ENDED:
                    self.alive = False
                    return
                else:
                    waits, value = self._wait_for_event(wait)
                    if waits:
                        return
        except BaseException:
            self.alive = False
            raise

    def _wait_for_event(self, event: Any) -> tuple[bool, Any]:
        """Whether the task now waits for a SimPy event; if the event is over: its value, or its failure."""
        # An entry has callbacks for SimPy's loop only; nobody can wait for one, not for another task either.
        callbacks: Any = _NO_EVENT if isinstance(event, Entry) else getattr(event, "callbacks", _NO_EVENT)
        if callbacks is _NO_EVENT:
            return False, _Failure(TypeError(f"a task yielded {event!r}; yield a float (seconds), a Reply or a SimPy event"))
        if callbacks is not None:
            callbacks.append(self._event_came)
            return True, None
        return False, event.value if event.ok else _Failure(event.value)

    def _event_came(self, event: Any) -> None:
        if event.ok:
            self._tasks.wake(self, event.value)
        elif self.alive:
            event.defused = True
            self._tasks.wake(self, _Failure(event.value))

    def kill(self) -> None:
        """End the task where it stands: its `finally` blocks run now, nothing else of it ever will. Twice is harmless."""
        if self.alive:
            self.alive = False
            self._generator.close()

    def __repr__(self) -> str:
        return f"<Task {getattr(self._generator, '__qualname__', '?')} {'alive' if self.alive else 'ended'}>"


class Reply(Waiter):
    """A one-shot answer: settled once, waited for by at most one waiter. Later settlements say nothing.

    (A plain reply waits for nothing itself. But a call waits for its attempts and is waited for, and C knows only one line of
    ancestors.)
    """

    __slots__ = ("_ahead", "_behind", "_limit", "_tasks", "expires_s", "settled", "value", "waiter")

    def __init__(self, tasks: Tasks) -> None:
        self.open(tasks)

    def open(self, tasks: Tasks) -> None:
        """What `__init__` does, as a C call."""
        self.clear()
        self._tasks = tasks
        self.ask()
        self.expires_s = 0.0  # when a limit or a timer ends the wait; 0 if nothing does
        self._limit: Limit | None = None  # the limit that watches it
        self._ahead: Reply | None = None  # its neighbours in the one line in which it stands
        self._behind: Reply | None = None

    def ask(self) -> None:
        """Have no answer yet."""
        self.settled = False
        self.value: Any = None
        self.waiter: Waiter | None = None

    def settle(self, value: Any) -> None:
        """Give the answer, unless there is one already."""
        if self.settled:
            return
        self.settled = True
        self.value = value
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            self._tasks.wake(waiter, value)

    def settle_in_place(self, value: Any) -> None:
        """The same, but the waiter goes on at once: only from inside of an `advance`, as the last thing it does."""
        if self.settled:
            return
        self.settled = True
        self.value = value
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if waiter.alive:
                waiter.advance(value)

    def expire_after(self, limit_s: float) -> None:
        """Settle with TIMED_OUT in `limit_s` seconds, unless the answer is faster. For one length again and again: `Limit`."""
        if not self.settled:
            self.expires_s = self._tasks.now_s() + limit_s
            self._tasks.schedule(_Timer(self), self.expires_s)

    def watched_no_more(self) -> None:
        """It was answered: its limit may forget it."""
        limit = self._limit
        if limit is not None:
            limit.forget(self)

    def within(self, limit_s: float) -> Steps:
        """Wait at most `limit_s` seconds: the answer, or TIMED_OUT (the reply then takes no other answer)."""
        self.expire_after(limit_s)
        return (yield self)


class _Timer(Entry):
    """A bare heap entry that settles a reply with TIMED_OUT; nothing happens if the answer was faster."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self.callbacks = None
        self._reply = reply

    def fire(self) -> None:
        self._reply.settle(TIMED_OUT)


class Line:
    """Replies in a row, first come first served; a reply stands in one line only."""

    __slots__ = ("_last", "first")

    def __init__(self) -> None:
        self.first: Reply | None = None
        self._last: Reply | None = None

    def append(self, reply: Reply) -> None:
        """Stand at the end."""
        last = self._last
        if last is None:
            self.first = reply
        else:
            last._behind = reply
            reply._ahead = last
        self._last = reply

    def remove(self, reply: Reply) -> None:
        """Take one out, wherever it stands."""
        ahead, behind = reply._ahead, reply._behind
        reply._ahead = reply._behind = None
        if ahead is None:
            self.first = behind
        else:
            ahead._behind = behind
        if behind is None:
            self._last = ahead
        else:
            behind._ahead = ahead

    def pop(self) -> Reply:
        """Take the first, which must exist."""
        first = self.first
        assert first is not None
        self.remove(first)
        return first


class Limit(Entry):
    """Waits of one length: they run out in the order in which they began, so one heap entry is enough for all of them."""

    __slots__ = ("_armed", "_line", "_tasks", "limit_s")

    def __init__(self, tasks: Tasks, limit_s: float) -> None:
        self.callbacks = None
        self._tasks = tasks
        self.limit_s = limit_s
        self._line = Line()
        self._armed = False

    def watch(self, reply: Reply) -> None:
        """Settle the reply with TIMED_OUT in `limit_s` seconds, unless the answer is faster."""
        reply.expires_s = self._tasks.now_s() + self.limit_s
        reply._limit = self
        self._line.append(reply)
        if not self._armed:
            self._armed = True
            self._tasks.schedule(self, reply.expires_s)

    def forget(self, reply: Reply) -> None:
        """Watch a reply no longer."""
        reply.expires_s = 0.0
        reply._limit = None
        self._line.remove(reply)

    def fire(self) -> None:
        """Let the waits run out whose time has come; wake again for the next one."""
        line, now_s = self._line, self._tasks.now_s()
        while line.first is not None:
            first: Reply = line.first
            if first.expires_s > now_s:
                self._tasks.schedule(self, first.expires_s)
                return
            self.forget(first)
            first.settle(TIMED_OUT)
        self._armed = False


def _fire(entry: Entry) -> None:
    entry.callbacks = _CALLED  # SimPy took them away; but the entry may stand in its heap once more
    entry.fire()


#: How SimPy's own loop calls an entry.
_CALLED: Final = (_fire,)
_NORMAL: Final = 1


class Tasks:
    """Starts and wakes tasks, and other waiters, on one environment: SimPy's, or that of the compiled kernel."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self._kernel = kernel_of(env)
        self._first: Waiter | None = None  # the queue of those that are woken
        self._last: Waiter | None = None
        self._running = False
        self._closed = False

    def now_s(self) -> float:
        """Clock time, in seconds."""
        now_s: float = self._kernel.now_s if self._kernel is not None else self.env.now
        return now_s

    def schedule(self, entry: Entry, at_s: float) -> None:
        """Let an entry fire at a clock time, in seconds, after all that were scheduled for the same time before it."""
        if self._kernel is not None:
            self._kernel.push(at_s, entry)
        else:
            env: Any = self.env
            entry.callbacks = _CALLED
            # As `env.schedule` does; but that takes a delay, and now + (at - now) need not be `at`.
            heappush(env._queue, (at_s, _NORMAL, next(env._eid), entry))

    def start(self, generator: Steps) -> Task:
        """Begin a task in place: it runs to its first wait before this returns."""
        # Not `Task(self, generator)`: called like this, a compiled class makes its object without packing arguments.
        task = Task.__new__(Task)
        task.begin(self, generator)
        self.enter(task)
        return task

    def enter(self, waiter: Waiter) -> None:
        """Let a new waiter go on to its first wait, in place."""
        if self._running:
            waiter.advance(None)
        else:
            self.wake(waiter, None)

    def wake(self, waiter: Waiter, value: Any) -> None:
        """Continue a waiter with what it waits for, after all that were woken before it."""
        if self._closed:
            return
        if not self._running:
            self._run(waiter, value)
            return
        waiter._value = value
        if self._first is None:
            self._first = waiter
        else:
            assert self._last is not None
            self._last._following = waiter
        self._last = waiter

    def _run(self, waiter: Waiter | None, value: Any) -> None:
        """Advance one, all that are woken by it, and all that they wake."""
        self._running = True
        left: cython.long = _MOST_AT_ONCE
        try:
            while waiter is not None:
                if waiter.alive:
                    waiter.advance(value)
                waiter = self._first
                if waiter is not None:
                    self._first = waiter._following
                    waiter._following = None
                    value = waiter._value
                    waiter._value = None
                    left -= 1
                    if left == 0:
                        self._stuck()
        finally:
            self._running = False

    def _stuck(self) -> None:
        raise ScenarioError(
            f"the clock stands still at {self.now_s():g} s: {_MOST_AT_ONCE:,} things happened at one instant and more are due; "
            "somewhere a circle takes no time: give its work or its links a duration"
        )

    def close(self) -> None:
        """The run is over: nothing wakes any more, so that ending the remaining generators moves nobody."""
        self._closed = True


def _throw(generator: Steps, exception: BaseException) -> Any:
    """Raise an exception inside a generator; what it yields next, or ENDED."""
    try:
        return generator.throw(exception)
    except StopIteration:
        return _ENDED


class Ticket(Reply):
    """A place in the line of a pool: once `granted`, a worker was handed over, to be given back with `Pool.free`."""

    __slots__ = ("granted",)

    def __init__(self, tasks: Tasks) -> None:
        self.open(tasks)

    def open(self, tasks: Tasks) -> None:
        """What `__init__` does, as a C call."""
        Reply.open(self, tasks)
        self.granted = False


class Tally:
    """Workers that are held and tickets that wait, over several pools."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting = 0


class Pool:
    """Workers and the FIFO line in front of them; a freed worker goes straight to the first in line.

    Args:
        workers: how many; `float("inf")` for no limit.
        capacity: longest line; `float("inf")` for no limit.
        tally: what counts for several pools together.

    `busy` workers and `waiting` tickets are the state; `busy_worker_s` is the exact integral of `busy` over time. A line of
    another kind is a subclass with its own `line_up`, `leave` and `free`, which count with `_change` and `_queue`.
    """

    __slots__ = ("_area_s", "_line", "_since_s", "_tally", "_tasks", "busy", "capacity", "waiting", "workers")

    def __init__(self, tasks: Tasks, workers: float, capacity: float, tally: Tally | None = None) -> None:
        self._tasks = tasks
        self._tally = Tally() if tally is None else tally
        self.workers = workers
        self.capacity = capacity
        self.busy = 0
        self.waiting = 0
        self._line = Line()
        self._area_s = 0.0
        self._since_s = tasks.now_s()

    @property
    def busy_worker_s(self) -> float:
        """Integral of busy workers from the start until now, in worker-seconds."""
        return self._area_s + self.busy * (self._tasks.now_s() - self._since_s)

    def take(self) -> cython.bint:
        """Take a worker if one is free."""
        if self.busy >= self.workers:
            return False
        self._change(1)
        return True

    def line_up(self, who: Waiter | None = None) -> Ticket | None:
        """A ticket at the end of the line, to be waited for; None if the line is full. `who` waits for it already, if given."""
        if self.waiting >= self.capacity:
            return None
        ticket = Ticket.__new__(Ticket)
        ticket.open(self._tasks)
        ticket.waiter = who
        self._queue(1)
        self._line.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the line; it is skipped when its turn comes."""
        ticket.settled = True
        ticket.waiter = None
        self._queue(-1)

    def free(self) -> None:
        """Give a worker back: it goes to the first in line."""
        line = self._line
        while line.first is not None:
            following: Ticket = line.pop()  # type: ignore[assignment]  # only tickets stand here
            if not following.settled:
                self._queue(-1)
                following.granted = True
                following.settle(True)
                return
        self._change(-1)

    def _change(self, workers: cython.long) -> None:
        now_s = self._tasks.now_s()
        self._area_s += self.busy * (now_s - self._since_s)
        self._since_s = now_s
        self.busy += workers
        self._tally.busy += workers

    def _queue(self, tickets: cython.long) -> None:
        self.waiting += tickets
        self._tally.waiting += tickets

    def __repr__(self) -> str:
        return f"<Pool {self.busy} of {self.workers:g} busy, {self.waiting} waiting>"
