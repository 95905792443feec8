"""resilience4j's breaker, in any order of asking, answering and waiting, against a plain and slow model of its rules."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sim.policies.breaker import CLOSED, HALF_OPEN, OPEN, REFUSED, CircuitBreaker, breaker_gate


class Model:
    """The rules of resilience4j, written down plainly: every timer fires, every rate is counted anew."""

    def __init__(self, spec):
        self.spec = spec
        self.now_s = 0.0
        self.changes = []
        self.opens = 0
        self.life = 0  # one for each state that was entered
        self.close()

    def close(self):
        self.state, self.records, self.opens = CLOSED, [], 0
        self.life += 1

    def open(self):
        self.opens += 1
        self.state, self.life = OPEN, self.life + 1
        wait_s = self.spec.open_duration * self.spec.open_multiplier ** (self.opens - 1)
        self.ends_s = self.now_s + min(wait_s, self.spec.max_open_duration)
        self.changes.append((self.now_s, OPEN))

    def half_open(self):
        self.state, self.life = HALF_OPEN, self.life + 1
        self.records, self.left = [], self.spec.half_open_calls
        self.ends_s = self.now_s + (self.spec.half_open_max_wait or math.inf)
        self.changes.append((self.now_s, HALF_OPEN))

    def advance(self, until_s):
        while self.state != CLOSED and self.ends_s <= until_s and (self.state == HALF_OPEN or self.spec.automatic_half_open):
            self.now_s = self.ends_s
            if self.state == OPEN:
                self.half_open()
            else:
                self.open()
        self.now_s = until_s

    def permit(self):
        if self.state == OPEN and self.now_s >= self.ends_s:
            self.half_open()
        if self.state == OPEN or (self.state == HALF_OPEN and self.left == 0):
            return None
        if self.state == HALF_OPEN:
            self.left -= 1
        return self.life

    def back(self, life):
        if life == self.life and self.state == HALF_OPEN:
            self.left += 1

    def settle(self, life, failed, slow):
        if life != self.life:
            return
        self.records.append((math.floor(self.now_s), failed, slow))
        spec = self.spec
        if self.state == HALF_OPEN:
            window, minimum = self.records, min(spec.minimum_calls, spec.half_open_calls)
        elif spec.window_type == "count":
            window, minimum = self.records[-spec.window_size :], min(spec.minimum_calls, spec.window_size)
        else:
            oldest = math.floor(self.now_s) - spec.window_duration + 1
            window, minimum = [record for record in self.records if record[0] >= oldest], spec.minimum_calls
        if len(window) < minimum:
            return
        failure_rate = sum(failed for _, failed, _ in window) / len(window) * 100
        slow_rate = sum(slow for _, _, slow in window) / len(window) * 100
        if failure_rate >= spec.failure_rate_threshold_percent or slow_rate >= spec.slow_call_rate_threshold_percent:
            self.open()
        elif self.state == HALF_OPEN:
            self.close()
            self.changes.append((self.now_s, CLOSED))


class AgainstTheModel(RuleBasedStateMachine):
    """Ask, answer, give back and wait in any order; both must say the same at all times."""

    @initialize(
        spec=st.builds(
            CircuitBreaker,
            window_type=st.sampled_from(["count", "time"]),
            window_size=st.integers(1, 6),
            window_duration=st.integers(1, 4),
            minimum_calls=st.integers(1, 6),
            failure_rate_threshold_percent=st.sampled_from([1, 25, 50, 75, 100]),
            slow_call_duration=st.just(1.0),
            slow_call_rate_threshold_percent=st.sampled_from([25, 50, 100]),
            open_duration=st.sampled_from([0.25, 1, 2.5]),
            open_multiplier=st.sampled_from([1, 2]),
            max_open_duration=st.just(4),
            half_open_calls=st.integers(1, 4),
            half_open_max_wait=st.sampled_from([None, 0.5, 3]),
            automatic_half_open=st.booleans(),
        )
    )
    def begin(self, spec):
        self.gate, self.model = breaker_gate(spec), Model(spec)
        self.out = []
        self.ever = []

    @rule(quarters=st.integers(0, 12))
    def wait(self, quarters):
        self.model.advance(self.model.now_s + quarters / 4)

    @rule()
    def ask(self):
        permit, life = self.gate.permit(self.model.now_s), self.model.permit()
        assert (permit == REFUSED) == (life is None)
        if life is not None:
            self.out.append((permit, life))

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 1000), failed=st.booleans(), slow=st.booleans())
    def answer(self, index, failed, slow):
        permit, life = self.out.pop(index % len(self.out))
        self.gate.settle(permit, not failed, self.model.now_s, 1.25 if slow else 1.0)
        self.model.settle(life, failed, slow)

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 1000))
    def give_back(self, index):
        permit, life = self.out.pop(index % len(self.out))
        self.gate.back(permit)
        self.model.back(life)

    @precondition(lambda self: hasattr(self, "model"))
    @rule()
    def compare(self):
        assert self.gate.state(self.model.now_s) == self.model.state
        assert self.gate.changes == self.model.changes

    def teardown(self):
        if hasattr(self, "model"):
            self.compare()


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
