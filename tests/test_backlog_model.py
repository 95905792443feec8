"""The gate of a queue against a plain model of it: lists that are searched, and no clever structure."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sim.policies.backlog import DEAD, DROPPED, EXPIRED, Backlog, BacklogGate
from sim.policies.backlog_lines import Item

RULES = st.fixed_dictionaries(
    {"order": st.sampled_from(["fifo", "priority", "per_key"]), "requeue": st.sampled_from(["tail", "head"])},
    optional={
        "capacity": st.integers(1, 3),
        "overflow": st.sampled_from(["reject", "drop_head"]),
        "time_to_live": st.sampled_from([3.0, 8.0]),
        "delay": st.sampled_from([0.0, 2.0]),
        "max_deliveries": st.integers(1, 3),
        "redelivery_delay": st.sampled_from([1.0, 4.0]),
        "visibility_timeout": st.sampled_from([2.0, 6.0]),
        "max_unacknowledged": st.integers(1, 3),
        "late": st.booleans(),
    },
)


class Plain:
    """One message in the model."""

    def __init__(self, entry: Item, place: int) -> None:
        self.entry, self.place = entry, place
        self.state, self.deliveries, self.until_s, self.expires_s = "ready", 0, inf, inf
        self.turn = 0  # when it began to wait for `until_s`, in the order of events


class QueueMachine(RuleBasedStateMachine):
    """Publishes, deliveries and whatever can become of them, at random, with a clock that moves on."""

    @initialize(rules=RULES)
    def begin(self, rules: dict[str, Any]) -> None:
        late = rules.pop("late", False)
        if late and "visibility_timeout" in rules:
            rules["late_acknowledge"] = "accepted"
        if rules["order"] == "per_key":
            rules.pop("overflow", None)
        self.spec = Backlog(**rules)
        self.gate = BacklogGate(self.spec)
        self.now_s = 0.0
        self.places = 0
        self.all: list[Plain] = []
        self.permits: list[tuple[Plain, int]] = []  # every delivery that ever was
        self.ended: dict[Item, str] = {}

    def place(self) -> int:
        self.places += 1
        return self.places

    def wait(self, one: Plain, state: str, seconds: float) -> None:
        one.state, one.until_s, one.turn = state, self.now_s + seconds, self.place()

    # --- the model ----------------------------------------------------------------------------------------------------

    def of(self, state: str) -> list[Plain]:
        return [one for one in self.all if one.state == state]

    def end(self, one: Plain, reason: str) -> None:
        assert one.entry not in self.ended, "it ends once"
        self.ended[one.entry] = reason
        self.all.remove(one)

    def line_up(self, one: Plain, *, restored: bool) -> None:
        limit = inf if self.spec.capacity == "unbounded" else self.spec.capacity
        if not restored:
            one.place = self.place()
            if self.spec.overflow == "drop_head" and len(self.of("ready")) >= limit:
                self.end(self.next_one(ignore_limit=True), DROPPED)
        one.state, one.until_s = "ready", inf

    def next_one(self, *, ignore_limit: bool = False) -> Plain | None:
        limit = inf if self.spec.max_unacknowledged == "unlimited" else self.spec.max_unacknowledged
        if len(self.of("out")) >= limit and not ignore_limit:
            return None
        ready = self.of("ready")
        if self.spec.order == "per_key":
            busy = {one.entry.group for one in self.all if one.state in ("out", "paused") and one.entry.group >= 0}
            ready = [one for one in ready if one.entry.group not in busy]
        rank = (lambda one: (one.entry.rank, one.place)) if self.spec.order == "priority" else (lambda one: one.place)
        return min(ready, key=rank, default=None)

    def come_back(self, one: Plain, *, restored: bool, counted: bool = True) -> None:
        limit = inf if self.spec.max_deliveries == "unlimited" else self.spec.max_deliveries
        if counted and one.deliveries >= limit:
            self.end(one, DEAD)
        elif one.expires_s <= self.now_s:
            self.end(one, EXPIRED)
        else:
            self.line_up(one, restored=restored or self.spec.order == "per_key")

    def told(self, ended: list[tuple[Item, str]], before: dict[Item, str]) -> None:
        """What the gate says has ended is what has ended in the model."""
        assert len(dict(ended)) == len(ended)
        assert dict(ended) == {entry: reason for entry, reason in self.ended.items() if entry not in before}

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(group=st.integers(-1, 2), rank=st.integers(0, 2))
    def publish(self, group: int, rank: int) -> None:
        limit = inf if self.spec.capacity == "unbounded" else self.spec.capacity
        room = self.spec.overflow == "drop_head" or len(self.of("ready")) < limit
        assert self.gate.admits(0) == room
        if not room:
            return
        entry, before = Item(group, rank), dict(self.ended)
        one = Plain(entry, -1)
        if self.spec.time_to_live is not None:
            one.expires_s = self.now_s + self.spec.time_to_live
        if self.spec.delay:
            self.wait(one, "delayed", self.spec.delay)
            self.all.append(one)
        else:
            self.line_up(one, restored=False)
            self.all.append(one)
        self.told(self.gate.accept(entry, self.now_s), before)

    @rule()
    def deliver(self) -> None:
        expected, entry = self.next_one(), self.gate.take(self.now_s)
        assert entry is (None if expected is None else expected.entry)
        if expected is None:
            return
        expected.deliveries += 1
        self.wait(expected, "out", inf if self.spec.visibility_timeout is None else self.spec.visibility_timeout)
        assert entry is not None
        assert entry.deliveries == expected.deliveries
        self.permits.append((expected, entry.era))

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), how=st.sampled_from(["acknowledge", "refuse", "give_back"]))
    def settle(self, data: Any, how: str) -> None:
        one, era = data.draw(st.sampled_from(self.permits))
        before = dict(self.ended)
        current = one in self.all and one.state == "out" and one.deliveries == era
        if how == "acknowledge":
            counts = current or (one in self.all and self.spec.late_acknowledge == "accepted")
            assert self.gate.acknowledge(one.entry, era) == counts
            if counts:
                self.ended[one.entry] = "done"
                self.all.remove(one)
            return
        if current and how == "refuse":
            limit = inf if self.spec.max_deliveries == "unlimited" else self.spec.max_deliveries
            if one.deliveries >= limit:
                self.end(one, DEAD)
            else:
                assert isinstance(self.spec.redelivery_delay, float)
                self.wait(one, "paused", self.spec.redelivery_delay)
        elif current:
            self.come_back(one, restored=True)
        self.told(getattr(self.gate, how)(one.entry, era, self.now_s), before)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while (
            due_s := min((min(one.until_s, one.expires_s if one.state != "out" else inf) for one in self.all), default=inf)
        ) <= until_s:
            assert self.gate.next_s <= due_s
            self.now_s, before = due_s, dict(self.ended)
            for one in [one for one in self.all if one.state != "out" and one.expires_s <= due_s]:
                self.end(one, EXPIRED)
            for state in ("delayed", "paused", "out"):
                waiting = sorted((one for one in self.of(state) if one.until_s <= due_s), key=lambda one: one.turn)
                for one in waiting:
                    if one not in self.all:
                        continue
                    if state == "delayed":
                        self.line_up(one, restored=False)
                    else:
                        self.come_back(one, restored=self.spec.requeue == "head", counted=state == "out")
            self.told(self.gate.due(due_s), before)
        self.now_s = until_s

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "gate"):
            assert self.gate.ready == len(self.of("ready"))
            assert self.gate.unacknowledged == len(self.of("out"))
            assert self.gate.stored == len(self.all)


QueueMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None, derandomize=True)
TestQueue = QueueMachine.TestCase
