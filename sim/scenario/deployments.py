"""Deployments: replicas that come and go because somebody wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from sim.values import Duration, Name, Spec

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


class _Deployment(Spec):
    at: Duration = Field(description="clock time at which it begins; the warm-up counts")
    drain: Duration = Field(0.0, description="how long a replica serves on after it was asked to stop (a preStop hook)")
    grace: Duration = Field(30.0, description="how long it may take then to finish what is inside")


class Rollout(_Deployment):
    """Every replica is replaced by a new one: the new ones start, and as they are there, the old ones are asked to stop.

    ::

        running       N   old old old old
        max_surge     1   old old old old new        one more than N may be there
        max_unavailable 0 old old old     new new    N have to serve at any time
                              ...
                          new new new new

    A new replica serves after the service's `start_up`, and counts as there `ready_delay` later. Those that are ending do not
    count any more, as in Kubernetes. `max_surge` of N is blue-green: all new ones first, then all old ones stop. A canary is a
    `scale` by one, and a rollout later.

    New replicas have indices of their own, as new pods have new addresses: what callers still believe of an old one is wrong.
    A rollout begins when the one before it, and every scaling, has ended. Source: kubernetes@1 apps/v1 Deployment, RollingUpdate.
    """

    rollout: Name = Field(description="the service")
    max_surge: Annotated[int, Field(ge=0, le=100_000)] = Field(1, description="replicas above the number that is wanted, at most")
    max_unavailable: Annotated[int, Field(ge=0, le=100_000)] = Field(0, description="replicas below it, at most")
    ready_delay: Duration = Field(0.0, description="how long a new one has to serve before it counts (minReadySeconds)")

    @model_validator(mode="after")
    def _moves(self) -> Rollout:
        if not self.max_surge and not self.max_unavailable:
            raise ValueError("a rollout with max_surge: 0 and max_unavailable: 0 cannot begin; allow one of them")
        return self

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"rollout of {self.rollout}"


class Scale(_Deployment):
    """The service gets so many replicas: new ones start, or those with the highest indices are asked to stop."""

    scale: Name = Field(description="the service")
    replicas: Annotated[int, Field(ge=0, le=100_000)] = Field(description="how many there are to be")

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.scale} to {self.replicas} replicas"


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in ("rollout", "scale") if kind in value), None)
    return "rollout" if isinstance(value, Rollout) else "scale" if isinstance(value, Scale) else None


Deployment = Annotated[
    Annotated[Rollout, Tag("rollout")] | Annotated[Scale, Tag("scale")],
    Discriminator(
        _kind,
        custom_error_type="deployment",
        custom_error_message="is not a deployment; write one of rollout, scale, for example {rollout: payment, at: 20s}",
    ),
]


def service_of(deployment: Deployment) -> str:
    """Name of the service that it is about."""
    return deployment.rollout if isinstance(deployment, Rollout) else deployment.scale


def slots_of(scenario: Scenario, service: str) -> int:
    """Indices that replicas of a service need: those that are ending have theirs, too."""
    wanted = most = scenario.services[service].replicas
    autoscaling = scenario.services[service].autoscaling
    if autoscaling is not None:
        wanted = autoscaling.max_replicas
        most = 2 * wanted  # as many may be ending
    for deployment in sorted(scenario.deployments, key=lambda deployment: deployment.at):
        if service_of(deployment) != service:
            continue
        if isinstance(deployment, Scale):
            wanted = deployment.replicas
            most = max(most, wanted)
        else:
            most = max(most, 2 * wanted + deployment.max_surge)
    return most
