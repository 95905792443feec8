"""Tasks, replies and pools: short diaries on SimPy's clock."""

import gc
import weakref

import pytest
import simpy

from sim.errors import ScenarioError
from sim.kernel.tasks import TIMED_OUT, Pool, Reply, Tasks


@pytest.fixture
def env():
    return simpy.Environment()


@pytest.fixture
def tasks(env):
    return Tasks(env)


def test_a_task_starts_in_place_and_sleeps(env, tasks):
    diary = []

    def sleeper():
        diary.append(("start", env.now))
        yield 1.5
        diary.append(("woke", env.now))
        yield 0.5
        diary.append(("end", env.now))

    task = tasks.start(sleeper())
    assert diary == [("start", 0)]
    env.run()
    assert diary == [("start", 0), ("woke", 1.5), ("end", 2.0)]
    assert not task.alive


def test_tasks_and_processes_share_one_clock_in_order_of_scheduling(env, tasks):
    diary = []

    def task():
        yield 1.0
        diary.append("task")

    def process():
        yield env.timeout(1.0)
        diary.append("process")

    env.process(process())  # its first event is in the heap, but it reaches its timeout only when the clock runs
    tasks.start(task())
    env.run()
    assert diary == ["task", "process"]


def test_a_reply_wakes_its_waiter_with_the_value_once(env, tasks):
    reply, diary = Reply(tasks), []

    def waiter():
        diary.append((yield reply))

    tasks.start(waiter())
    reply.settle("first")
    reply.settle("second")
    assert diary == ["first"]
    assert reply.value == "first"


def test_a_reply_settled_before_it_is_waited_for_answers_at_once(env, tasks):
    reply, diary = Reply(tasks), []
    reply.settle(7)

    def waiter():
        diary.append((yield from reply.within(3.0)))

    tasks.start(waiter())
    assert diary == [7]
    env.run()
    assert env.now == 0


@pytest.mark.parametrize(("answered_at", "expected"), [(0.5, ("yes", 0.5)), (2.0, (TIMED_OUT, 1.0))])
def test_waiting_within_a_limit(env, tasks, answered_at, expected):
    reply, diary = Reply(tasks), []

    def waiter():
        answer = yield from reply.within(1.0)
        diary.append((answer, env.now))

    def answerer():
        yield answered_at
        reply.settle("yes")

    tasks.start(waiter())
    tasks.start(answerer())
    env.run()
    assert diary == [expected]


def test_killing_runs_finally_and_nothing_else(env, tasks):
    diary = []

    def victim():
        try:
            yield 1.0
            diary.append("survived")
        finally:
            diary.append("finally")

    task = tasks.start(victim())
    task.kill()
    task.kill()
    env.run()
    assert diary == ["finally"]


def test_a_task_waits_for_simpy_events_and_gets_failures_as_exceptions(env, tasks):
    diary = []

    def failing():
        yield env.timeout(1)
        raise KeyError("broken")

    def waiter():
        diary.append((yield env.timeout(2, value="tick")))
        try:
            yield env.process(failing())
        except KeyError as exc:
            diary.append(exc.args[0])
        yield 0.25
        diary.append(env.now)

    tasks.start(waiter())
    env.run()
    assert diary == ["tick", "broken", 3.25]


def test_an_exception_in_a_task_reaches_the_caller_with_the_users_line(env, tasks):
    def broken():
        yield 1.0
        raise ZeroDivisionError("the user's line")

    tasks.start(broken())
    with pytest.raises(ZeroDivisionError, match="the user's line") as caught:
        env.run()
    assert caught.traceback[-1].name == "broken"


def test_yielding_something_else_says_what_is_allowed(env, tasks):
    def confused():
        yield "a string"

    with pytest.raises(TypeError, match="yield a float"):
        tasks.start(confused())


def test_simultaneous_wake_ups_do_not_nest(env, tasks):
    pool = Pool(tasks, 1, float("inf"))
    served = []

    def instant(i):
        if not pool.take():
            yield pool.line_up()
        served.append(i)
        pool.free()

    def holder():
        assert pool.take()
        yield 1.0
        pool.free()

    tasks.start(holder())
    for i in range(20_000):  # far deeper than Python's stack, if each release resumed the next in place
        tasks.start(instant(i))
    env.run()
    assert served == list(range(20_000))
    assert pool.busy == pool.waiting == 0


def test_a_pool_serves_in_order_and_skips_those_who_left(env, tasks):
    pool, diary = Pool(tasks, 1, 3), []

    def visitor(name, patience):
        if not pool.take():
            ticket = pool.line_up()
            if ticket is None:
                diary.append((name, "full"))
                return
            yield from ticket.within(patience)
            if not ticket.granted:
                pool.leave(ticket)
                diary.append((name, "left", env.now))
                return
        diary.append((name, "served", env.now))
        yield 1.0
        pool.free()

    for name, patience in [("a", 9.0), ("b", 0.5), ("c", 9.0), ("d", 9.0), ("e", 9.0)]:
        tasks.start(visitor(name, patience))
    env.run()
    assert diary == [
        ("a", "served", 0),
        ("e", "full"),
        ("b", "left", 0.5),
        ("c", "served", 1.0),
        ("d", "served", 2.0),
    ]
    assert pool.busy_worker_s == 3.0


def test_ended_tasks_leave_nothing_behind(env, tasks):
    class Canary:
        pass

    def holder(canary):
        yield 1.0
        del canary

    canary = Canary()
    seen = weakref.ref(canary)
    task = tasks.start(holder(canary))
    del canary
    env.run()
    del task
    gc.collect()
    assert seen() is None


def test_a_circle_that_takes_no_time_ends_with_a_message(env, tasks, monkeypatch):
    monkeypatch.setattr("sim.kernel.tasks._MOST_AT_ONCE", 1000)
    players = {"ping": Reply(tasks), "pong": Reply(tasks)}

    def player(me, other):
        while True:
            yield players[me]
            players[me] = Reply(tasks)
            players[other].settle("ball")

    tasks.start(player("ping", "pong"))
    tasks.start(player("pong", "ping"))
    with pytest.raises(ScenarioError, match="the clock stands still at 0 s"):
        players["ping"].settle("ball")
