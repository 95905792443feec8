"""Random models on SimPy, on the compiled kernel, and on the kernel with SimPy's own resources: the same diary, line by line."""

import re

import pytest
import simpy
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sim.kernel.core", reason="the kernel was not compiled here")

from sim.kernel import fast

EVENTS, PROCESSES = 3, 4

delays = st.sampled_from([0, 1, 2, 0.5, 1.0, 1.5])
an_event = st.integers(0, EVENTS - 1)
a_process = st.integers(0, PROCESSES - 1)
waits = st.one_of(
    st.tuples(st.just("event"), an_event), st.tuples(st.just("process"), a_process), st.tuples(st.just("timeout"), delays)
)
nested = st.recursive(waits, lambda inner: st.tuples(st.sampled_from(["any", "all"]), st.lists(inner, max_size=3)), max_leaves=5)
steps = st.one_of(
    st.tuples(st.just("wait"), nested),
    st.tuples(st.just("wait"), waits),
    st.tuples(st.sampled_from(["succeed", "fail", "look"]), an_event),
    st.tuples(st.just("interrupt"), a_process),
    st.tuples(st.just("use"), st.sampled_from(["plain", "priority", "preemptive"]), st.integers(0, 2), delays, delays),
    st.tuples(st.sampled_from(["put", "get"]), st.sampled_from(["store", "sorted", "filter", "tank"]), st.integers(1, 3)),
    st.tuples(st.just("start"), st.lists(st.tuples(st.just("wait"), waits), max_size=2)),
    st.tuples(st.just("raise")),
)
scripts = st.lists(st.tuples(steps, st.booleans()), max_size=6)
models = st.lists(scripts, min_size=PROCESSES, max_size=PROCESSES)


class Model:
    """A random model on one engine; `resources` is where its resources come from."""

    def __init__(self, engine, resources, model):
        self.diary = []
        self.env = env = engine.Environment()
        self.engine = engine
        self.events = [env.event() for _ in range(EVENTS)]
        self.resources = {
            "plain": resources.Resource(env, 1),
            "priority": resources.PriorityResource(env, 1),
            "preemptive": resources.PreemptiveResource(env, 1),
            "store": resources.Store(env, 2),
            "sorted": resources.PriorityStore(env, 2),
            "filter": resources.FilterStore(env, 2),
            "tank": resources.Container(env, 4, init=1),
        }
        self.processes = []
        for number, script in enumerate(model):
            self.processes.append(env.process(self.follow(str(number), script)))

    def write(self, *what):
        self.diary.append((repr(self.env.now), *(re.sub("0x[0-9a-f]+", "0x", str(each)) for each in what)))

    def follow(self, name, script):
        for step, careful in script:
            try:
                self.write(name, step[0], (yield from getattr(self, step[0])(name, *step[1:])))
            except Exception as error:
                self.write(name, step[0], type(error).__name__, error, type(error.__cause__).__name__)
                if not careful:
                    raise
        return name

    def made(self, wait):
        kind, what = wait
        if kind == "timeout":
            return self.env.timeout(what, f"after {what}")
        if kind in ("any", "all"):
            return getattr(self.env, f"{kind}_of")([self.made(each) for each in what])
        return (self.events if kind == "event" else self.processes)[what]

    def wait(self, name, wait):
        value = yield self.made(wait)
        return list(value.values()) if hasattr(value, "todict") else value

    def succeed(self, name, number):
        self.events[number].succeed(f"{name} said so")
        return
        yield

    def fail(self, name, number):
        self.events[number].fail(ValueError(f"{name} broke it"))
        return
        yield

    def look(self, name, number):
        callbacks = self.events[number].callbacks
        return callbacks and [callback.__name__ for callback in callbacks]
        yield

    def interrupt(self, name, number):
        self.processes[number].interrupt(name)
        return
        yield

    def use(self, name, which, priority, patience, hold):
        resource = self.resources[which]
        with resource.request(*(() if which == "plain" else (priority,))) as request:
            value = yield request | self.env.timeout(patience)
            self.write(name, request in value, request.usage_since, resource.count, len(resource.queue))
            if request in value:
                yield self.env.timeout(hold)

    def put(self, name, which, amount):
        with self.resources[which].put(amount) as claim:
            yield claim | self.env.timeout(2)
            return claim.triggered

    def get(self, name, which, amount):
        resource = self.resources[which]
        arguments = {"tank": (amount,), "filter": (lambda item: item >= amount,)}.get(which, ())
        with resource.get(*arguments) as claim:
            yield claim | self.env.timeout(2)
            return claim.triggered and claim.value

    def start(self, name, script):
        process = self.env.process(self.follow(f"{name}'s child", [(step, True) for step in script]))
        return (yield process)

    def raise_(self, name):
        raise KeyError(name)
        yield

    def run(self):
        """Run it in pieces, with errors on the way, and return its diary."""
        for until in (1, self.events[0], 2.5, *[None] * 12):
            try:
                self.write("run", self.env.run(until))
            except Exception as error:
                self.write("run", type(error).__name__, error)
        self.write("end", self.env.peek(), len(self.env._queue), next(self.env._eid))
        for event in (*self.events, *self.processes):
            self.write(event, event.triggered, event.processed, event.defused, event.callbacks and len(event.callbacks))
        self.write("left", [len(r.put_queue) for r in self.resources.values()], self.resources["tank"].level)
        return self.diary


setattr(Model, "raise", Model.raise_)


@settings(max_examples=400, deadline=None)
@given(models)
def test_the_same_diary(model):
    expected = Model(simpy, simpy, model).run()
    assert Model(fast, fast, model).run() == expected
    assert Model(fast, simpy, model).run() == expected
    for line in expected:
        if len(line) > 3 and line[3] in ("Interrupt", "ValueError", "KeyError", "RuntimeError"):
            note(f"saw {line[3]}")
