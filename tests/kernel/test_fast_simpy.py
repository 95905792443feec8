"""The compiled kernel in SimPy's place: short stories, most of them told to both."""

import math
import signal
import traceback
import weakref
from functools import wraps

import pytest
import simpy

pytest.importorskip("sim.kernel.core", reason="the kernel was not compiled here")

from sim.kernel import core, fast
from sim.kernel.entry import Entry


@pytest.fixture(params=["SimPy", "ours"])
def engine(request):
    return simpy if request.param == "SimPy" else fast


@pytest.fixture
def env():
    return fast.Environment()


def test_fast_has_all_of_simpys_names():
    assert fast.COMPILED
    assert set(fast.__all__) - {"COMPILED"} >= set(simpy.__all__)
    ours = {name for name in simpy.__all__ if getattr(fast, name) is not getattr(simpy, name)}
    assert set(simpy.__all__) - ours == {"Interrupt", "PriorityItem", "SimPyException"}  # values, the same in both
    assert fast.resources.resource.Request is not simpy.resources.resource.Request
    assert fast.events.PENDING is simpy.events.PENDING


# -- the clock -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "delays", "shown"),
    [(0, [1, 2], "0 1 3"), (0, [1, 0.5, 1], "0 1 1.5 2.5"), (5, [2], "5 7"), (1.0, [1], "1.0 2.0"), (-3, [1, 2, 1], "-3 -2 0 1")],
)
def test_now_is_an_int_when_simpys_is(engine, start, delays, shown):
    env, diary = engine.Environment(start), []

    def walker():
        diary.append(env.now)
        for delay in delays:
            yield env.timeout(delay)
            diary.append(env.now)

    env.process(walker())
    env.run()
    assert " ".join(map(repr, diary)) == shown


def test_an_early_int_stays_an_int_among_floats(engine):
    env, diary = engine.Environment(), []

    def sleeper(delay):
        yield env.timeout(delay)
        diary.append(repr(env.now))

    for delay in (2, 0.5, 1, True):
        env.process(sleeper(delay))
    env.run(until=3)
    assert diary == ["0.5", "1", "1", "2"]
    assert repr(env.now) == "3"
    env.run(until=3.5)
    assert repr(env.now) == "3.5"


def test_whole_times_that_a_double_cannot_hold_are_refused():
    with pytest.raises(OverflowError, match=r"9007199254740994 is beyond 2\*\*53.*larger units"):
        core.Environment(2**53 + 2)
    env = core.Environment(2**53)
    with pytest.raises(OverflowError, match="no longer exact"):
        env.timeout(2)
    env.timeout(2.0)  # a float is as exact as with SimPy


@pytest.mark.parametrize("word", ["soon", None, 1j])
def test_a_time_that_is_no_number_is_refused_by_name(word):
    with pytest.raises((TypeError, ValueError)):
        core.Environment(word)
    with pytest.raises((TypeError, ValueError)):
        core.Environment().timeout(word)


def test_infinity_and_nothing_left(engine):
    env = engine.Environment()
    assert env.peek() is engine.core.Infinity
    with pytest.raises(engine.core.EmptySchedule):
        env.step()
    never = env.timeout(math.inf)
    env.timeout(1)
    env.run(until=10)
    assert (env.now, never.processed) == (10, False)


# -- order -----------------------------------------------------------------------------------------------------------------


def test_simultaneous_events_come_by_priority_then_in_the_order_of_scheduling(engine):
    env, diary = engine.Environment(), []

    def note(name, priority, delay):
        event = env.event()
        event._ok, event._value = True, name
        event.callbacks.append(lambda event: diary.append(event.value))
        env.schedule(event, priority, delay)

    for name, priority in [("d", 1), ("e", 1), ("b", 0), ("c", 0), ("f", 2), ("a", -7)]:
        note(name, priority, 1)
    note("now", 1, 0)
    note("0", 0, 0)
    env.run()
    assert diary == ["0", "now", "a", "b", "c", "d", "e", "f"]


def test_a_clock_that_was_set_back_keeps_the_order(engine):
    env, diary = engine.Environment(10), []

    def note(name, delay):
        event = env.event()
        event._ok, event._value = True, name
        event.callbacks.append(lambda event: diary.append((env.now, event.value)))
        env.schedule(event, 1, delay)

    note("10", 0)
    note("7", -3)
    env.step()
    note("7 again", 0)
    note("6", -1)
    env.run()
    assert diary == [(7, "7"), (6, "6"), (7, "7 again"), (10, "10")]


def test_priorities_are_small_ints():
    with pytest.raises(ValueError, match="from -32768 to 32767, not 99999"):
        core.Environment().schedule(core.Environment().event(), 99999)


def test_the_queue_can_be_read_and_counts_like_simpys(engine):
    env = engine.Environment()

    def worker():
        yield env.timeout(2)

    env.timeout(3)
    process = env.process(worker())
    env.timeout(0)
    assert [entry[:3] for entry in sorted(env._queue)] == [(0, 0, 1), (0, 1, 2), (3, 1, 0)]
    assert env._queue[0][3] is process.target
    assert repr(process.target).startswith("<Initialize() object at")
    assert next(env._eid) == 3


# -- callbacks, seen and unseen ---------------------------------------------------------------------------------------------


def test_callbacks_can_be_looked_at_at_any_time(engine):
    env, diary = engine.Environment(), []
    event = env.event()

    def waiter(name):
        diary.append((name, (yield event)))

    first, _ = env.process(waiter("first")), env.process(waiter("second"))
    env.run()
    event.callbacks.insert(0, lambda event: diary.append(("callback", event.callbacks)))
    assert [callback.__name__ for callback in event.callbacks[1:]] == ["_resume", "_resume"]
    assert event.callbacks[1] == first._resume
    env.process(waiter("third"))
    env.run()
    event.succeed(7)
    env.run()
    assert diary == [("callback", None), ("first", 7), ("second", 7), ("third", 7)]
    assert event.callbacks is None


@pytest.mark.parametrize("looked", [False, True])
def test_an_interrupted_process_waits_no_longer(engine, looked):
    env, diary = engine.Environment(), []
    event = env.event()

    def waiter(name):
        try:
            diary.append((name, (yield event)))
        except engine.Interrupt as interrupt:
            diary.append((name, str(interrupt), type(interrupt.__cause__).__name__))
            yield env.timeout(5)

    waiters = [env.process(waiter(name)) for name in "abc"]
    env.run()
    if looked:
        assert len(event.callbacks) == 3
    waiters[1].interrupt("enough")
    assert waiters[1].target is event
    env.run(until=1)
    event.succeed("value")
    env.run()
    assert diary == [("b", "Interrupt('enough')", "Interrupt"), ("a", "value"), ("c", "value")]


def test_a_run_that_stops_at_an_event_leaves_the_other_waiters_for_later(engine):
    env, diary = engine.Environment(), []
    event = env.timeout(1, "value")

    def waiter(name):
        yield event
        diary.append(name)

    env.process(waiter("before"))
    env.step()
    env.process(waiter("middle"))
    env.step()
    assert env.run(until=event) == "value"
    assert (diary, event.processed, event.callbacks) == (["before", "middle"], False, [])
    env.process(waiter("after"))
    env.run()
    assert diary == ["before", "middle", "after"]


def test_waiters_behind_the_stop_are_not_lost(engine):
    env, diary = engine.Environment(), []
    event = env.event()

    def waiter():
        yield event
        diary.append(env.now)

    def run_on_in_between():
        env.process(waiter())
        yield env.timeout(1)
        event.succeed()

    env.process(run_on_in_between())
    env.run(until=event)  # the process asks for the event after the run has
    assert diary == []
    env.run()
    assert diary == [1]


def test_the_value_of_a_condition_is_made_once(engine):
    env = engine.Environment()
    first, second = env.timeout(1), env.timeout(2)
    condition = first | second
    value = env.run(until=condition)
    env.run()
    assert condition.value is value
    assert (list(value), second.processed) == ([first], True)


def test_users_may_put_attributes_on_events_and_weak_references_to_them(env):
    request = fast.Resource(env).request()
    for event in (env.event(), env.timeout(1), env.process(x for x in ()), env.event() & env.event(), request):
        with pytest.raises(AttributeError):
            event.color  # noqa: B018
        event.color = "red"
        assert (event.color, vars(event)) == ("red", {"color": "red"})
        assert weakref.ref(event)() is event


# -- failures ---------------------------------------------------------------------------------------------------------------


def test_an_uncaught_failure_names_the_users_line(env):
    def inner():
        yield env.timeout(1)
        raise ZeroDivisionError("the user's line")

    def outer():
        yield env.process(inner())

    env.process(outer())
    with pytest.raises(ZeroDivisionError, match="the user's line") as caught:
        env.run()
    cause = caught.value.__cause__.__cause__
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)] == ["inner"]
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise ZeroDivisionError("the user\'s line")' in shown
    assert "yield env.process(inner())" in shown


def test_an_exception_that_cannot_be_copied_ends_the_process_with_the_reason(engine):
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    env = engine.Environment()
    event = env.event()

    def waiter():
        yield event

    process = env.process(waiter())
    event.fail(OddError(1, 2))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        env.run()
    assert not process.is_alive


@pytest.mark.parametrize("nonsense", [None, 5, "text"])
def test_an_invalid_yield_names_the_process_and_its_line(engine, nonsense):
    env = engine.Environment()

    def confused():
        yield nonsense  # here

    env.process(confused())
    with pytest.raises(RuntimeError, match=r"in confused\n    yield nonsense  # here\nInvalid yield value"):
        env.run()


def test_conditions_nested_too_deep_are_an_error_not_a_crash(engine):
    env = engine.Environment()
    condition = trigger = env.event()
    for _ in range(15_000):
        condition |= env.event()
    trigger.succeed()
    with pytest.raises(RecursionError):
        env.run()


def test_processing_what_was_never_triggered_says_so(engine):
    env = engine.Environment()
    env.schedule(env.event())
    with pytest.raises(AttributeError, match="'Event' object has no attribute '_ok'"):
        env.run()


def test_an_event_scheduled_twice_is_processed_once(engine):
    env = engine.Environment()
    event = env.event().succeed()
    env.schedule(event)
    env.step()
    with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
        env.step()


def test_a_process_of_another_kind_of_generator(engine):
    class Steps:  # all that SimPy asks of a generator
        def __init__(self):
            self.left = 3

        def send(self, value):
            self.left -= 1
            if not self.left:
                raise StopIteration("done")
            return env.timeout(1)

        def throw(self, exception):
            raise StopIteration((exception.cause, "thrown"))

    env = engine.Environment()
    assert env.run(until=env.process(Steps())) == "done"
    process = env.process(Steps())
    env.step()
    process.interrupt("stop")
    assert env.run(until=process) == ("stop", "thrown")


# -- what users replace -----------------------------------------------------------------------------------------------------


def test_step_can_be_wrapped_for_tracing(engine):
    """The recipe of SimPy's documentation."""
    env, seen = engine.Environment(), []

    def traced(step):
        @wraps(step)
        def tracing_step():
            if env._queue:
                time, priority, number, event = env._queue[0]
                seen.append((time, priority, number, type(event).__name__))
            return step()

        return tracing_step

    env.step = traced(env.step)

    def process():
        yield env.timeout(1)

    env.process(process())
    env.run(until=2)
    assert seen == [(0, 0, 0, "Initialize"), (1, 1, 2, "Timeout"), (1, 1, 3, "Process"), (2, 0, 1, "Event")]
    del env.step
    env.timeout(1)
    env.run()
    assert len(seen) == 4


def test_a_class_may_change_after_its_instances_were_made(engine):
    class World(engine.Environment):
        pass

    def step(self):
        steps.append(self.now)
        super(World, self).step()

    env, steps = World(), []
    env.timeout(2)
    World.step = step
    env.run()
    assert steps == [0, 2]


@pytest.mark.parametrize("on_instance", [False, True])
def test_schedule_can_be_replaced(engine, on_instance):
    seen = []

    class Watched(engine.Environment):
        def schedule(self, event, priority=1, delay=0):
            seen.append((type(event).__name__, priority, delay))
            super().schedule(event, priority, delay)

    env = engine.Environment() if on_instance else Watched()
    if on_instance:
        plain = env.schedule

        def schedule(event, priority=1, delay=0):
            seen.append((type(event).__name__, priority, delay))
            plain(event, priority, delay)

        env.schedule = schedule

    def worker():
        with engine.Resource(env).request() as request:
            yield request
        yield env.timeout(2)

    process = env.process(worker())
    env.timeout(1).callbacks.append(lambda _: process.interrupt())
    with pytest.raises(engine.Interrupt):
        env.run(until=9)
    names = ["Initialize", "Timeout", "Event", "Request", "Release", "Timeout", "Interruption", "Process"]
    assert seen == list(zip(names, [0, 1, 0, 1, 1, 1, 0, 1], [0, 1, 9, 0, 0, 2, 0, 0], strict=True))


def test_subclasses_of_events_and_processes(engine):
    class Alarm(engine.Event):
        def __init__(self, env, name):
            super().__init__(env)
            self.name = name
            self.callbacks.append(self.ring)
            self.rung = False

        def ring(self, event):
            self.rung = True

        def _desc(self):
            return f"Alarm({self.name})"

    class Named(engine.Process):
        @property
        def name(self):
            return "named"

    env = engine.Environment()
    alarm = Alarm(env, "fire")

    def waiter():
        return (yield alarm)

    process = Named(env, waiter())
    assert repr(process).startswith("<Named(named) object")
    assert repr(alarm).startswith("<Alarm(fire) object")
    alarm.succeed(3)
    assert (env.run(process), alarm.rung, isinstance(alarm, engine.Event)) == (3, True, True)


def test_a_subclass_that_forgets_its_base_says_so(env):
    class Forgetful(fast.Event):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match=r"Forgetful has no environment: call super\(\).__init__\(env\)"):
        Forgetful().succeed()


# -- both worlds in one environment -----------------------------------------------------------------------------------------


def test_instances_pass_as_simpys(env):
    store = fast.Store(env)
    made = {
        simpy.Environment: env,
        simpy.Timeout: env.timeout(1),
        simpy.Process: env.process(x for x in ()),
        simpy.AnyOf: env.any_of([env.event()]),
        simpy.Store: store,
        simpy.resources.store.StorePut: store.put(1),
    }
    for kind, instance in made.items():
        assert isinstance(instance, kind)
        assert not isinstance(instance, simpy.Container)
    assert isinstance(made[simpy.Timeout], simpy.Event)
    assert not isinstance(env.event(), simpy.Timeout)


def test_simpys_own_events_live_in_our_environment(env):
    diary = []
    theirs, failing = simpy.Event(env), simpy.Event(env)

    def waiter():
        diary.append((yield theirs))
        diary.append((yield theirs))  # processed by now
        try:
            yield failing
        except KeyError as error:
            diary.append(repr(error))
        yield simpy.Timeout(env, 1)
        diary.append(env.now)

    def their_waiter():
        diary.append(("theirs", (yield env.timeout(1, "ours"))))

    env.process(waiter())
    simpy.Process(env, their_waiter())
    theirs.succeed("theirs")
    failing.fail(KeyError("x"))
    assert env.run(until=simpy.Timeout(env, 3, "end")) == "end"
    assert diary == ["theirs", "theirs", "KeyError('x')", ("theirs", "ours"), 1]
    simpy.Event(env).fail(ValueError("nobody cares"))
    with pytest.raises(ValueError, match="nobody cares"):
        env.run()


@pytest.mark.parametrize("both", [lambda a, b: a & b, lambda a, b: b & a, lambda a, b: a.env.all_of([b, a])])
def test_conditions_mix_both_kinds(env, both):
    ours, theirs = env.timeout(1, "ours"), simpy.Timeout(env, 2, "theirs")
    nested = both(ours, theirs) | env.timeout(9, "late")
    value = env.run(until=nested)
    assert env.now == 2
    assert {event: event.value for event in value} == {ours: "ours", theirs: "theirs"}
    either = env.timeout(1) | simpy.Event(env)
    assert len(env.run(until=either).todict()) == 1


def test_interrupting_a_process_that_waits_for_simpys_event(env):
    theirs, diary = simpy.Event(env), []

    def waiter():
        try:
            yield theirs
        except simpy.Interrupt as interrupt:
            diary.append(interrupt.cause)

    process = env.process(waiter())
    env.run()
    process.interrupt("now")
    env.run()
    assert (diary, theirs.callbacks) == (["now"], [])


def test_events_of_two_environments_do_not_mix(engine):
    one, two = engine.Environment(), engine.Environment()
    with pytest.raises(ValueError, match="not allowed to mix events from different environments"):
        one.event() | two.event()


def test_our_events_do_not_live_in_simpys_environment():
    with pytest.raises(TypeError, match=r"expected sim\.kernel\.core\.Environment, got"):
        fast.Event(simpy.Environment())


# -- entries: what the simulator's own tasks are ----------------------------------------------------------------------------


def test_entries_fire_at_absolute_times_in_the_common_order(env):
    diary = []

    class Note(Entry):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def fire(self):
            diary.append((env.now, self.name))
            if self.name == "again":
                env.push(env.now, Note("at once"))

    env.push(2.0, Note("a"))
    env.timeout(2.0).callbacks.append(lambda _: diary.append((env.now, "timeout")))
    env.push(2.0, Note("again"))
    env.push(1.5, Note("early"))
    env._now = -1
    env.push(0.0, Note("zero"))
    env.push(-0.0, Note("the other zero"))
    env.run()
    assert diary[:2] == [(0, "zero"), (0, "the other zero")]
    assert diary[2:] == [(1.5, "early"), (2.0, "a"), (2.0, "timeout"), (2.0, "again"), (2.0, "at once")]


def test_ctrl_c_reaches_a_loop_that_runs_no_python_code(env):
    def stop(*_):
        raise KeyboardInterrupt

    def interrupted_after(delay_s, run):
        signal.setitimer(signal.ITIMER_REAL, delay_s)
        run()

    for _ in range(300_000):
        env.timeout(1.0)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(0.001, env.run)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert env.peek() == 1.0  # it stopped on the way
