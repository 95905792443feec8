"""Consumers that handle several messages with one call."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.laws import Constant
from sim.values import Duration, LawSpec, Spec


class Together(Spec):
    """Handle up to `size` messages with one call of the operation: `batch: {size: 100, wait: 50ms, each: 0.2ms}`.

    ::

        m1 m2 --- wait ---> call(m1, m2)        m1 m2 ... at `size` at once        while a call goes on, the next ones gather

    The operation runs once for all of them, on one worker, and takes `each` more for every message. Messages that an idempotent
    consumer knows cost nothing. If the call fails, all come back, and nothing of it has happened (one transaction). A poisoned
    message makes its call fail (`on_failure: all`): those beside it come back with it, use up their deliveries, and are given up
    with it in the end. With `on_failure: each` the handler says which ones failed; only those come back, and the others are done.

    Not where messages are few: they wait for company. Not without `on_failure: each` where some always fail.
    Source: AWS Lambda with SQS (batch size, batching window, ReportBatchItemFailures); batch listeners of Spring AMQP and Kafka.
    """

    size: Annotated[int, Field(ge=1, le=100_000)] = Field(10, description="messages of one call at most")
    wait: Duration = Field(
        0.0, description="how long a consumer waits for more, from its first message on; where messages are pushed"
    )
    each: LawSpec = Field(Constant(0.0), description="work for every message besides that of the call, a law")
    on_failure: Literal["all", "each"] = Field("all", description="who comes back: all of the call, or those that failed")
