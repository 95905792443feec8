"""Presets of registries, of how callers ask them, and of health checks: real systems' numbers, each with its source.

They lie below what is written, as those of calls do: `REGISTRIES["eureka@2"].under({"eviction_interval": 10.0})`. A registry and
its clients are two presets, because clients of one registry differ: Spring's has a cache of its own on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from sim.laws import Constant, Uniform
from sim.policies.discovery import Discovery
from sim.policies.health import HealthCheck
from sim.policies.registry import Registry
from sim.scenario.preset import Fact, Preset, fact, in_base_units, preset
from sim.scenario.words import nearest
from sim.values import Spec

_SERVER: Final = "eureka@2 DefaultEurekaServerConfig.java"
_CLIENT: Final = "eureka@2 DefaultEurekaClientConfig.java"
_LEASE: Final = "eureka@2 LeaseInfo.java"
_CHECK_GO: Final = "consul@1 agent/checks/check.go"
_CONSUL: Final = "Consul docs, health check configuration reference"
_PROBE: Final = "kubernetes core/v1 types.go, Probe"
_HAPROXY: Final = "haproxy@3 doc/configuration.txt"
_ENVOY: Final = "envoy health_checker_base_impl.cc"


def _eureka(**other: Fact) -> dict[str, Fact]:
    """Eureka's numbers, some of them replaced."""
    own = {
        "heartbeat_interval": fact(30.0, f"{_LEASE}: DEFAULT_LEASE_RENEWAL_INTERVAL"),
        "lease_duration": fact(90.0, f"{_LEASE}: DEFAULT_LEASE_DURATION"),
        "renewal_adds_lease": fact(True, "eureka@2 Lease.java: renew() adds the duration, isExpired() adds it again"),
        "eviction_interval": fact(60.0, f"{_SERVER}: evictionIntervalTimerInMs"),
        "max_eviction_percent": fact(15, f"{_SERVER}: renewalPercentThreshold 0.85; AbstractInstanceRegistry.evict"),
        "self_preservation_percent": fact(85, f"{_SERVER}: renewalPercentThreshold, enableSelfPreservation"),
        "clients_at_start": fact(0, "eureka@2 PeerAwareInstanceRegistryImpl.openForTraffic: the count of a peer"),
        "registration_delay": fact(40.0, f"{_CLIENT}: initialInstanceInfoReplicationIntervalSeconds"),
        "response_cache": fact(30.0, f"{_SERVER}: responseCacheUpdateIntervalMs"),
        "deregister_on_stop": fact(True, f"{_CLIENT}: shouldUnregisterOnShutdown"),
        "replication_delay": fact(Uniform(0.0, 0.5), "eureka@2 PeerEurekaNode.java: MAX_BATCHING_DELAY_MS"),
    }
    return {**own, **other}


_EUREKA_NOTES: Final = (
    "An ended lease is later than 180 s after the last renewal, not 90 s: a renewal stamps now + lease. A lease that was never "
    "renewed ends after 90 s.",
    "Self-preservation and the 15 % of one sweep come from the same setting, renewalPercentThreshold. With 6 instances or fewer "
    "one crash stops all evictions.",
    "A server that starts without a peer answers nobody for 5 minutes (waitTimeInMsWhenSyncEmpty): not modelled; nor is the "
    "correction of the expected renewals every 15 minutes.",
)

#: What a registry does, by name and version: settings of `sim.policies.registry.Registry`.
REGISTRIES: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        preset("eureka@2", "Netflix Eureka server, with the client's timings", _eureka(), {}, _EUREKA_NOTES),
        preset(
            "spring-cloud-eureka@2025",
            "Eureka as Spring Cloud starts it, standing alone",
            _eureka(
                clients_at_start=fact(1, "spring-cloud-netflix InstanceRegistryProperties.java: defaultOpenForTrafficCount"),
            ),
            {},
            (
                *_EUREKA_NOTES,
                "One client is expected that never comes, unless the server registers with itself: with 12 "
                "instances or fewer one crash stops all evictions.",
            ),
        ),
        preset(
            "consul@1",
            "HashiCorp Consul, services checked by the agent beside them",
            {
                "heartbeat_interval": fact(None, f"{_CHECK_GO}: the agent asks, the service does not report"),
                "deregister_on_stop": fact(True, "spring-cloud-consul ConsulDiscoveryProperties.java: deregister"),
            },
            {},
            (
                "Who is registered is in the answer while its check passes: use health check consul@1.",
                "A critical check deregisters its service only with deregister_critical_service_after (1 minute at least, looked "
                "at every 30 s). Until then it comes back when it passes.",
                "A node that dies with its agent is noticed by gossip, within seconds: not modelled.",
            ),
        ),
        preset(
            "kubernetes@1",
            "EndpointSlices: readiness decides",
            {
                "heartbeat_interval": fact(None, "kubernetes discovery/v1 types.go: EndpointConditions.ready"),
                "deregister_on_stop": fact(True, "kubernetes discovery/v1 types.go: not ready while terminating"),
                "crash_delay": fact(
                    Uniform(0.0, 1.0), "kubelet.go: genericPlegRelistPeriod 1 s; prober/worker.go: not running is not ready"
                ),
                "vanish_delay": fact(
                    Uniform(30.0, 45.0),
                    "kube-controller-manager: node-monitor-grace-period 40 s since the last sign of life, one every 10 s; "
                    "looked at every node-monitor-period, 5 s",
                ),
            },
            {},
            (
                "A process that has died is seen by the kubelet, without a probe; one that hangs by its readiness probe: use "
                "health check kubernetes@1. A node that a partition cuts off keeps its pods in the slice here; in truth they "
                "leave it as those of a dead node do.",
                "The slice is written without a batch period (endpointslice-updates-batch-period 0 s); what kube-proxy adds is "
                "in discovery kubernetes@1. SIGTERM and the change of the slice set out at the same time.",
            ),
        ),
        preset(
            "route53@2013-04-01",
            "A DNS zone at Amazon Route 53",
            {
                "heartbeat_interval": fact(None, "a record has no lease"),
                "publish_delay": fact(Constant(60.0), "Route 53 Developer Guide, editing records: generally within 60 seconds"),
            },
            {},
            ("The delay is the documented bound; most changes are faster.",),
        ),
    )
}

#: How a caller learns of instances: settings of `sim.policies.discovery.Discovery`.
DISCOVERIES: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        preset(
            "eureka@2",
            "Netflix Eureka client",
            {
                "mode": fact("poll", "eureka@2 DiscoveryClient.java: cacheRefreshTask"),
                "refresh_interval": fact(30.0, f"{_CLIENT}: registryFetchIntervalSeconds"),
                "on_failure": fact("keep_stale", "eureka@2 DiscoveryClient.java: fetchRegistry leaves the local copy"),
            },
            {},
            ("A fetch that times out doubles the next interval, up to 10 times: not modelled.",),
        ),
        preset(
            "spring-cloud@2025",
            "Spring Cloud LoadBalancer on a Eureka client",
            {
                "mode": fact("poll", "eureka@2 DiscoveryClient.java: cacheRefreshTask"),
                "refresh_interval": fact(30.0, f"{_CLIENT}: registryFetchIntervalSeconds"),
                "on_failure": fact("keep_stale", "eureka@2 DiscoveryClient.java: fetchRegistry leaves the local copy"),
                "cache": fact(35.0, "spring-cloud-commons LoadBalancerCacheProperties.java: ttl"),
            },
            {},
            ("A copy without instances is not used: CachingServiceInstanceListSupplier.java.",),
        ),
        preset(
            "consul@1",
            "A client with blocking queries",
            {
                "mode": fact("push", "Consul API, blocking queries: an answer when the index moves"),
                "push_delay": fact(Constant(0.0), "Consul API, blocking queries: answered at once"),
            },
            {},
            ("A query without news is answered after 5 minutes (10 at most) and asked again: nobody is late by that.",),
        ),
        preset(
            "kubernetes@1",
            "A Service address, by kube-proxy on the caller's node",
            {
                "mode": fact("push", "kube-proxy watches EndpointSlices"),
                "push_delay": fact(Uniform(0.0, 1.0), "kubernetes pkg/proxy/apis/config/v1alpha1/defaults.go: minSyncPeriod 1 s"),
            },
            {},
            ("kube-proxy balances connections, not requests. Writing many rules takes it longer: not modelled.",),
        ),
        preset(
            "istio@1.24",
            "A sidecar that istiod pushes to",
            {
                "mode": fact("push", "Envoy EDS over ADS"),
                "push_delay": fact(Constant(0.1), "istio pilot/pkg/features: PILOT_DEBOUNCE_AFTER 100 ms"),
            },
            {},
            (
                "Further changes within 100 ms put the push off, to 10 s at most (PILOT_DEBOUNCE_MAX); at most 100 pushes run at "
                "a time (PILOT_PUSH_THROTTLE): not modelled.",
            ),
        ),
        preset(
            "coredns@1",
            "A headless Service, by name",
            {
                "mode": fact("dns", "CoreDNS plugin kubernetes"),
                "ttl": fact(30.0, "kubernetes PR 76238: Corefile ttl 30; the plugin's own default is 5"),
            },
            {},
            ("CoreDNS' own cache (30 s) counts the time to live down: it does not add to it.",),
        ),
        preset(
            "java@17",
            "InetAddress of a Java process, without a security manager",
            {
                "mode": fact("dns", "java.net.InetAddress"),
                "keeps": fact(30.0, "java.security: networkaddress.cache.ttl, 30 s without a security manager"),
                "on_failure": fact("empty", "java.net.InetAddress: UnknownHostException"),
                "retry_interval": fact(10.0, "java.security: networkaddress.cache.negative.ttl=10"),
            },
            {},
            ("With a security manager it keeps an answer forever: write keeps: forever.",),
        ),
    )
}

#: How one side checks the other: settings of `sim.policies.health.HealthCheck`.
HEALTH_CHECKS: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        preset(
            "kubernetes@1",
            "A readiness probe",
            {
                "interval": fact(10.0, f"{_PROBE}.PeriodSeconds"),
                "interval_from": fact("begin", "kubernetes prober/worker.go: a ticker"),
                "timeout": fact(1.0, f"{_PROBE}.TimeoutSeconds"),
                "healthy_threshold": fact(1, f"{_PROBE}.SuccessThreshold"),
                "unhealthy_threshold": fact(3, f"{_PROBE}.FailureThreshold"),
                "initial_delay": fact(0.0, f"{_PROBE}.InitialDelaySeconds"),
                "initially": fact("unhealthy", "kubernetes prober/worker.go: initialValue of readiness"),
            },
            {},
            ("A startup probe puts the others off until it has passed: write initial_delay.",),
        ),
        preset(
            "haproxy@3",
            "A server with `check`",
            {
                "interval": fact(2.0, f"{_HAPROXY}: inter"),
                "interval_from": fact("end", "haproxy@3 check.c: the timer is set when a check has ended"),
                "timeout": fact(2.0, f"{_HAPROXY}: inter serves as the timeout unless timeout check is set"),
                "healthy_threshold": fact(2, f"{_HAPROXY}: rise"),
                "unhealthy_threshold": fact(3, f"{_HAPROXY}: fall"),
                "initially": fact("healthy", f"{_HAPROXY}: init-state, as a server starts"),
                "first_check_decides": fact(True, f"{_HAPROXY}: init-state up, one failure is enough at first"),
            },
            {},
            ("fastinter is edge_interval, downinter is unhealthy_interval; neither is set by default.",),
        ),
        preset(
            "envoy@1.40",
            "Active health checking over HTTP",
            {
                "interval_from": fact("end", f"{_ENVOY}: the timer is set when a check has ended"),
                "fails_at_once_on": fact(("error", "rejected"), f"{_ENVOY}: the threshold is for failures of the network only"),
                "first_check_decides": fact(True, f"{_ENVOY}: first_check_"),
                "initially": fact("unhealthy", f"{_ENVOY}: FAILED_ACTIVE_HC until the first check"),
            },
            {},
            (
                "Envoy has no defaults for interval, timeout and thresholds: it wants them written. Here they are a Kubernetes "
                "probe's if you leave them out.",
                "A cluster that has had no connection is checked every 60 s only (no_traffic_interval): not modelled.",
            ),
        ),
        preset(
            "consul@1",
            "An HTTP check by the agent",
            {
                "interval": fact(10.0, "spring-cloud-consul docs: healthCheckInterval; Consul itself wants it written"),
                "interval_from": fact("end", f"{_CHECK_GO}: the timer is set when a check has ended"),
                "timeout": fact(10.0, f"{_CHECK_GO}: httpClient.Timeout"),
                "healthy_threshold": fact(1, f"{_CONSUL}: success_before_passing 0"),
                "unhealthy_threshold": fact(1, f"{_CONSUL}: failures_before_critical 0"),
                "initially": fact("unhealthy", "Consul docs, checks: critical until the first check, unless a status is written"),
            },
            {},
            ("429 is warning, and a service in warning is still in the answer: a rejection here is a failure.",),
        ),
    )
}


def _over(presets: Mapping[str, Preset]) -> BeforeValidator:
    """Reads settings that name a preset as laid over it."""

    def lay(data: Any) -> Any:
        own = data.model_dump(exclude_unset=True) if isinstance(data, Spec) else data
        name = own.get("preset") if isinstance(own, Mapping) else None
        if not isinstance(name, str):
            return data
        if name not in presets:
            raise ValueError(f"no preset {name!r}; {nearest(name, presets)}")
        below = {key: in_base_units(value) for key, value in presets[name].on.items()}
        return {**below, **own}

    return BeforeValidator(lay)


#: The three, as a scenario has them: a preset may lie below.
RegistrySpec = Annotated[Registry, _over(REGISTRIES)]
DiscoverySpec = Annotated[Discovery, _over(DISCOVERIES)]
HealthCheckSpec = Annotated[HealthCheck, _over(HEALTH_CHECKS)]
