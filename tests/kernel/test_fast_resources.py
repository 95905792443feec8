"""Compiled resources beside SimPy's own: short stories told to both, and what users replace."""

import pytest
import simpy

pytest.importorskip("sim.kernel.core", reason="the kernel was not compiled here")

from sim.kernel import fast


@pytest.fixture(params=["SimPy", "ours", "SimPy's resources on ours"])
def engine(request):
    if request.param == "SimPy":
        return simpy
    if request.param == "ours":
        return fast

    class Mixed:
        Environment, Interrupt = fast.Environment, fast.Interrupt
        resources, core = simpy.resources, simpy.core

        def __getattr__(self, name):
            return getattr(simpy, name)

    return Mixed()


def test_a_worker_goes_round(engine):
    env, diary = engine.Environment(), []
    workers = engine.Resource(env, capacity=2)

    def job(name, patience):
        with workers.request() as request:
            assert request.usage_since is None or request.triggered
            got = yield request | env.timeout(patience)
            diary.append((env.now, name, request in got, workers.count, len(workers.queue)))
            if request in got:
                assert request.usage_since == env.now
                assert request.proc is env.active_process
                yield env.timeout(3)

    for name, patience in [("a", 1), ("b", 1), ("c", 1), ("d", 5), ("e", 9)]:
        env.process(job(name, patience))
    env.run()
    assert diary == [
        (0, "a", True, 2, 3),
        (0, "b", True, 2, 3),
        (1, "c", False, 2, 3),
        (3, "d", True, 2, 0),
        (3, "e", True, 2, 0),
    ]
    assert (workers.users, workers.queue, workers.capacity) == ([], [], 2)


def test_priorities_and_preemption(engine):
    env, diary = engine.Environment(), []
    machine = engine.PreemptiveResource(env)

    def job(name, start, priority, preempt):
        yield env.timeout(start)
        with machine.request(priority=priority, preempt=preempt) as request:
            assert request.key == (priority, env.now, not preempt)
            yield request
            diary.append((env.now, name, "starts"))
            try:
                yield env.timeout(5)
                diary.append((env.now, name, "ends"))
            except engine.Interrupt as interrupt:
                cause = interrupt.cause
                diary.append((env.now, name, "lost", cause.usage_since, cause.by.name, cause.resource is machine))

    for arguments in [("low", 0, 5, True), ("polite", 1, 1, False), ("high", 2, 0, True), ("same", 3, 0, True)]:
        env.process(job(*arguments))
    env.run()
    assert diary == [
        (0, "low", "starts"),
        (2, "low", "lost", 0, "job", True),
        (2, "high", "starts"),
        (7, "high", "ends"),
        (7, "same", "starts"),
        (12, "same", "ends"),
        (12, "polite", "starts"),
        (17, "polite", "ends"),
    ]


def test_of_equals_the_first_loses_its_slot(engine):
    env, lost = engine.Environment(), []
    machines = engine.PreemptiveResource(env, 2)

    def job(name, priority):
        with machines.request(priority) as request:
            try:
                yield request
                yield env.timeout(5)
            except engine.Interrupt:
                lost.append(name)

    for name, priority in [("a", 1), ("b", 1), ("c", 0)]:
        env.process(job(name, priority))
    env.run()
    assert lost == ["a"]


def test_the_sorted_queue_keeps_equals_in_order(engine):
    env = engine.Environment()
    machine = engine.PriorityResource(env)
    requests = [machine.request(priority) for priority in (9, 3, 1, 3, 2, 1, 3)]
    assert [requests.index(request) for request in machine.queue] == [2, 5, 4, 1, 3, 6]
    machine.queue.maxlen = 6
    with pytest.raises(RuntimeError, match="Queue is full"):
        machine.request()
    requests[4].cancel()
    requests[0].cancel()  # granted: nothing to leave
    assert [requests.index(request) for request in machine.queue] == [2, 5, 1, 3, 6]
    assert machine.count == 1


def test_containers(engine):
    env, diary = engine.Environment(), []
    tank = engine.Container(env, capacity=10, init=4)

    def user(name, act, amount, start):
        yield env.timeout(start)
        yield getattr(tank, act)(amount)
        diary.append((env.now, name, tank.level))

    for arguments in [("big", "get", 9, 0), ("small", "get", 1, 1), ("fill", "put", 5.5, 2), ("over", "put", 9, 3)]:
        env.process(user(*arguments))
    env.run()
    assert diary == [(2, "fill", 0.5), (2, "big", 0.5), (3, "over", 8.5), (3, "small", 8.5)]
    for nonsense in (0, -1):
        with pytest.raises(ValueError, match=rf"amount\(={nonsense}\) must be > 0"):
            tank.get(nonsense)


def test_stores(engine):
    env, diary = engine.Environment(), []
    shelf, sorted_shelf, chosen = engine.Store(env, 1), engine.PriorityStore(env), engine.FilterStore(env)

    def producer():
        for item in (5, 2, 4, 1):
            yield shelf.put(item)
            diary.append((env.now, "put", item))
            sorted_shelf.put(item)
            chosen.put(item)

    def consumer():
        for _ in range(4):
            yield env.timeout(1)
            diary.append((env.now, "got", (yield shelf.get())))

    def picky(wanted):
        item = yield chosen.get(lambda item: item == wanted)
        diary.append((env.now, wanted, item))

    for process in (picky(4), picky(2), producer(), consumer()):
        env.process(process)
    env.run()
    assert [entry for entry in diary if entry[1] in ("put", "got")] == [
        (0, "put", 5),
        (1, "got", 5),
        (1, "put", 2),
        (2, "got", 2),
        (2, "put", 4),
        (3, "got", 4),
        (3, "put", 1),
        (4, "got", 1),
    ]
    assert [entry for entry in diary if entry[1] in (2, 4)] == [(1, 2, 2), (2, 4, 4)]
    assert [sorted_shelf.get().value for _ in range(4)] == [1, 2, 4, 5]
    assert chosen.items == [5, 1]


@pytest.mark.parametrize("name", ["Resource", "PriorityResource", "PreemptiveResource", "Container", "Store", "FilterStore"])
def test_nothing_has_no_capacity(engine, name):
    with pytest.raises(ValueError, match='"capacity" must be > 0'):
        getattr(engine, name)(engine.Environment(), capacity=0)


def test_capacity_may_change_while_it_is_used(engine):
    env = engine.Environment()
    workers = engine.Resource(env, 1)
    requests = [workers.request() for _ in range(3)]
    workers._capacity = 3
    requests.append(workers.request())  # makes the resource look at the first in line
    assert [request.triggered for request in requests] == [True, True, False, False]
    workers.release(requests[0])
    env.run()
    assert (workers.users, workers.queue, workers.capacity) == (requests[1:3], requests[3:], 3)


def test_a_generator_that_is_thrown_away_gives_nothing_back(engine):
    env = engine.Environment()
    workers = engine.Resource(env)

    def job():
        with workers.request() as request:
            yield request
            yield env.timeout(1)

    steps = job()
    env.process(steps)
    env.run(until=0.5)
    steps.close()
    assert workers.count == 1


# -- what users replace -----------------------------------------------------------------------------------------------------


def test_a_resource_that_keeps_a_record(engine):
    """The recipe of SimPy's documentation."""

    class Monitored(engine.Resource):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.data = []

        def request(self, *args, **kwargs):
            self.data.append((self._env.now, len(self.queue)))
            return super().request(*args, **kwargs)

        def release(self, *args, **kwargs):
            self.data.append((self._env.now, len(self.queue)))
            return super().release(*args, **kwargs)

    env = engine.Environment()
    workers = Monitored(env, capacity=1)

    def job():
        with workers.request() as request:
            yield request
            yield env.timeout(5)

    for _ in range(2):
        env.process(job())
    env.run()
    assert workers.data == [(0, 0), (0, 0), (5, 1), (10, 0)]


def test_methods_replaced_on_an_instance(engine):
    env, seen = engine.Environment(), []
    workers = engine.Resource(env, capacity=1)

    def spied(name, plain):
        def spy(*args):
            seen.append((name, env.now))
            return plain(*args)

        return spy

    for name in ("request", "release", "_do_put"):
        setattr(workers, name, spied(name, getattr(workers, name)))

    def job():
        with workers.request() as request:
            yield request
            yield env.timeout(5)

    env.process(job())
    env.run()
    assert seen == [("request", 0), ("_do_put", 0), ("release", 5)]


def test_a_resource_with_rules_of_its_own(engine):
    """Last come, first served."""

    class Push(engine.resources.base.Put):
        def __init__(self, stack, item):
            self.item = item
            super().__init__(stack)

    class Pop(engine.resources.base.Get):
        pass

    class Stack(engine.resources.base.BaseResource):
        put = engine.core.BoundClass(Push)
        get = engine.core.BoundClass(Pop)

        def __init__(self, env, capacity):
            super().__init__(env, capacity)
            self.items = []

        def _do_put(self, event):
            if len(self.items) < self.capacity:
                self.items.append(event.item)
                event.succeed()

        def _do_get(self, event):
            if self.items:
                event.succeed(self.items.pop())

    env, diary = engine.Environment(), []
    stack = Stack(env, 2)

    def producer():
        for item in "abc":
            yield stack.put(item)
            diary.append((env.now, item))

    def consumer():
        for _ in range(3):
            yield env.timeout(1)
            with stack.get() as claim:
                diary.append((env.now, "got", (yield claim)))

    env.process(producer())
    env.process(consumer())
    env.run()
    assert diary == [(0, "a"), (0, "b"), (1, "got", "b"), (1, "c"), (2, "got", "c"), (3, "got", "a")]


def test_a_queue_of_ones_own(engine):
    class LastFirst(list):
        def append(self, item):
            self.insert(0, item)

    class Stack(engine.Resource):
        PutQueue = LastFirst

    env = engine.Environment()
    stack = Stack(env)
    requests = [stack.request() for _ in range(4)]
    stack.release(requests[0])
    env.run()
    assert [request.triggered for request in requests] == [True, False, False, True]
