"""Stores of payloads in motion: what a claim check puts there and a consumer gets."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.laws import Sampler, sampler
from sim.records import ERROR, OK, UNREACHABLE
from sim.runtime.messages import Message
from sim.runtime.steps import Plan, Runnable
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.world import World
    from sim.scenario.messaging.stores import Store as StoreSpec

_PUT, _GET = salt("store", "put"), salt("store", "get")


class Store:
    """One store: transfers go on beside each other."""

    def __init__(self, world: World, name: str, spec: StoreSpec) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self.busy = 0  # transfers under way
        self.slow_factors: list[float] = []  # of active faults; they multiply
        self._put, self._get = sampler(spec.put), sampler(spec.get)
        self._bandwidth = inf if spec.bandwidth == "unlimited" else spec.bandwidth
        self._outages = 0
        self._transferred_s = 0.0
        self._transfers = 0
        self._plans: dict[Plan, Plan] = {}

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self._outages == 0

    def put(self, context: Context, bits: int, size: float) -> Steps:
        """Steps of a put of `size` bytes: OK, or UNREACHABLE."""
        return self._transfer(context, self._put, child(bits, _PUT), size)

    def get(self, context: Context, message: Message) -> Steps:
        """Steps of the get of a message's payload: OK; UNREACHABLE; ERROR if it is there no more."""
        lives_s = self.spec.time_to_live
        if lives_s is not None and self.world.now >= message.published_s + lives_s:
            return ERROR
        return (yield from self._transfer(context, self._get, child(context.key, _GET), message.payload_bytes))

    def _transfer(self, context: Context, law: Sampler, bits: int, size: float) -> Steps:
        if not self.up:
            return UNREACHABLE
        took_s = law.draw(bits) + size / self._bandwidth
        if self.slow_factors:
            took_s *= prod(self.slow_factors)
        self.busy += 1
        self._transfers += 1
        began_s = self.world.now
        try:
            if took_s > 0:
                yield took_s
        finally:
            self.busy -= 1
            self._transferred_s += self.world.now - began_s
        context.service_s += took_s
        return OK if self.up else UNREACHABLE

    def plan(self, plan: Plan) -> Plan:
        """The plan of an operation that gets its payload first."""
        found = self._plans.get(plan)
        if found is None:
            found = self._plans[plan] = plan.beginning_with(GetStep(self))
        return found

    def outage(self) -> Callable[[], None]:
        """Go down; what is there is kept. Return how to recover."""
        self._outages += 1

        def recover() -> None:
            self._outages -= 1

        return recover

    def spent(self) -> tuple[float, int]:
        """Seconds of transfers so far, and their number."""
        return self._transferred_s, self._transfers

    def __repr__(self) -> str:
        return f"<Store {self.name} {self.busy} transfers>"


class GetStep(Runnable):
    """Get the payload of the message that a visit brings."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(self, replica: Replica, context: Context) -> Steps:
        """Get it; what fails ends the operation."""
        message = context.stamp
        assert isinstance(message, Message)  # its consumer has put it there
        return self._store.get(context, message)
