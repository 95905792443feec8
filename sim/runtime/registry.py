"""A registry in motion: nodes that keep a table, replicas that write to them, caller processes that read.

::

    replica --register, renew, deregister--> its node --replication--> the other nodes
    caller process --lookup--> a node --answer--> what it believes          (poll, dns)
    node --push--> what a caller process believes                           (push)

Replicas and processes have a node of their own and ask the next one while it is down. Every message takes the lines between the
two, so that links, zones, partitions and losses count here, too. Where there are zones, nodes in the own zone are tried first
(Eureka's `preferSameZoneEureka`). What a table says is decided by `sim.policies.registry`, what a
process believes by `sim.policies.discovery`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import Steps, Tally, Task
from sim.laws import sampler
from sim.policies.discovery import Belief, Discovery
from sim.policies.health import HealthGate
from sim.policies.registry import Registry as RegistrySpec
from sim.runtime.health import ask, keep_checking, phase
from sim.runtime.network import crossed_s
from sim.runtime.nodes import Act, Node, Nodes
from sim.runtime.visit import View
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.replica import Replica
    from sim.runtime.service import ServiceGroup
    from sim.runtime.world import World

_BEAT, _CACHE, _EVICT, _PUBLISH, _REPLICATE, _THERE, _BACK, _LOOKUP, _PUSH = (
    salt("registry", name) for name in ("beat", "cache", "evict", "publish", "replicate", "there", "back", "lookup", "push")
)
#: A change of what a table or a process says: clock time, instance, whether it is listed now.
Change = tuple[float, int, bool]
_WORDS: Final = {True: "listed", False: "unlisted"}
#: Where nothing expires, a change that no node could be told is told again after so many seconds.
_TELL_AGAIN_S: Final = 1.0


class OwnView(View):
    """What one process believes of one service, learned from a registry."""

    __slots__ = (
        "belief", "caller", "changes", "heard", "key", "lookups", "process", "registry", "service", "spec", "task", "told",
        "zone",
    )  # fmt: skip

    def __init__(self, registry: Registry, service: str, caller: str, process: int, spec: Discovery) -> None:
        super().__init__(list(range(registry.world.services[service].spec.replicas)))
        self.registry = registry
        self.service = service
        self.caller = caller
        self.process = process
        self.zone = registry.zone_of(caller, process)
        self.spec = spec
        self.key = key(registry.world.seed, "discovery", caller, process, service)
        self.lookups = 0
        self.told = self.heard = 0  # pushes sent to it, and the number of the last one that counted
        self.task: Task | None = None
        self.changes: list[Change] = []
        self.begin()

    def begin(self) -> None:
        """The process begins a life, and asks by itself from now on."""
        now_s, spec = self.registry.world.tasks.now_s(), self.spec
        instances = self.registry.listed(self)
        phases = uniform(child(self.key, _LOOKUP)), uniform(child(self.key, _CACHE))
        self.belief = Belief(spec, instances, now_s, *phases)
        self.renew(now_s)
        self.task = self.registry.world.tasks.start(self.registry.keep_asking(self))

    def end(self) -> None:
        """The process dies, and asks no more."""
        if self.task is not None:
            self.task.kill()
            self.task = None

    def renew(self, now_s: float) -> None:
        """Look again at what was learned: calls choose from that now."""
        known = self.belief.known(now_s)
        if known is not self.known:
            self.changes += [(now_s, i, False) for i in self.known if i not in known]
            self.changes += [(now_s, i, True) for i in known if i not in self.known]
            self.known = known
        self.until_s = self.belief.cached_until_s if self.spec.cache else inf

    def push_delay_s(self, bits: int) -> float:
        """A draw of the delay of a push, in seconds."""
        return self.spec.push_delay.draw(bits)

    def learn(self, now_s: float, instances: list[int] | None, as_of_s: float) -> None:
        """A lookup has ended, or a push has come."""
        if instances is None:
            self.belief.failed(now_s)
        else:
            self.belief.learn(now_s, instances, as_of_s)
        if not self.spec.cache or now_s >= self.until_s:
            self.renew(now_s)


class Registry:
    """All nodes of a registry, and the services that register there."""

    def __init__(self, world: World, name: str, spec: RegistrySpec) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self._nodes = Nodes(world, name, spec)
        self._members: list[Replica] = []  # by instance number
        self._first: dict[str, int] = {}  # instance number of a service's replica 0
        self._lives: dict[int, Task] = {}  # who sends heartbeats, by instance number
        self._checks: dict[int, Task] = {}  # of readiness, by instance number
        self._said: dict[int, int] = {}  # what each instance has had to say so far
        self._views: list[OwnView] = []
        self._crash = None if spec.crash_delay is None else sampler(spec.crash_delay)
        self._vanish = None if spec.vanish_delay is None else sampler(spec.vanish_delay)
        self._publish = sampler(spec.publish_delay)
        self._replicate = sampler(spec.replication_delay)

    @property
    def nodes(self) -> list[Node]:
        """All of them, up or down."""
        return self._nodes.each

    @property
    def slow_factors(self) -> list[float]:
        """Of active faults; lookups take as many times as long as all of them together."""
        return self._nodes.slow_factors

    @property
    def tally(self) -> Tally:
        """Who waits for a worker of a node."""
        return self._nodes.tally

    def zone_of(self, caller: str, process: int) -> int:
        """The zone of a process that reads or writes here."""
        return self._nodes.zone_of(caller, process)

    @property
    def alive(self) -> int:
        """Nodes that are up."""
        return sum(1 for node in self._nodes.each if not node.outages)

    def spent(self) -> tuple[float, int]:
        """Integral of the workers held so far, in seconds, and messages that came: lookups, registrations, heartbeats."""
        return sum(node.pool.busy_worker_s for node in self._nodes.each), sum(node.served for node in self._nodes.each)

    def join(self, service: ServiceGroup) -> None:
        """Let a service register here."""
        self._first[service.name] = len(self._members)
        self._members += service.replicas

    def start(self) -> None:
        """The run begins: everybody has been registered for long, with heartbeats at phases of their own."""
        interval_s = self.spec.heartbeat_interval
        last_s = {
            i: 0.0 if interval_s is None else -interval_s * self._phase(i)
            for i in range(len(self._members))
            if self._members[i].alive
        }
        for node in self._nodes.each:
            node.gate.adopt(0.0, last_s)
            self.world.tasks.start(self._sweep(node))
        for number in last_s:
            self._live(number, new=False)
            self._check(number, new=False)

    def _phase(self, number: int) -> float:
        replica = self._members[number]
        return uniform(child(key(self.world.seed, "process", replica.service.name, replica.index), _BEAT))

    def _number(self, replica: Replica) -> int:
        return self._first[replica.service.name] + replica.index

    # What replicas say.

    def changed(self, replica: Replica) -> None:
        """A replica has died, or come back."""
        number = self._number(replica)
        if replica.alive:
            self._live(number, new=True)
            self._check(number, new=True)
        else:
            self._die(number)
            if replica.silent and number in self._checks:
                self._checks.pop(number).kill()  # the machine is gone, too
            if replica.silent:
                self.world.tasks.start(self._machine_missed(number, replica))
            elif self._crash is not None:
                self.world.tasks.start(self._crash_seen(number, replica))

    def stopping(self, replica: Replica) -> None:
        """A replica is asked to stop, and says so if it is one that does."""
        number = self._number(replica)
        self._die(number)
        if self.spec.deregister_on_stop:
            self.world.tasks.start(self._write(number, self._deregister))

    def _check(self, number: int, new: bool) -> None:
        """Begin to check whether a replica is ready, from the machine that it runs on."""
        replica = self._members[number]
        spec, tasks = replica.service.spec.readiness, self.world.tasks
        if spec is None:
            return
        if number in self._checks:
            self._checks[number].kill()
        gate = HealthGate(spec, tasks.now_s(), None if new else True)

        def tell() -> None:
            tasks.start(self._write(number, self._ready if gate.healthy else self._unready))

        check_key = key(self.world.seed, "readiness", replica.service.name, replica.index, len(replica.service.lives))
        first_s = gate.first_s(phase(check_key))
        steps = keep_checking(tasks, gate, first_s, check_key, lambda bits: ask(replica, spec.timeout, bits), tell)
        self._checks[number] = tasks.start(steps)

    def _live(self, number: int, new: bool) -> None:
        self._die(number)
        self._lives[number] = self.world.tasks.start(self._life(number, new))

    def _die(self, number: int) -> None:
        life = self._lives.pop(number, None)
        if life is not None:
            life.kill()

    def _life(self, number: int, new: bool) -> Steps:
        """Register, and renew the lease again and again."""
        interval_s = self.spec.heartbeat_interval
        if new:
            if self.spec.registration_delay > 0:
                yield self.spec.registration_delay
            yield from self._write(number, self._register)
        elif interval_s is not None:
            yield interval_s * (1.0 - self._phase(number))
            yield from self._write(number, self._renew)
        while interval_s is not None:
            yield interval_s
            yield from self._write(number, self._renew)

    def _crash_seen(self, number: int, replica: Replica) -> Steps:
        assert self._crash is not None
        delay_s = self._crash.draw(
            key(self.world.seed, "crash seen", replica.service.name, replica.index, len(replica.service.lives))
        )
        if delay_s > 0:
            yield delay_s
        if not replica.alive:
            yield from self._write(number, self._unready)

    def _machine_missed(self, number: int, replica: Replica) -> Steps:
        """Whoever watches the machines misses one, and says so to a node that is up; it is not where the replica was."""
        if self._vanish is None:
            return
        lives = len(replica.service.lives)
        yield self._vanish.draw(key(self.world.seed, "vanished", replica.service.name, replica.index, lives))
        while (node := next((node for node in self._nodes.each if not node.outages), None)) is None:
            yield _TELL_AGAIN_S
        if not replica.alive:
            self._said[number] = self._said.get(number, 0) + 1
            self._tell_nodes(node, number, self._unready)

    def _write(self, number: int, act: Act) -> Steps:
        """Tell a node, which tells the others. Where nothing expires it is told until somebody hears it, or it is out of date."""
        replica = self._members[number]
        name = replica.service.name
        there, zone = self._nodes.lines(name)[0], self._nodes.zone_of(name, replica.index)
        said = self._said[number] = self._said.get(number, 0) + 1
        while True:
            node = self._nodes.up(replica.index, zone)
            if node is not None and (yield from self._nodes.reach(node, there, zone, node.delay_key(_THERE))):
                break
            if self.spec.heartbeat_interval is not None:
                return  # the next heartbeat tells, or the lease ends
            yield _TELL_AGAIN_S
            if self._said[number] != said:
                return
        self._tell_nodes(node, number, act)

    def _tell_nodes(self, node: Node, number: int, act: Act) -> None:
        """Change the table of a node, which tells the others."""
        act(node, number)
        for other in self._nodes.each:
            if other is not node:
                self.world.tasks.start(self._pass_on(node, other, number, act))

    def _pass_on(self, source: Node, node: Node, number: int, act: Act) -> Steps:
        bits = node.delay_key(_REPLICATE)
        # The stream is TCP: what is lost is sent again.
        delay_s = self._replicate.draw(bits) + max(0.0, crossed_s(0.0, self._nodes.crossing(source.zone, node.zone), bits))
        if delay_s > 0:
            yield delay_s
        if not node.outages and not self._nodes.cut(source, node.zone):
            act(node, number)
        elif act != self._renew:
            node.missed.append((number, act, source))

    def _register(self, node: Node, number: int) -> None:
        checked = self._members[number].service.spec.readiness is not None
        self._change(node, lambda delay_s: node.gate.register(self.world.now, number, not checked, delay_s))

    def _renew(self, node: Node, number: int) -> None:
        if not node.gate.renew(self.world.now, number):
            self._register(node, number)

    def _deregister(self, node: Node, number: int) -> None:
        self._change(node, lambda delay_s: node.gate.deregister(self.world.now, number, delay_s))

    def _ready(self, node: Node, number: int) -> None:
        self._change(node, lambda delay_s: node.gate.set_ready(self.world.now, number, True, delay_s))

    def _unready(self, node: Node, number: int) -> None:
        self._change(node, lambda delay_s: node.gate.set_ready(self.world.now, number, False, delay_s))

    def _change(self, node: Node, act: Callable[[float], object]) -> None:
        """Change a table, and tell those who want to be told once the change can be read."""
        delay_s = self._publish.draw(node.delay_key(_PUBLISH))
        act(delay_s)
        if node.readers:
            self.world.tasks.start(self._push(node, delay_s))

    def _sweep(self, node: Node) -> Steps:
        """Evict those whose lease has ended, whenever that is due."""
        tasks, idle_s = self.world.tasks, self.spec.lease_duration
        while self.spec.heartbeat_interval is not None:
            due_s = node.gate.next_sweep_s
            if due_s > tasks.now_s():
                yield min(due_s - tasks.now_s(), idle_s)
            elif node.outages:
                yield idle_s / 10
            else:
                us = (uniform(child(node.delay_key(_EVICT), i)) for i in range(len(self._members)))
                self._change(node, partial(node.gate.sweep, tasks.now_s(), us))

    # What caller processes learn.

    def view(self, service: str, caller: str, process: int, spec: Discovery) -> OwnView:
        """A process's own view of a service."""
        view = OwnView(self, service, caller, process, spec)
        self._views.append(view)
        if spec.mode == "push":
            self._nodes.turns(process, view.zone)[0].readers.append(view)
        return view

    def listed(self, view: OwnView) -> list[int]:
        """Replicas, by index, that a process is told of when it starts; nobody while the registry is down."""
        node = self._nodes.up(view.process, view.zone)
        return [] if node is None else self._of_service(view.service, node.gate.instances(self.world.now))

    def _of_service(self, service: str, instances: tuple[int, ...]) -> list[int]:
        first = self._first[service]
        last = first + len(self.world.services[service].replicas)
        return [i - first for i in instances if first <= i < last]

    def keep_asking(self, view: OwnView) -> Steps:
        """Look up again and again, each time what was learned is over."""
        tasks = self.world.tasks
        while view.belief.due_s < inf:
            wait_s = view.belief.due_s - tasks.now_s()
            if wait_s > 0:
                yield wait_s
            view.lookups += 1
            found = yield from self._look_up(view, child(view.key, view.lookups))
            view.learn(tasks.now_s(), *found)

    def _look_up(self, view: OwnView, bits: int) -> Steps:
        """Ask a node: what it lists, and as of when; None if it does not answer."""
        there, back = self._nodes.lines(view.caller)
        node = self._nodes.up(view.process, view.zone)
        if node is None:
            return None, self.world.now
        if not (yield from self._nodes.reach(node, there, view.zone, child(bits, _THERE))):
            return None, self.world.now
        era = node.era
        yield from self._nodes.work(node, child(bits, _LOOKUP))
        as_of_s = self.world.now
        found = self._of_service(view.service, node.gate.instances(as_of_s))
        bits = child(bits, _BACK)
        back_s = crossed_s(back.travel_s(bits), self._nodes.crossing(node.zone, view.zone), bits)
        if back_s < 0 or node.era != era:
            return None, as_of_s
        if back_s > 0:
            yield back_s
        return found, as_of_s

    def _push(self, node: Node, delay_s: float) -> Steps:
        """Tell the readers of a node what can be read now, if it has changed."""
        if delay_s > 0:
            yield delay_s
        now_s = self.world.now
        node.gate.published(now_s)
        changes = node.gate.changes
        news = {number for _, number, _ in changes[node.told :]}
        node.told = len(changes)
        for view in node.readers:
            first = self._first[view.service]
            if not node.outages and any(first <= i < first + len(self.world.services[view.service].replicas) for i in news):
                self.world.tasks.start(self._tell(view, node, child(view.key, node.told)))

    def _tell(self, view: OwnView, node: Node, bits: int) -> Steps:
        while self._nodes.cut(node, view.zone):
            yield _TELL_AGAIN_S
        view.told += 1
        number, as_of_s = view.told, self.world.now
        found = self._of_service(view.service, node.gate.published(as_of_s))
        _, back = self._nodes.lines(view.caller)
        delay_s, bits = view.push_delay_s(child(bits, _PUSH)), child(bits, _BACK)
        line_s = crossed_s(back.travel_s(bits), self._nodes.crossing(node.zone, view.zone), bits)
        if line_s < 0:
            line_s = 0.0  # the stream is TCP: what is lost is sent again
        if delay_s + line_s > 0:
            yield delay_s + line_s
        # Two changes at one instant are two pushes: the later one holds, in whichever order they come.
        if view.task is not None and number > view.heard:
            view.heard = number
            view.learn(self.world.now, found, as_of_s)

    # What happens to nodes.

    def outage(self, nodes: list[Node]) -> Callable[[], None]:
        """Nodes go down, and keep their tables; return how they come back."""
        for node in nodes:
            node.outages += 1
            node.era += 1

        def recover() -> None:
            for node in nodes:
                node.outages -= 1
                if not node.outages:
                    self._catch_up(node)

        return recover

    def _catch_up(self, node: Node) -> None:
        """A node is back: the others tell it what it missed, and it tells its readers what it lists."""
        missed, node.missed = node.missed, []
        for number, act, source in missed:
            if self._nodes.cut(source, node.zone):
                node.missed.append((number, act, source))
            else:
                act(node, number)
        for view in node.readers:
            self.world.tasks.start(self._tell(view, node, child(view.key, node.delay_key(_PUSH))))

    def healed(self) -> None:
        """A partition has ended: nodes tell each other what they could not."""
        for node in self._nodes.each:
            if node.missed and not node.outages:
                self._catch_up(node)

    def changes(self) -> list[tuple[float, str, int, str, int, str]]:
        """What each process learned and when: clock time, caller, process, service, replica, listed or unlisted."""
        return [
            (time_s, view.caller, view.process, view.service, replica, _WORDS[listed])
            for view in self._views
            for time_s, replica, listed in view.changes
        ]
