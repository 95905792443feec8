"""Running tasks on a Dask cluster, when one machine is not enough: the same results bit for bit.

::

    this process ── a few tasks ahead ──> scheduler ──> worker  worker  worker …
        files   <── numbers and rows ────────┘

Workers write no files, so they need no disk in common with this process. The scheduler gives the tasks of a worker that was
killed to others. One that it gives up, because workers died again and again while they had it, may have been in bad company
only: it is done once more, alone, when all others are finished.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from sim.errors import ScenarioError
from sim.study.archive import code_version
from sim.study.tasks import Finished, Task, note_where

if TYPE_CHECKING:
    from distributed import Client

#: How long the scheduler may take to answer, and workers to come, in seconds.
_CONNECT_S: Final = 10.0
_PATIENCE_S: Final = 60.0
#: How often it is looked how many workers there are.
_LOOK_EVERY_S: Final = 2.0
#: Tasks that wait at the scheduler, for each that can run: enough for no worker to stand idle, few enough to be called off.
_AHEAD: Final = 3
_INSTALL: Final = "install it: pip install 'sim[dask]' (or: pip install distributed)"
_RESUME: Final = "what is finished and kept is not run again"
_START: Final = "start them: dask scheduler, and on each machine: dask worker ADDRESS --nworkers auto --nthreads 1"


def run_on_cluster(
    tasks: Sequence[Task],
    work: Callable[[Task], Finished],
    keep: Callable[[Task, Finished], None],
    address: str,
    give_up: Callable[[Task, str], None] | None = None,
) -> bool:
    """What `sim.study.execute.run_tasks` does, by the workers of a cluster.

    Raises:
        ScenarioError: no scheduler at the address, no workers, workers with another version of the simulator, or a run that
            kills every worker it is given to, if nobody takes it with `give_up`.
        Exception: whatever a task raised.
    """
    with _connected(address) as client:
        suspects: list[Task] = []
        complete = _Round(client, address, work, keep, suspects.append).carry_out(tasks)
        for task in suspects if complete else ():
            guilty: list[Task] = []
            if not _Round(client, address, work, keep, guilty.append).carry_out([task]):
                return False
            for culprit in guilty:
                _tell(culprit, give_up)
    return complete


def places_on(address: str) -> int:
    """How many tasks a cluster can run at once, now.

    Raises:
        ScenarioError: see `run_on_cluster`.
    """
    with _connected(address) as client:
        return sum(client.nthreads().values())


def identity() -> str:
    """What workers and this process must have in common for the same results: the source of the simulator, and numpy."""
    import numpy as np

    return f"sim {code_version(whole=True)} with numpy {np.__version__}"


def _tell(culprit: Task, give_up: Callable[[Task, str], None] | None) -> None:
    why = (
        f"workers of the cluster died again and again while they ran {culprit.label}; if memory ran out, set "
        "run.record_attempts: false (and record_requests: false), shorten run.duration or give the workers more memory"
    )
    if give_up is None:
        raise ScenarioError(why)
    give_up(culprit, why)


# --- the cluster ------------------------------------------------------------------------------------------------------


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of a cluster that has workers with the same simulator."""
    try:
        from distributed import Client
    except ImportError as exc:
        raise ScenarioError(f"--scheduler {address}: Dask is not installed; {_INSTALL}") from exc
    _require_listener(address)
    with _quiet():
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except OSError as exc:
            raise ScenarioError(f"--scheduler {address}: no Dask scheduler that this Dask understands ({exc})") from exc
        with client:
            _require_workers(client, address)
            yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Dask's logs be silent: what goes wrong is told by us, once."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    usual = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, usual, strict=True):
            logger.setLevel(level)


def _require_listener(address: str) -> None:
    """See whether anybody is there at all, which a client of Dask takes long to find out."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address)
        get_backend(scheme)
        host, port = parse_host_port(place)
    except ValueError as exc:
        raise ScenarioError(f"--scheduler {address}: is no address ({exc}); write for example tcp://10.0.0.5:8786") from exc
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as exc:
        raise ScenarioError(f"--scheduler {address}: nobody answers there ({exc}); {_START}") from exc


def _require_workers(client: Client, address: str) -> None:
    from distributed import TimeoutError as TooLate

    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TooLate:
        raise _nobody(address) from None
    for worker, found in client.run(_probe(), on_error="return").items():
        if found != identity():
            raise _foreign(address, worker, found)


def _probe() -> Callable[[], str]:
    """What a worker is asked first. A function inside of one travels by value, so that it needs nothing of ours there."""

    def there() -> str:
        from sim.study.cluster import identity

        return identity()

    return there


def _foreign(address: str, worker: str, found: object) -> ScenarioError:
    has = found if isinstance(found, str) else f"no usable sim ({type(found).__name__}: {found})"
    return ScenarioError(f"--scheduler {address}: {_differs(worker, has, identity())}")


def _differs(worker: str, has: str, wanted: str) -> str:
    return f"worker {worker} has {has}, this process {wanted}; install the same version on every worker, and start them again"


def _nobody(address: str) -> ScenarioError:
    told = f"--scheduler {address}: the cluster has had no workers for {_PATIENCE_S:.0f} s"
    return ScenarioError(f"{told}; {_START}; {_RESUME}")


# --- the work ---------------------------------------------------------------------------------------------------------


def _there(work: Callable[[Task], Finished], task: Task, wanted: str) -> Finished:
    """One task, on a worker, which may have come after the others were asked who they are."""
    if identity() != wanted:
        from distributed import get_worker

        raise ScenarioError(_differs(get_worker().address, identity(), wanted))
    return work(task)


class _Round:
    """Some tasks on their way through a cluster."""

    def __init__(
        self,
        client: Client,
        address: str,
        work: Callable[[Task], Finished],
        keep: Callable[[Task, Finished], None],
        suspect: Callable[[Task], None],
    ) -> None:
        self._client, self._address, self._work, self._keep, self._suspect = client, address, work, keep, suspect
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._running: dict[Any, Task] = {}
        self._room, self._looked_s, self._seen_s = 0, 0.0, time.monotonic()

    def carry_out(self, tasks: Sequence[Task]) -> bool:
        """Give out the tasks, a few more than there are workers for; False after an interrupt."""
        waiting = deque(tasks)
        try:
            while waiting or self._running:
                self._look()
                while waiting and len(self._running) < self._room:
                    self._give_out(waiting.popleft())
                self._take_one()
        except KeyboardInterrupt:
            for future in [one for one in self._running if one.status == "finished"]:
                self._take(future)
            return False
        finally:
            self._client.cancel(list(self._running))
        return True

    def _look(self) -> None:
        """Count the workers now and then; they may come and go."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        self._room = _AHEAD * sum(self._client.nthreads().values())
        if self._room:
            self._seen_s = now_s
        elif now_s - self._seen_s > _PATIENCE_S:
            raise _nobody(self._address)

    def _give_out(self, task: Task) -> None:
        future = self._client.submit(_there, self._work, task, identity(), pure=False)
        self._running[future] = task
        future.add_done_callback(self._ended.put)

    def _take_one(self) -> None:
        try:
            future = self._ended.get(timeout=_LOOK_EVERY_S)
        except Empty:
            return
        self._take(future)

    def _take(self, future: Any) -> None:
        from distributed import KilledWorker

        task = self._running[future]
        try:
            finished = future.result(timeout=_PATIENCE_S)
        except KilledWorker:
            self._suspect(task)
        except Exception as exc:
            if future.cancelled():
                raise ScenarioError(f"--scheduler {self._address}: the scheduler is gone; {_RESUME}") from exc
            if future.status != "error":  # its worker died with the result in hand; somebody makes it again
                future.add_done_callback(self._ended.put)
                return
            note_where(exc, task)
            raise
        else:
            self._keep(task, finished)
        del self._running[future]
