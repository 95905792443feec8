"""Lean tasks beside SimPy processes: the same generator style on the same clock, with fewer events and objects.

A task is a generator that yields what it waits for::

    def component(tasks):
        yield 0.010                    # a float: sleep that many seconds
        answer = yield reply           # a Reply: wait until somebody settles it
        answer = yield from reply.within(0.2)   # the same, at most 0.2 s: TIMED_OUT instead
        yield env.process(...)         # any SimPy event: wait for it, get its value

A task starts in place (it runs to its first yield inside `Tasks.start`), sleeps without an event object (the task itself is
the entry
in SimPy's heap), and wakes others directly, in first-come order, without a trip through the heap. Simultaneous
wake-ups never nest: they go through one queue, so the depth of the Python stack does not grow with the work.

Use an ordinary SimPy process for what you add yourself, unless it runs once per request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, cast

import simpy

from sim.errors import ScenarioError

#: What a component's generator function returns: it yields waits, is sent answers, and returns R.
Steps = Generator[Any, Any, Any]


class _TimedOut:
    def __repr__(self) -> str:
        return "TIMED_OUT"


#: The answer of a wait whose time ran out.
TIMED_OUT: Final = _TimedOut()


class _Failure:
    """An exception on its way into a task."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class Task:
    """A running generator; `alive` until it returns or is killed."""

    # These four are what SimPy's event loop reads of a heap entry: a sleeping task is its own event.
    __slots__ = ("_generator", "_tasks", "alive", "callbacks")
    _ok = True
    _defused = True

    def __init__(self, tasks: Tasks, generator: Steps) -> None:
        self._tasks = tasks
        self._generator = generator
        self.alive = True
        self.callbacks: tuple[Callable[[Any], None], ...] | None = None

    def kill(self) -> None:
        """End the task where it stands: its `finally` blocks run now, nothing else of it ever will. Twice is harmless."""
        if self.alive:
            self.alive = False
            self._generator.close()

    def __repr__(self) -> str:
        return f"<Task {getattr(self._generator, '__qualname__', '?')} {'alive' if self.alive else 'ended'}>"


def _woken(task: Task) -> None:
    task._tasks.wake(task, None)


def _expired(timer: _Timer) -> None:
    timer.reply.settle(TIMED_OUT)


_MOST_AT_ONCE: Final = 5_000_000
_WOKEN: Final = (_woken,)
_EXPIRED: Final = (_expired,)


class _Timer:
    """A bare heap entry that settles a reply with TIMED_OUT; nothing happens if the answer was faster."""

    __slots__ = ("callbacks", "reply")
    _ok = True
    _defused = True

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.callbacks: tuple[Callable[[Any], None], ...] | None = _EXPIRED


class Reply:
    """A one-shot answer: settled once, waited for by at most one task. Later settlements say nothing."""

    __slots__ = ("_tasks", "settled", "value", "waiter")

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self.settled = False
        self.value: Any = None
        self.waiter: Task | None = None

    def settle(self, value: Any) -> None:
        """Give the answer, unless there is one already."""
        if self.settled:
            return
        self.settled = True
        self.value = value
        if self.waiter is not None:
            self._tasks.wake(self.waiter, value)

    def within(self, limit_s: float) -> Steps:
        """Wait at most `limit_s` seconds: the answer, or TIMED_OUT (the reply then takes no other answer)."""
        if not self.settled:
            self._tasks.env.schedule(_Timer(self), delay=limit_s)  # type: ignore[arg-type]
        return (yield self)


class Tasks:
    """Starts and wakes tasks on one SimPy environment."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.current: Task | None = None  # the task whose generator runs right now
        self._ready: deque[tuple[Task, Any]] = deque()
        self._running = False
        self._closed = False

    def start(self, generator: Steps) -> Task:
        """Begin a task in place: it runs to its first wait before this returns."""
        task = Task(self, generator)
        if self._running:
            self._advance(task, None)
        else:
            self.wake(task, None)
        return task

    def wake(self, task: Task, value: Any) -> None:
        """Continue a task with the answer it waits for, after all that were woken before it."""
        self._ready.append((task, value))
        if self._running or self._closed:
            return
        self._running = True
        try:
            ready = self._ready
            left = _MOST_AT_ONCE
            while ready:
                task, value = ready.popleft()
                left -= 1
                if not left:
                    raise ScenarioError(
                        f"the clock stands still at {self.env.now:g} s: {_MOST_AT_ONCE:,} things happened at one instant "
                        "and more are due; "
                        "somewhere a circle takes no time: give its work or its links a duration"
                    )
                if task.alive:
                    self._advance(task, value)
        finally:
            self._running = False

    def close(self) -> None:
        """The run is over: nothing wakes any more, so that ending the remaining generators moves nobody."""
        self._closed = True

    def _advance(self, task: Task, value: Any) -> None:
        generator = task._generator
        outer, self.current = self.current, task
        try:
            self._run_to_wait(task, generator, value)
        finally:
            self.current = outer

    def _run_to_wait(self, task: Task, generator: Steps, value: Any) -> None:
        while True:
            try:
                wait = generator.throw(value.exception) if type(value) is _Failure else generator.send(value)
            except StopIteration:
                task.alive = False
                return
            except BaseException:
                task.alive = False
                raise
            if type(wait) is float:
                task.callbacks = _WOKEN
                self.env.schedule(task, delay=wait)  # type: ignore[arg-type]
                return
            if isinstance(wait, Reply):
                if not wait.settled:
                    wait.waiter = task
                    return
                value = wait.value
            elif isinstance(wait, simpy.Event):
                if wait.callbacks is not None:
                    wait.callbacks.append(lambda event: self._event_came(task, event))
                    return
                value = wait.value if wait.ok else _Failure(cast(BaseException, wait.value))
            else:
                value = _Failure(TypeError(f"a task yielded {wait!r}; yield a float (seconds), a Reply or a SimPy event"))

    def _event_came(self, task: Task, event: simpy.Event) -> None:
        if event.ok:
            self.wake(task, event.value)
        elif task.alive:
            event.defused = True
            self.wake(task, _Failure(cast(BaseException, event.value)))


class Ticket(Reply):
    """A place at a pool of workers: `granted` at once or later; give it back with `Pool.release`, whatever happened."""

    __slots__ = ("granted",)

    def __init__(self, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.granted = False


class Pool:
    """Workers and the FIFO line in front of them; a freed worker goes straight to the first in line.

    Args:
        workers: how many; `float("inf")` for no limit.
        capacity: longest line; `float("inf")` for no limit.

    `busy` workers and `waiting` tickets are the state; `busy_worker_s` is the exact integral of `busy` over time.
    """

    __slots__ = ("_area_s", "_line", "_since_s", "_tasks", "busy", "capacity", "waiting", "workers")

    def __init__(self, tasks: Tasks, workers: float, capacity: float) -> None:
        self._tasks = tasks
        self.workers = workers
        self.capacity = capacity
        self.busy = 0
        self.waiting = 0
        self._line: deque[Ticket] = deque()
        self._area_s = 0.0
        self._since_s = tasks.env.now

    @property
    def busy_worker_s(self) -> float:
        """Integral of busy workers from the start until now, in worker-seconds."""
        return self._area_s + self.busy * (self._tasks.env.now - self._since_s)

    def ask(self) -> Ticket | None:
        """A ticket, granted if a worker is free, else at the end of the line; None if the line is full."""
        if self.busy < self.workers:
            ticket = Ticket(self._tasks)
            ticket.granted = True
            self._change(+1)
            return ticket
        if self.waiting >= self.capacity:
            return None
        ticket = Ticket(self._tasks)
        self.waiting += 1
        self._line.append(ticket)
        return ticket

    def release(self, ticket: Ticket) -> None:
        """Give the worker back to the first in line, or leave the line."""
        if not ticket.granted:
            # Left behind in the line; it is skipped when its turn comes.
            ticket.settled = True
            self.waiting -= 1
            return
        while self._line:
            following = self._line.popleft()
            if not following.settled:
                self.waiting -= 1
                following.granted = True
                following.settle(True)
                return
        self._change(-1)

    def _change(self, workers: int) -> None:
        now_s = self._tasks.env.now
        self._area_s += self.busy * (now_s - self._since_s)
        self._since_s = now_s
        self.busy += workers

    def __repr__(self) -> str:
        return f"<Pool {self.busy} of {self.workers:g} busy, {self.waiting} waiting>"
