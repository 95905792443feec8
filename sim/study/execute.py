"""Running tasks on all cores: killed workers are replaced and their tasks run again, an interrupt keeps what is finished."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from sim.errors import ScenarioError
from sim.study.tasks import Finished, Task, in_running_order, note_where

Work = Callable[[Task], Finished]
Keep = Callable[[Task, Finished], None]
#: What Python calls on a signal.
Handler = Callable[[int, Any], Any]
#: Told of a run that cannot be finished, and why.
GiveUp = Callable[[Task, str], None]
#: Who runs: so many processes (1: this one alone; None: one per core), or the workers of a Dask cluster, by its address.
Workers = int | str | None

_ROUNDS_WITHOUT_PROGRESS: Final = 3
#: Of Linux's prctl: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG: Final = 1
#: How often a worker looks whether its parent is still there.
_LOOK_EVERY_S: Final = 1.0


def core_count() -> int:
    """How many processes may run at once here, as affinity and container limits say."""
    from loky import cpu_count

    return int(cpu_count())


def places(workers: Workers) -> int:
    """How many tasks can run at once.

    Raises:
        ScenarioError: it is a cluster that cannot be used.
    """
    if isinstance(workers, str):
        from sim.study.cluster import places_on

        return places_on(workers)
    return workers or core_count()


def shares_files(workers: Workers) -> bool:
    """Whether workers see the same files as this process: those of a cluster may not."""
    return not isinstance(workers, str)


def run_tasks(tasks: Sequence[Task], work: Work, keep: Keep, workers: Workers = None, give_up: GiveUp | None = None) -> bool:
    """Run every task once and hand each result to `keep`, in this process, as it comes.

    Args:
        tasks: what to do; long ones are started first.
        work: runs one task. Functions of a notebook or script work too; they travel by value.
        keep: stores a result. Which task ends when depends on the machine, so results must be ordered by their index.
        workers: processes; 1 runs here, without any; absent: one per core; or the address of a Dask cluster
            (`sim.study.cluster`), such as ``"tcp://10.0.0.5:8786"``.
        give_up: what to do with a task that kills every worker it is given to; the others then go on. Absent: an error.

    Returns:
        Whether all have run; False after an interrupt (Ctrl-C), with everything finished until then kept.

    Raises:
        ScenarioError: no worker at all, worker processes that die again and again, or a cluster that cannot be used.
        Exception: whatever a task raised, with a note which one it was.
    """
    ordered = in_running_order(tasks)
    if not ordered:
        return True
    if isinstance(workers, str):
        from sim.study.cluster import run_on_cluster

        return run_on_cluster(ordered, work, keep, workers, give_up)
    if workers is not None and workers < 1:
        raise ScenarioError(f"workers = {workers} must be at least 1")
    count = min(workers or core_count(), len(ordered))
    if count == 1:
        return _run_here(ordered, work, keep)
    return _run_in_processes(ordered, work, keep, count, give_up)


def _run_here(tasks: Sequence[Task], work: Work, keep: Keep) -> bool:
    try:
        with _interrupts_noted() as came:
            for task in tasks:
                try:
                    finished = work(task)
                except Exception as exc:
                    note_where(exc, task)
                    raise
                keep(task, finished)
                if came:
                    return False
    except KeyboardInterrupt:
        return False
    return True


def _run_in_processes(tasks: Sequence[Task], work: Work, keep: Keep, workers: int, give_up: GiveUp | None) -> bool:
    from concurrent.futures.process import BrokenProcessPool

    waiting = list(tasks)

    def keep_and_cross_off(task: Task, finished: Finished) -> None:
        waiting.remove(task)
        keep(task, finished)

    rounds = 0
    while waiting:
        before = len(waiting)
        try:
            if not _one_round(list(waiting), work, keep_and_cross_off, workers):
                return False
        except BrokenProcessPool as exc:
            # A process was killed, most often by the kernel for want of memory. What is left is done again, by fewer
            # processes if none of it could be finished; what was running comes last, for it may be what kills.
            rounds = rounds + 1 if len(waiting) == before else 0
            if give_up is not None and rounds >= _ROUNDS_WITHOUT_PROGRESS and workers == 1:
                culprit = waiting.pop(0)  # the only one that was running
                give_up(culprit, _lost([culprit], exc))
                rounds = 0
                continue
            if rounds:
                workers = max(1, workers // 2)
            if give_up is None and rounds == _ROUNDS_WITHOUT_PROGRESS:
                raise ScenarioError(_lost(waiting, exc)) from exc
            waiting[:] = waiting[workers:] + waiting[:workers]
    return True


def _one_round(tasks: Sequence[Task], work: Work, keep: Keep, workers: int) -> bool:
    """Give the tasks to a pool of processes until all are done or something stops them; False after an interrupt."""
    from loky import as_completed, get_reusable_executor

    futures: dict[Any, Task] = {}
    executor: Any = None
    try:
        parent = (os.getpid(), threading.current_thread() is threading.main_thread())
        executor = get_reusable_executor(max_workers=workers, initializer=_begin_worker, initargs=parent, timeout=30)
        for task in tasks:
            futures[executor.submit(work, task)] = task
        with _interrupts_noted() as came:
            for future in as_completed(list(futures)):
                _take(future, futures, keep)
                if came:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)
        _take_all_done(futures, keep)
        return False
    except BaseException as exc:
        try:
            _take_all_done(futures, keep)
        finally:  # what cannot be kept, as on a full disk, need not be simulated
            if executor is not None and not _is_broken(exc):
                executor.shutdown(wait=True, kill_workers=True)
        raise
    return True


def _take(future: Any, futures: dict[Any, Task], keep: Keep) -> None:
    task = futures.pop(future)
    try:
        finished = future.result()
    except Exception as exc:
        if not _is_broken(exc):
            note_where(exc, task)
        raise
    keep(task, finished)


def _take_all_done(futures: dict[Any, Task], keep: Keep) -> None:
    for future in [one for one in futures if one.done() and not one.cancelled() and one.exception() is None]:
        keep(futures.pop(future), future.result())


def _is_broken(exc: BaseException) -> bool:
    from concurrent.futures.process import BrokenProcessPool

    return isinstance(exc, BrokenProcessPool)


def _lost(tasks: Sequence[Task], exc: BaseException) -> str:
    first = tasks[0].label if len(tasks) == 1 else f"{len(tasks)} runs, the first of them {tasks[0].label}"
    return (
        f"worker processes died {_ROUNDS_WITHOUT_PROGRESS} times in a row and {first} could not be finished; if memory ran out, "
        f"set run.record_attempts: false (and record_requests: false), shorten run.duration or use fewer workers "
        f"({str(exc).splitlines()[0]})"
    )


@contextmanager
def interrupts_later(*, forget: bool = False) -> Iterator[None]:
    """Hold Ctrl-C (and SIGTERM, where it has a handler) back until what must not be torn apart is done.

    For steps of seconds only. `forget` them at the end, where somebody impatient repeats what is being obeyed already.
    """
    came: list[tuple[int, Any]] = []
    with _handled(lambda usual, number, frame: came.append((number, frame))):
        yield
    for number, frame in [] if forget else came[:1]:
        _usual_handlers()[signal.Signals(number)](number, frame)


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Ctrl-C (and SIGTERM) as usual, and a list of those that came.

    For it may come where Python ignores exceptions, such as in the finalizer of a generator, and would be lost.
    """
    came: list[int] = []

    def note(usual: Handler, number: int, frame: Any) -> None:
        came.append(number)
        usual(number, frame)

    with _handled(note):
        yield came


@contextmanager
def _handled(handle: Callable[[Handler, int, Any], None]) -> Iterator[None]:
    """Let interrupts be handled otherwise for a while. Signals reach the main thread, so elsewhere there is nothing to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = _usual_handlers()
    try:
        for kind, handler in usual.items():
            signal.signal(kind, partial(handle, handler))
        yield
    finally:
        for kind, handler in usual.items():
            signal.signal(kind, handler)


def _usual_handlers() -> dict[signal.Signals, Handler]:
    """Only those of Python: others would end the process at once, with or without us."""
    return {kind: handler for kind in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(kind))}


def _begin_worker(parent: int, from_main_thread: bool) -> None:
    """What a worker does first: see to it that it stops when its parent says so, or is gone."""
    if os.name != "posix":
        return
    # Ctrl-C goes to every process of the terminal; the parent decides what is kept, workers just stop when told.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed tells nobody, and its workers would wait for work for ever.
    if from_main_thread and sys.platform == "linux":
        # Comes at once, also into compiled code. It is sent when the thread ends that started the worker; only that
        # of the main thread is the end of the parent.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(parent,), name="end with the parent", daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)
