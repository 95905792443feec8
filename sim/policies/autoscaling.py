"""Autoscaling: how many replicas there are to be, from how busy those are that there are, or how much waits for them."""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated

from pydantic import Field, model_validator

from sim.values import Duration, PositiveDuration, Spec

_Replicas = Annotated[int, Field(ge=1, le=10_000)]
_Percent = Annotated[float, Field(gt=0, le=100)]
#: Float sums must not make one replica more.
_SLACK = 1e-9


class Autoscaling(Spec):
    """Keep the utilisation, or the backlog, near a target by starting and stopping replicas, as Kubernetes' horizontal pod
    autoscaler does.

    ::

        wanted = ceil(replicas · utilisation / target)    = ceil(backlog / target_backlog)
                 unchanged while what is and what is wanted differ by `tolerance_percent` at most
        fewer: the largest number that was wanted in the last `stabilisation`
        more:  at most double, or 4 more, every `interval`

    Utilisation is that of the workers over the last interval, averaged over the replicas that serve; a saturated service shows
    100 % however long its line is, so it takes several steps to catch up: log2(needed / there) intervals, and a start-up each.
    A backlog says how much there is to do: it takes one step as far as the limit on growth allows. It counts messages that are
    ready (not those that are delayed) and those at consumers, as KEDA does for SQS, Kafka and RabbitMQ over HTTP (over AMQP, the
    ready ones only). With S seconds of work for a message and w workers in a replica, a message waits some
    target_backlog · S / w seconds.

    Not for load that comes and goes faster than interval + start-up: the replicas arrive when it is over. Not with calls that
    hold workers while they wait for somebody slow: more replicas ask the slow one more. Not by backlog with more replicas than
    partitions of a log: those above it idle.
    While a rollout is under way it looks on and does not act (Kubernetes would, on both sets of replicas).
    Source: kubernetes@1 horizontal.go and autoscaling/v2 defaults (15 s, tolerance 0.1, 300 s); keda@2 scalers, whose own targets
    are 20 messages a replica for RabbitMQ, 5 for SQS and 10 of lag for Kafka, and whose scaling to zero is left out.

    >>> gate = AutoscalingGate(Autoscaling(max_replicas=10, target_utilisation_percent=50))
    >>> gate.wanted(0.0, 2, 1.0), gate.wanted(15.0, 4, 0.54), gate.wanted(30.0, 4, 0.2), gate.wanted(330.1, 4, 0.2)
    (4, 4, 4, 2)
    >>> AutoscalingGate(Autoscaling(max_replicas=10, target_backlog=20)).wanted(0.0, 2, backlog=101)
    6
    """

    max_replicas: _Replicas = Field(description="replicas at most")
    min_replicas: _Replicas = Field(1, description="replicas at least")
    target_utilisation_percent: _Percent = Field(80.0, description="share of the workers that is to be busy")
    target_backlog: Annotated[float, Field(gt=0)] | None = Field(
        None, description="instead: messages per replica, waiting or unacknowledged, in the queues that the service consumes"
    )
    interval: PositiveDuration = Field(15.0, description="time between two looks, at least 1s")
    tolerance_percent: Annotated[float, Field(ge=0, le=100)] = Field(10.0, description="deviation that is let be")
    stabilisation: Duration = Field(300.0, description="how long fewer replicas have to be enough before some are stopped")
    drain: Duration = Field(0.0, description="how long a replica serves on after it was asked to stop")
    grace: Duration = Field(30.0, description="how long it may take then to finish what is inside")

    @model_validator(mode="after")
    def _in_order(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"autoscaling: min_replicas = {self.min_replicas} is above max_replicas = {self.max_replicas}")
        if self.interval < 1:
            raise ValueError(f"autoscaling: interval = {self.interval:g} s must be at least 1s")
        if self.target_backlog is not None and "target_utilisation_percent" in self.model_fields_set:
            raise ValueError("autoscaling: target_utilisation_percent and target_backlog are two targets; write one of them")
        return self


class AutoscalingGate:
    """One service's autoscaler: what it has recommended lately."""

    __slots__ = ("_past", "_spec")

    def __init__(self, spec: Autoscaling) -> None:
        self._spec = spec
        self._past: deque[tuple[float, int]] = deque()

    def wanted(self, now_s: float, replicas: int, utilisation: float = 0.0, backlog: int = 0) -> int:
        """How many there are to be, if so many run now and this share (0 to 1) of their workers was busy, or so much waits."""
        spec = self._spec
        if spec.target_backlog is None:
            ratio = 100.0 * utilisation / spec.target_utilisation_percent
        else:
            ratio = backlog / (spec.target_backlog * max(replicas, 1))
        near = abs(ratio - 1.0) <= spec.tolerance_percent / 100.0 + _SLACK
        found = replicas if near else math.ceil(replicas * ratio - _SLACK)
        found = max(spec.min_replicas, min(spec.max_replicas, found))
        past = self._past
        past.append((now_s, found))
        while past[0][0] < now_s - spec.stabilisation:
            past.popleft()
        if found > replicas:
            return min(found, max(2 * replicas, replicas + 4))
        return min(replicas, max(number for _, number in past)) if replicas >= spec.min_replicas else spec.min_replicas
