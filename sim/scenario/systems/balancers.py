"""Balancers of connections (layer 4): a Kubernetes Service, AWS' Network Load Balancer."""

from __future__ import annotations

from typing import Any, Final

from sim.scenario.preset import fact, preset

_VIRTUAL_IPS: Final = "Kubernetes docs, reference/networking/virtual-ips"


def _of_a_service(balancing: Any) -> dict[str, Any]:
    """What a client sees of a Service: kube-proxy chooses a Pod for each connection, and keeps it."""
    return {
        "balancing": balancing,
        "connections": {
            "per_process": fact(1, "not kube-proxy's: a client with one HTTP/2 connection, as gRPC's; write what yours has"),
            "max_concurrent": fact(100, "not kube-proxy's: grpc-go internal/transport/defaults.go, defaultMaxStreamsClient"),
            "follow_discovery": fact(False, f"{_VIRTUAL_IPS}: rules are for new connections; conntrack keeps the others"),
        },
    }


_NOTES: Final = (
    "How many connections there are, and how long they live, is the client's and the server's: max_age is gRPC's "
    "MAX_CONNECTION_AGE at the server, idle_timeout the client's.",
    "For HTTP/1.1 write max_concurrent: 1 and per_process as large as the client's pool.",
    "How late kube-proxy learns of Pods is discovery preset kubernetes@1 (where the service has a registry).",
    "Not modelled: session affinity, topology (trafficDistribution), Pods that end while their address is used again.",
)

_IPTABLES: Final = preset(
    "kube-proxy@iptables",
    "A Kubernetes Service: kube-proxy in iptables mode, its default on Linux",
    on=_of_a_service(fact("random", f"{_VIRTUAL_IPS}: chooses a backend at random; pkg/proxy/iptables: statistic mode random")),
    blocks={},
    notes=_NOTES,
)

_IPVS: Final = preset(
    "kube-proxy@ipvs",
    "A Kubernetes Service: kube-proxy in IPVS mode",
    on=_of_a_service(fact("round_robin", "kubernetes pkg/proxy/ipvs/proxier.go: defaultScheduler rr")),
    blocks={},
    notes=(
        *_NOTES,
        "The turns are those of a node; here each process has its own, as if it were alone on its node.",
        "`lc` is balancing: least_request (which counts connections then), `sh` is not here.",
    ),
)

_NLB: Final = preset(
    "aws-nlb@2024",
    "AWS Network Load Balancer, for the calls of a proxy with layer: 4",
    on={
        "balancing": fact(
            "random",
            "AWS docs, how Elastic Load Balancing works: flow hash over protocol, addresses, ports and TCP sequence number; one "
            "target for the life of the connection",
        )
    },
    blocks={},
    notes=(
        "A flow hash with the client's port and sequence number is another draw for each connection: random here.",
        "Idle connections are forgotten after 350 s (adjustable since September 2024): write connections: {idle_timeout: 350s} "
        "for its callers.",
        "Health checks are of the balancer: `health_check` of the same calls. Not modelled: zones and cross-zone balancing, "
        "stickiness by address, ending the connections of targets that are deregistered or unhealthy (follow_discovery at the "
        "callers does not reach behind the balancer).",
    ),
)

#: The presets of this module.
SYSTEMS: Final = (_IPTABLES, _IPVS, _NLB)
