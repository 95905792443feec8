"""The world of one run: everything that moves, on one clock, from one seed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import simpy

from sim.kernel.clock import new_environment
from sim.kernel.tasks import Steps, Task, Tasks
from sim.policies.deduplication import DeduplicationGate
from sim.policies.discovery import Discovery
from sim.policies.zones import OUTSIDE, ZoneGate
from sim.records import OUTCOMES
from sim.runtime.arrivals import Source
from sim.runtime.broker import Broker
from sim.runtime.caller import Caller
from sim.runtime.callers import new_caller
from sim.runtime.context import Context
from sim.runtime.deliveries import Inbox
from sim.runtime.edges import Edges
from sim.runtime.faults import start_faults
from sim.runtime.fleet import Fleet
from sim.runtime.group import Group
from sim.runtime.ledger import Ledger, Presence
from sim.runtime.log import PartitionedLog
from sim.runtime.messages import Mailbox, Topic
from sim.runtime.meters import Meters
from sim.runtime.network import Network
from sim.runtime.origin import Origin, Request
from sim.runtime.planner import Planner
from sim.runtime.polled import PolledQueue
from sim.runtime.proxy import ProxyGroup, proxy_groups
from sim.runtime.queue import MessageQueue
from sim.runtime.recorder import Recorder
from sim.runtime.registry import OwnView, Registry
from sim.runtime.replica import Replica
from sim.runtime.replies import ReplyQueue
from sim.runtime.reply_log import ReplyLog
from sim.runtime.service import ServiceGroup, operation_target
from sim.runtime.sketched import Columns
from sim.runtime.steps import Plan, WorkStep
from sim.runtime.stores import Store
from sim.runtime.visit import Edge, View, Visit
from sim.runtime.ways import Ways
from sim.runtime.wire import traffic
from sim.runtime.zones import Zoning
from sim.scenario.deployments import service_of, slots_of
from sim.scenario.edges import CLIENT, flushes, operations_of
from sim.scenario.faults import ReplayGroup
from sim.scenario.messaging.requests import carriers_of_replies
from sim.scenario.model import Scenario
from sim.scenario.queries import refused_queries
from sim.streams import key, salt

#: A user's own SimPy process: a function that takes the world and returns a generator of SimPy events.
UserProcess = Callable[["World"], Generator[simpy.Event, Any, Any]]


class World:
    """A scenario in motion.

    Args:
        scenario: what to build.
        seed: names every random stream.

    Your own SimPy processes see `env` (SimPy's environment), `services`, `queues`, `logs`, `brokers`, `network`, and can ask with
    `ask`.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.env = new_environment()
        self.tasks = Tasks(self.env)
        self._finished = self.env.event()
        self.ledger = Ledger(self._finish)
        operations = operations_of(scenario)
        self.names: tuple[str, ...] = names_of(scenario)
        self.recorder = Recorder(self.tasks, scenario.run, len(self.names))
        self._meters = Meters(self)
        self._codes = {name: code for code, name in enumerate(self.names)}
        self.network = Network(scenario)
        self.callers: list[Caller] = []  # of all processes that have made a call
        self.services: dict[str, ServiceGroup] = {}
        self.proxies: dict[str, ServiceGroup] = {}
        self.zoning = Zoning(self) if scenario.zones else None
        self.services |= {
            name: ServiceGroup(self, name, spec, slots_of(scenario, name)) for name, spec in scenario.services.items()
        }
        self.registries = {name: Registry(self, name, spec) for name, spec in scenario.registries.items()}
        self._views: dict[tuple[str, int], dict[tuple[str, Discovery], OwnView]] = {}  # by caller process: service, how it learns
        for service in self.services.values():
            if service.spec.registry is not None:
                service.registry = self.registries[service.spec.registry]
                service.registry.join(service)
        refused = refused_queries(scenario)  # whose refusal is passed on as it is
        plans = self.plans = {a: Plan(a.split(".")[1], self._codes[a], op, a in refused) for a, op in operations.items()}
        self.brokers = {name: Broker(self, name, spec) for name, spec in scenario.brokers.items()}
        self.stores = {name: Store(self, name, spec) for name, spec in scenario.stores.items()}
        self.beside: dict[Context, Task] = {}  # publishes that go on after what made them, while they do
        self._inboxes: dict[str, Inbox] = {}  # of idempotent consumers, by operation
        self._carriers = carriers = carriers_of_replies(scenario)
        self.replies = {name: self._reply_queue(name) for name in scenario.queues if name in carriers}
        self.queues = {name: self._queue(name, plans) for name in scenario.queues if name not in carriers}
        for name, queue in self.queues.items():
            dead_letter = scenario.queues[name].dead_letter
            queue.dead_letters = None if dead_letter is None else self.queues[dead_letter]
        topics = {name: Topic(self, [self.queues[each] for each in spec.subscriptions]) for name, spec in scenario.topics.items()}
        self.logs = {name: self._log(name) for name in scenario.logs}
        self._mailboxes: dict[str, Mailbox] = {**self.queues, **self.replies, **topics, **self.logs}
        self._proxies = proxy_groups(self)
        self.proxies |= {proxy.group_name: proxy.group for proxy in self._proxies.values()}
        targets = {
            **{a: operation_target(self.services[a.split(".")[0]], plan) for a, plan in plans.items()},
            **{name: mailbox.target for name, mailbox in self._mailboxes.items()},
        }
        self.edges = edges = Edges(self, targets, self._mailboxes, self._proxies)
        wires = edges.wires if any(policy.protocol is not None for policy in scenario.calls.values()) else None
        batches = any(policy.batch is not None for policy in scenario.calls.values())
        for address, plan in plans.items():
            caller = address.split(".")[0]
            edge_to = partial(edges.edge, caller)
            planner = Planner(
                edge_to, edges.edge, self._consumer_of, self._consumers_of, self.stores, wires, batches, seed
            )  # fmt: skip
            planner.fill(plan, operations[address])
        self.origins = {address: Origin(self, edges.edge(CLIENT, address), self._codes[address]) for address in operations}

    @property
    def now(self) -> float:
        """Clock time, in seconds."""
        return self.env.now

    def run(self, processes: Iterable[UserProcess] = ()) -> dict[str, Columns]:
        """Run to the end and return the tables (see `sim.records`); once per world."""
        try:
            self._start(processes)
            with _rare_collections():
                self.env.run(until=self._finished)
        finally:
            # Also after an error: whatever ends now, by hand or by the garbage collector, moves nobody any more.
            self.tasks.close()
        return self._collect()

    def _start(self, processes: Iterable[UserProcess]) -> None:
        run = self.scenario.run
        for service in self.services.values():
            for replica in service.replicas:
                if replica.alive:
                    service.consumers_start(replica)
        for group in self.groups():
            group.begin()
        for log in self.logs.values():
            if log.spec.retention is not None:
                self.tasks.start(log.retain())
        for registry in self.registries.values():
            registry.start()
        self._open_views()
        start_faults(self, self.scenario.faults)
        for name, service in self.services.items():
            mine = [deployment for deployment in self.scenario.deployments if service_of(deployment) == name]
            autoscaling = service.spec.autoscaling
            if not mine and autoscaling is None:
                continue
            fleet = Fleet(service, mine)
            self.tasks.start(fleet.run())
            if autoscaling is not None:
                self.tasks.start(fleet.follow(autoscaling))
        self._meters.start()
        for process in processes:
            self.env.process(process(self))
        Source(self, self.scenario.load, run.end).start()
        drain_s = run.end if run.drain is None else run.drain
        self.tasks.start(self._stop_at(run.end + drain_s))

    def request(self, entry: str, request_key: int, client: int = 0) -> Steps:
        """One logical request from its origin, as a task's steps, which return its outcome: it ends in exactly one row."""
        request = self.origins[entry].issue(request_key, client)
        return request.value if request.settled else (yield request)

    def ask(self, entry: str, name: str | int) -> simpy.Event:
        """Issue a request from your own SimPy process: an event whose value will be the outcome, for example ``ok``.

        `name` names the request's random stream; give every request another one, or they all draw the same work.

        ::

            def smoke_test(world):
                yield world.env.timeout(10)
                outcome = yield world.ask("shop.buy", "smoke test 1")
        """
        done = self.env.event()

        def steps() -> Steps:
            outcome = yield from self.request(entry, key(self.seed, "ask", name))
            done.succeed(OUTCOMES[outcome])

        self.tasks.start(steps())
        return done

    def _finish(self) -> None:
        if not self._finished.triggered:
            self._finished.succeed()

    def _stop_at(self, time_s: float) -> Steps:
        yield time_s
        self._finish()

    def all_queues(self) -> list[MessageQueue | ReplyQueue]:
        """Those that are consumed, and those of replies."""
        return [*self.queues.values(), *self.replies.values()]

    def groups(self) -> list[Group]:
        """Of all logs."""
        return [group for log in self.logs.values() for group in log.groups.values()]

    def _collect(self) -> dict[str, Columns]:
        self._meters.record_totals()
        for pool in self.edges.all_pools():
            pool.end_run()
        # What is still open gets its row from its own `finally`, in the order in which it began.
        for open_ in self.ledger.everything():
            if isinstance(open_, Visit | Request):
                open_.kill()
        for task in list(self.beside.values()):
            task.kill()
        # And what caches still fetch in the background: no request waits for it, so the ledger does not know it.
        for caller in self.callers:
            caller.close()
        for service in self.services.values():
            for replica in service.replicas:
                replica.close()
        for queue in self.all_queues():
            queue.end_run()
        for log in self.logs.values():
            log.end_run()
        self._meters.record_changes()
        if self.zoning is not None:
            self.zoning.record()
        return {**self.recorder.tables(), "traffic": traffic(self)}

    def new_caller(self, edge: Edge, process_key: int, process: int, callers: Callable[[Edge], Caller]) -> Caller:
        """A process's caller on an edge; `callers` are the same process's on other edges."""
        return new_caller(self, edge, process_key, process, callers)

    def view(self, edge: Edge, process: int) -> View:
        """What a caller process believes of the target of an edge: as all do, or through a registry of its own."""
        caller, target = edge.names
        proxy = self._proxies.get((edge.policy.via, caller)) if edge.policy.via is not None else None
        if proxy is not None and edge.proxied:
            return proxy.view(edge, process)
        service = self.services.get(target.split(".")[0])
        if service is None or service.registry is None:
            return edge.target.view
        return self.own_view(service, caller, process, edge.policy.discovery)

    def own_view(self, service: ServiceGroup, caller: str, process: int, spec: Discovery) -> View:
        """What a process believes of a service, learned in this way: the same for all of its edges."""
        if service.registry is None:
            return service.view
        own = self._views.setdefault((caller, process), {})
        view = own.get((service.name, spec))
        if view is None:
            view = own[service.name, spec] = service.registry.view(service.name, caller, process, spec)
        return view

    def places(self, shares: Mapping[str, int] | None, count: int) -> list[int]:
        """Zones of so many things by index; none where the scenario has none."""
        return [] if self.zoning is None else self.zoning.places(shares, count)

    def place_of(self, zone: str | None) -> int:
        """The zone of what is in one only; without a word, the first; OUTSIDE where the scenario has none."""
        zones = self.places(None if zone is None else {zone: 1}, 1)
        return zones[0] if zones else OUTSIDE

    def tiers(self) -> list[ProxyGroup]:
        """Proxies that do not live and die with a replica."""
        return list({proxy.name: proxy for proxy in self._proxies.values() if not proxy.beside}.values())

    def edge_from(self, edge: Edge, process: int) -> Edge:
        """An edge as a caller process sees it from where it is."""
        return edge if self.zoning is None else self.zoning.edge(edge, process)

    def processes_of(self, caller: str) -> int:
        """How many processes of a caller there are when the run begins: replicas, proxies or clients."""
        group = self.services.get(caller) or self.proxies.get(caller)
        return self.scenario.load.clients if group is None else group.spec.replicas

    def zone_gate(self, edge: Edge, process: int) -> ZoneGate | None:
        """How a caller process chooses zones on an edge; None where it does not."""
        return None if self.zoning is None else self.zoning.gate(edge, process)

    def _open_views(self) -> None:
        """Processes learn from registries also before their first call."""
        for (caller, to), edge in self.edges.by_names.items():
            clients = self.scenario.load.clients if to in self.scenario.load.mix else 0
            group = self.services.get(caller) or self.proxies.get(caller)
            processes = range(clients) if group is None else [replica.index for replica in group.replicas if replica.alive]
            for process in processes:
                self.view(edge, process)

    def process_changed(self, replica: Replica) -> None:
        """A replica has died, or come back: so has what it learned from registries."""
        for view in self._views.get((replica.service.name, replica.index), {}).values():
            view.begin() if replica.alive else view.end()
        for proxy in self._proxies.values():
            if proxy.beside and proxy.group_name == f"{proxy.name}@{replica.service.name}":
                sidecar = proxy.group.replicas[replica.index]
                sidecar.restart() if replica.alive else sidecar.crash(replica.silent)

    def flush(self, selector: str) -> None:
        """Empty the caches that a selector names."""
        for caller in self.callers:
            if flushes(selector, " -> ".join(caller.names)):
                caller.flush()
        for address in operations_of(self.scenario):
            if flushes(selector, address):
                for replica in self.services[address.split(".")[0]].replicas:
                    replica.flush(self._codes[address])

    def code(self, name: str) -> int:
        """The number that stands for a name in tables."""
        return self._codes[name]

    def _queue(self, name: str, plans: dict[str, Plan]) -> MessageQueue:
        spec, code = self.scenario.queues[name], self._codes[name]
        broker = None if spec.broker is None else self.brokers[spec.broker]
        if spec.consumer is None:
            return MessageQueue(self, name, spec, code, None, None, broker, None)
        service = self.services[spec.consumer.split(".")[0]]
        inbox = self.inbox(spec.consumer)
        kind = PolledQueue if spec.delivery == "poll" else MessageQueue
        queue = kind(self, name, spec, code, plans[spec.consumer], Ways(self, name, service.name), broker, inbox)
        service.queues.append(queue)
        return queue

    def _reply_queue(self, name: str) -> ReplyQueue:
        spec = self.scenario.queues[name]
        return ReplyQueue(self, name, spec, self._codes[name], None if spec.broker is None else self.brokers[spec.broker])

    def _log(self, name: str) -> PartitionedLog:
        spec = self.scenario.logs[name]
        kind = ReplyLog if name in self._carriers else PartitionedLog
        log = kind(self, name, spec, None if spec.broker is None else self.brokers[spec.broker])
        for group in log.groups.values():
            self.services[group.spec.consumer.split(".")[0]].queues.append(group)
        for service in self.services.values():
            service.logs.append(log)
        return log

    def replayed(self, group: str) -> bool:
        """Whether a group of a log is set to another offset at some time."""
        return any(isinstance(fault, ReplayGroup) and fault.replay == group for fault in self.scenario.faults)

    def goes_on(self, own: Context, steps: Steps) -> None:
        """Begin a publish for which nobody waits; it ends by itself, or with the run."""
        task = self.tasks.start(steps)
        if task.alive:
            self.beside[own] = task

    def presence(self) -> Presence:
        """Something that the run waits for while there is any of it."""
        return Presence(self.ledger, self.tasks)

    def inbox(self, address: str) -> Inbox | None:
        """What an idempotent consumer remembers; the same for all queues and logs that it consumes."""
        operation, plan = operations_of(self.scenario)[address], self.plans[address]
        if operation.deduplicate is not None and address not in self._inboxes:
            again = Plan(plan.name, plan.code, operation)
            again.steps = (WorkStep(operation.deduplicate.work, salt("inbox")),)
            self._inboxes[address] = Inbox(DeduplicationGate(operation.deduplicate), again)
        return self._inboxes.get(address)

    def _consumers_of(self, name: str) -> list[str]:
        """Who handles what is published to a queue, topic or log."""
        return list(self.scenario.consumers(name).values())

    def _consumer_of(self, name: str) -> str:
        """What draws of a publish are named by: the operation that a synchronous design would call, where there is one."""
        if name in self.scenario.queues or name in self.scenario.logs:
            return next(iter(self._consumers_of(name)), name)
        return name


def names_of(scenario: Scenario) -> tuple[str, ...]:
    """All names in tables; the position is the code. What is left out of a scenario moves no code of the rest."""
    operations = operations_of(scenario)
    names = [CLIENT, *scenario.services, *scenario.queues, *operations, *scenario.registries, *scenario.topics, *scenario.brokers]
    for name, spec in scenario.proxies.items():
        groups = [name] if spec.placement == "tier" else [f"{name}@{caller}" for caller in (CLIENT, *scenario.services)]
        names += [*groups, *(f"{group}.{to}" for group in groups for to in operations)]
    for name, log in scenario.logs.items():
        readers = scenario.queues_of(name)
        names += [name, *readers, *(f"{group}/{number}" for group in readers for number in range(log.partitions))]
    return (*names, *scenario.stores)


#: New objects between two looks for garbage in cycles, while a run goes on.
_COLLECT_EVERY = 100_000


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage in cycles less often: requests leave none, and all that there is takes long to search.

    What exists when the run begins, the world included, is not searched at all meanwhile.
    """
    before = gc.get_threshold()
    freezes = gc.get_freeze_count() == 0  # else somebody else does, and wants it to stay so
    if 0 < before[0] < _COLLECT_EVERY:
        gc.set_threshold(_COLLECT_EVERY, *before[1:])
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()
        gc.set_threshold(*before)
