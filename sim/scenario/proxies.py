"""Proxies: what stands between callers and services, and chooses replicas for them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from sim.laws import Constant
from sim.policies.zones import Placement
from sim.scenario.services import Service, Waiting
from sim.values import Duration, LawSpec, Spec

#: How a balancer of connections calls: one connection for each that comes in, and what a caller gives up is given up.
AS_A_FLOW: Final[dict[str, Any]] = {
    "connections": {"per_process": "unlimited", "max_concurrent": "unlimited"},
    "cancellation": True,
    "propagate_deadline": True,
}
#: What can be said of the calls of one.
OF_FLOWS: Final = frozenset({"preset", "balancing", "discovery", "health_check", "connect_timeout"})


class Proxy(Spec):
    """A tier of load balancers (server-side discovery), or a sidecar beside each replica that calls (a mesh).

    ::

        tier       caller --line--> one of `replicas` proxies --line--> a replica of the target
        sidecar    caller --> its own proxy, on the same machine --line--> a replica of the target

    Calls take this way whose policy says ``via: NAME``. The call's own policy (timeout, retries, balancing, ...) then is about
    the proxies: what the caller sees. What the proxy does towards the services stands under ``calls`` with the proxy as the
    caller: ``edge -> default``, ``edge -> payment``; wider selectors do not reach it. Balancing, discovery, health checks,
    outlier detection and retries of the proxy belong there.

    A proxy is a process like any other: it has workers and a line, can crash, be slow, be partitioned, and holds its own view of
    the registry. A call through it is two attempts, each with its row. What it answers is what it got: a rejection stays
    a rejection, a timeout of its own a timeout. A sidecar lives and dies with its replica; `replicas` and `discovery_delay` are
    those of a tier only. The work of a sidecar at the other end is not a hop of its own: add it to `work`.

    With `layer: 4` it is a balancer of connections (AWS NLB, IPVS on a machine of its own, HAProxy in TCP mode): it chooses a
    replica when the first call comes on a connection, and passes on all calls of it, until one of the two ends closes. It reads
    no calls, so it tries none again and bounds none: of its own calls only balancing, discovery, health_check and connect_timeout
    can be said, and its callers must say their `connections`. `work` is then what the packets of a call take, 0 if absent. Making
    a connection takes the round trips to the balancer and from there to the replica. What kube-proxy does on the caller's own
    machine needs no proxy: `connections` and `balancing: random` of the call are that.
    """

    layer: Literal[4, 7] = Field(
        7, description="7: it chooses for each call, 4: for each connection that comes in, whose calls it passes on unread"
    )
    placement: Literal["tier", "sidecar"] = Field("tier", description="some proxies for all callers, or one for each replica")
    replicas: Annotated[int, Field(ge=1, le=100_000)] = Field(2, description="of a tier: how many proxies")
    workers: Annotated[int, Field(ge=1, le=10**9)] | Literal["unlimited"] = Field(
        "unlimited", description="requests that a proxy has inside at once, their calls onward included"
    )
    queue: Waiting = Field(Waiting(), description="the line in front of the workers")
    cores: Annotated[int, Field(ge=1, le=10**6)] | Literal["unlimited"] = Field(
        "unlimited", description="requests that a proxy works on at the same time: beyond, `work` takes longer"
    )
    work: LawSpec = Field(Constant(0.0005), description="processor time for each request, there and back")
    discovery_delay: Duration = Field(1.0, description="of a tier: how late callers learn of a proxy's death or return")
    zones: Placement | None = Field(None, description="of a tier: zones that the proxies are dealt out to; absent: all `zones`")

    @model_validator(mode="before")
    @classmethod
    def _reads_nothing(cls, data: Any) -> Any:
        return {"work": 0, **data} if isinstance(data, dict) and data.get("layer") == 4 else data

    @model_validator(mode="after")
    def _of_a_tier(self) -> Proxy:
        if self.placement == "sidecar":
            for name in ("replicas", "discovery_delay", "zones"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} is read by a tier only: there is one sidecar for each replica; leave it out")
        if self.cores != "unlimited" and self.workers != "unlimited":
            raise ValueError("cores share the work of all requests inside, and workers let so many in; write one of them")
        return self

    def service(self, replicas: int) -> Service:
        """The proxy's processes, as a service without operations of its own."""
        shared = self.cores != "unlimited"
        return Service(
            replicas=replicas,
            workers=self.cores if shared else self.workers,
            sharing="processor" if shared else "none",
            queue=self.queue,
            discovery_delay=self.discovery_delay,
            zones=self.zones,
            operations={"forward": {"steps": ()}},
        )
