"""Stores of payloads: what a claim check goes through."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim.laws import Constant
from sim.values import LawSpec, PositiveBandwidth, PositiveDuration, Spec


class Store(Spec):
    """A store of objects as its clients see it: a latency, and a bandwidth for each transfer.

    ::

        put, get:   latency (a law, the way there and back included) + size / bandwidth

    It takes any number of transfers at a time, as object stores do; one that can be full or busy is a service that is called
    before the publish and by the consumer. Faults: `outage` (puts and gets fail at once, those under way when they end), `slow`.
    Left out: the size of the bill (`totals` has the transfers and their seconds), consistency, what is never fetched.
    """

    put: LawSpec = Field(Constant(0.0), description="latency of a put, a law")
    get: LawSpec = Field(Constant(0.0), description="latency of a get, a law")
    bandwidth: PositiveBandwidth | Literal["unlimited"] = Field("unlimited", description="bytes per second of one transfer")
    time_to_live: PositiveDuration | None = Field(
        None, description="how long after its publish a payload is there; then every get fails. Absent: for ever"
    )
