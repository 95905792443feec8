"""What the compiled kernel holds, and what it lets go; and that nothing of it can crash the interpreter."""

import gc
import subprocess
import sys
import textwrap
import weakref

import pytest
import simpy
from resident import needs_proc, resident_bytes

pytest.importorskip("sim.kernel.core", reason="the kernel was not compiled here")

from sim.kernel import fast

CHUNK, CHUNKS = 10_000, 20


def busy(env, workers, store, number):
    """All that a process can do, some of it unfinished: conditions, interrupts, requests, failures, attributes on events."""
    try:
        with workers.request() as request:
            yield request | env.timeout(0.5)
            yield env.timeout(1.0, value=number)
        event = env.event()
        event.color = "red"
        with store.get() as claim:
            yield env.any_of([event, env.timeout(1), claim])
        if number % 7 == 0:
            raise KeyError(number)
        yield event  # forever, unless somebody interrupts
    except fast.Interrupt:
        yield store.put(number)


def parent(env, workers, store, number):
    child = env.process(busy(env, workers, store, number))
    try:
        yield child | env.timeout(2.5)
        if number % 3 and child.is_alive:
            child.interrupt(number)
        yield child | env.timeout(1)
    except KeyError:
        pass


def one_world(processes, end):
    """A world with that many processes, thrown away at its end: at 2 with all of them on the way, at 4 with the last waits."""
    env = fast.Environment()
    workers, store = fast.Resource(env, processes // 4), fast.Store(env)
    for number in range(processes // 2):
        env.process(parent(env, workers, store, number))
    env.run(until=end)


@needs_proc
def test_memory_stays_flat_over_worlds_that_are_thrown_away_half_way():
    for number in range(6):  # until pools and fragmentation have found their size
        one_world(CHUNK, 2 + 2 * (number % 2))
    gc.collect()
    blocks, objects, in_use = sys.getallocatedblocks(), len(gc.get_objects()), resident_bytes()
    for number in range(CHUNKS):
        one_world(CHUNK, 2 + 2 * (number % 2))
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 500
    assert len(gc.get_objects()) - objects < 100
    assert resident_bytes() - in_use < 12_000_000  # one event per process would be 20 MiB


def test_memory_stays_flat_within_one_world():
    env = fast.Environment()
    workers, store = fast.Resource(env, 100), fast.Store(env)

    def chunk():
        for number in range(1, 3 * CHUNK, 3):  # those which end
            yield env.process(parent(env, workers, store, number))
            store.items.clear()

    env.run(until=env.process(chunk()))
    gc.collect()
    blocks = sys.getallocatedblocks()
    env.run(until=env.process(chunk()))
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 500
    assert len(env._queue) < 20


@pytest.mark.parametrize("resources", [fast, simpy], ids=["ours", "SimPy's resources"])
def test_a_forgotten_environment_is_collected_with_all_that_waits_in_it(resources):
    closed = []

    def waiter(env, workers):
        try:
            with workers.request() as request:
                yield request
                yield env.timeout(100) | env.event()
        finally:
            closed.append(env.now)

    class World(fast.Environment):
        pass

    def build(kind):
        env = kind()
        env.cycle = env
        workers = resources.Resource(env, 2)
        for _ in range(3):
            env.process(waiter(env, workers))
        env.process(waiter(env, workers))  # begins, and one that never begins:
        env.run(until=5)
        env.process(waiter(env, workers))
        env.push(7.0, env.event())
        return weakref.ref(env)

    gc.collect()
    worlds = [build(fast.Environment), build(World)]
    gc.collect()
    assert [world() for world in worlds] == [None, None]
    assert closed == [5] * 8


def test_what_ends_while_an_environment_is_cleared_may_still_use_it():
    seen = []

    def waiter(env):
        try:
            yield env.timeout(100)
        finally:
            env.process(x for x in ())
            env.timeout(3)
            env.event().succeed()
            seen.append((env.now, len(env._queue)))

    env = fast.Environment()
    env.process(waiter(env))
    env.run(until=1)
    del env
    gc.collect()
    assert seen == [(1, 5)]


def in_its_own_process(code):
    """Run code in another interpreter: it must end well, whatever it does to itself."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("ending", ["del first, env; gc.collect()", "env.run()"])
def test_a_chain_of_processes_as_long_as_you_like(ending):
    done = in_its_own_process(f"""
        import gc
        from sim.kernel import fast

        env = fast.Environment()
        gate = env.event()

        def link(previous):
            yield previous

        first = gate
        for _ in range(200_000):
            first = env.process(link(first))
        del link
        env.run()
        gate.succeed()
        gate = None
        {ending}
        print("survived")
        """)
    assert (done.stdout, done.returncode) == ("survived\n", 0), done.stderr[-2000:]


def test_nothing_that_python_can_do_to_the_classes_crashes():
    """Objects that were never initialised, and every attribute and method with arguments of the wrong kind."""
    done = in_its_own_process("""
        import itertools, types
        from sim.kernel import core, fast, resources

        classes = [kind for module in (core, resources) for kind in vars(module).values()
                   if isinstance(kind, type) and kind.__module__ == module.__name__]
        assert len(classes) > 25, classes
        env = core.Environment()

        def poke(thing, values):
            for name in dir(thing):
                if name in ("__class__", "__del__", "run"):
                    continue
                for value in values:
                    for act in (lambda: getattr(thing, name)(), lambda: getattr(thing, name)(value),
                                lambda: getattr(thing, name)(value, value), lambda: getattr(thing, name)(value, value, value),
                                lambda: setattr(thing, name, value), lambda: delattr(thing, name)):
                        try:
                            act()
                        except Exception:
                            pass

        for kind in classes:
            for pause in (None, []):
                try:
                    thing = kind.__new__(kind)
                except TypeError:
                    break
                others = [None, -1, [], env, env.event(), thing, *(bare.__new__(bare) for bare in (core.Event, core.Process))]
                poke(thing, others[:5] if pause is None else others)
                try:
                    repr(thing)
                except Exception:
                    pass
                for _ in range(1000):
                    try:
                        env.step()
                    except core.EmptySchedule:
                        break
                    except Exception:
                        pass
                for method in ("_resume", "_check", "_interrupt", "__exit__", "cancel", "succeed", "interrupt"):
                    for arguments in ((), (thing,), (None, None, None)):
                        try:
                            getattr(kind.__new__(kind), method)(*arguments)
                        except Exception:
                            pass
        print("survived")
        """)
    assert (done.stdout, done.returncode) == ("survived\n", 0), done.stderr[-2000:]
