"""Proxies beside the caller: Envoy, Istio's Envoy, Linkerd, nginx."""

from __future__ import annotations

from typing import Any, Final

from sim.scenario.preset import Fact, fact, preset

_BREAKERS: Final = "Envoy API 2026-01, cluster/v3/circuit_breaker.proto"
_CLUSTER: Final = "Envoy API 2026-01, cluster/v3/cluster.proto"
_OUTLIER: Final = "Envoy API 2026-01, cluster/v3/outlier_detection.proto"
_ROUTE: Final = "Envoy API 2026-01, route/v3/route_components.proto"
_ROUTER: Final = "Envoy docs, router filter"
_MEASURED: Final = "measured on Envoy 1.40.0 (M3)"


def _envoy_backoff() -> dict[str, Fact]:
    return {
        "kind": fact("exponential", f"{_MEASURED}; backoff_strategy.cc"),
        "multiplier": fact(2.0, f"{_MEASURED}; backoff_strategy.cc"),
        "base": fact(0.025, f"{_ROUTER}: upstream.base_retry_backoff_ms"),
        "max": fact(0.25, f"{_ROUTE}: RetryBackOff.max_interval, 10 times the base"),
        "jitter": fact("full", f"{_MEASURED}: U[0, base · 2^(n-1)), not the (2^n - 1) of the docs"),
    }


def _ejection(**other: Fact) -> dict[str, Fact]:
    """Envoy's numbers for outlier detection, some of them replaced."""
    own = {
        "rules": fact("envoy", "outlier_detection_impl.cc"),
        "interval": fact(10.0, f"{_OUTLIER}: interval"),
        "base_ejection_time": fact(30.0, f"{_OUTLIER}: base_ejection_time"),
        "max_ejection_time": fact(300.0, f"{_OUTLIER}: max_ejection_time"),
        "max_ejection_time_jitter": fact(0.0, f"{_OUTLIER}: max_ejection_time_jitter"),
        "max_ejection_percent": fact(10, f"{_OUTLIER}: max_ejection_percent"),
        "always_eject_one_host": fact(False, f"{_OUTLIER}: always_eject_one_host"),
        "consecutive_5xx": fact(5, f"{_OUTLIER}: consecutive_5xx"),
        "enforcing_consecutive_5xx": fact(100, f"{_OUTLIER}: enforcing_consecutive_5xx"),
        "consecutive_gateway_failure": fact(5, f"{_OUTLIER}: consecutive_gateway_failure"),
        "enforcing_consecutive_gateway_failure": fact(0, f"{_OUTLIER}: enforcing_consecutive_gateway_failure"),
        "split_external_local_origin_errors": fact(False, f"{_OUTLIER}: split_external_local_origin_errors"),
        "consecutive_local_origin_failure": fact(5, f"{_OUTLIER}: consecutive_local_origin_failure"),
        "enforcing_consecutive_local_origin_failure": fact(100, f"{_OUTLIER}: enforcing_consecutive_local_origin_failure"),
        "success_rate_minimum_hosts": fact(5, f"{_OUTLIER}: success_rate_minimum_hosts"),
        "success_rate_request_volume": fact(100, f"{_OUTLIER}: success_rate_request_volume"),
        "success_rate_stdev_factor": fact(1900, f"{_OUTLIER}: success_rate_stdev_factor"),
        "enforcing_success_rate": fact(100, f"{_OUTLIER}: enforcing_success_rate"),
        "enforcing_local_origin_success_rate": fact(100, f"{_OUTLIER}: enforcing_local_origin_success_rate"),
        "failure_percentage_threshold": fact(85, f"{_OUTLIER}: failure_percentage_threshold"),
        "failure_percentage_minimum_hosts": fact(5, f"{_OUTLIER}: failure_percentage_minimum_hosts"),
        "failure_percentage_request_volume": fact(50, f"{_OUTLIER}: failure_percentage_request_volume"),
        "enforcing_failure_percentage": fact(0, f"{_OUTLIER}: enforcing_failure_percentage"),
        "enforcing_failure_percentage_local_origin": fact(0, f"{_OUTLIER}: enforcing_failure_percentage_local_origin"),
        "healthy_panic_threshold_percent": fact(50, f"{_CLUSTER}: common_lb_config.healthy_panic_threshold"),
        "update_merge_window": fact(1.0, f"{_CLUSTER}: common_lb_config.update_merge_window; measured on Envoy 1.40.0"),
    }
    return {**own, **other}


_ADMISSION: Final = "Envoy API 2026-01, http/admission_control/v3"
_ADAPTIVE: Final = "Envoy API 2026-01, http/adaptive_concurrency/v3"

_ENVOY_BLOCKS: Final[dict[str, dict[str, Any]]] = {
    "retry": {
        "max_attempts": fact(2, f"{_ROUTE}: RetryPolicy.num_retries 1"),
        "on": fact(("error", "timeout", "rejected", "unreachable"), f"{_ROUTER}: retry_on 5xx; Envoy itself has no default"),
        "avoid_previous_endpoints": fact(False, f"{_ROUTE}: RetryPolicy.retry_host_predicate, none"),
        "backoff": _envoy_backoff(),
        "budget": {
            "kind": fact("concurrency", f"{_BREAKERS}: Thresholds.max_retries"),
            "budget_percent": fact(0, f"{_BREAKERS}: Thresholds.retry_budget is absent"),
            "min_concurrency": fact(3, f"{_BREAKERS}: Thresholds.max_retries"),
        },
    },
    "outlier_detection": _ejection(),
    "hedging": {
        "on_per_try_timeout": fact(True, f"{_ROUTE}: HedgePolicy.hedge_on_per_try_timeout, its only kind that acts"),
        "max_attempts": fact(2, f"{_ROUTE}: RetryPolicy.num_retries 1"),
        "non_fatal": fact(("error", "timeout", "rejected", "unreachable"), f"{_ROUTER}: retry_on 5xx, as for retries"),
        "cancel_losers": fact(True, f"{_ROUTE}: HedgePolicy, the first good answer is returned"),
    },
    "throttling": {
        "kind": fact("envoy", _ADMISSION),
        "window": fact(30.0, f"{_ADMISSION}: sampling_window"),
        "success_threshold_percent": fact(95.0, f"{_ADMISSION}: sr_threshold"),
        "aggression": fact(1.0, f"{_ADMISSION}: aggression"),
        "max_rejection_percent": fact(80.0, f"{_ADMISSION}: max_rejection_probability"),
        "rps_threshold": fact(0, f"{_ADMISSION}: rps_threshold"),
    },
    "adaptive_concurrency": {
        "algorithm": fact("gradient", f"{_ADAPTIVE}: gradient_controller_config"),
        "min_limit": fact(3, f"{_ADAPTIVE}: min_rtt_calc_params.min_concurrency"),
        "max_limit": fact(1000, f"{_ADAPTIVE}: concurrency_limit_params.max_concurrency_limit"),
        "sample_percentile": fact(50.0, f"{_ADAPTIVE}: sample_aggregate_percentile"),
        "min_rtt_calls": fact(50, f"{_ADAPTIVE}: min_rtt_calc_params.request_count"),
        "jitter_ratio": fact(0.15, f"{_ADAPTIVE}: min_rtt_calc_params.jitter"),
        "buffer_ratio": fact(0.25, f"{_ADAPTIVE}: min_rtt_calc_params.buffer"),
    },
}

_ENVOY: Final = preset(
    "envoy@1.40",
    "Envoy as a proxy beside the caller",
    on={
        "timeout": fact(15.0, f"{_ROUTE}: RouteAction.timeout"),
        "connect_timeout": fact(5.0, f"{_CLUSTER}: connect_timeout"),
        "balancing": fact("round_robin", f"{_CLUSTER}: lb_policy"),
        "concurrency_limit": {
            "max_concurrent": fact(1024, f"{_BREAKERS}: Thresholds.max_requests and max_connections"),
            "max_queue": fact(1024, f"{_BREAKERS}: Thresholds.max_pending_requests"),
        },
    },
    blocks=_ENVOY_BLOCKS,
    notes=(
        "Envoy's `circuit_breakers` are the concurrency limit and the retry budget here; it has no breaker with states.",
        "The limit is that of HTTP/1.1: connections, and requests that wait for one. With HTTP/2 hardly anything waits: write "
        "max_queue: 0.",
        "What the limit refuses (overflow) and the timeout of the whole call are never tried again.",
        "Without `retry` nothing is tried again. With it, three retries at a time (max_retries) for all calls of the proxy to "
        "the target. `budget: {kind: concurrency, budget_percent: 20}` is Envoy's retry_budget, `budget: null` no limit.",
        "A per-try timeout that is not shorter than the timeout is ignored.",
        "adaptive_concurrency: Envoy has no default for update_interval and min_rtt_interval; those here are 100 ms and 1 min.",
        "Not modelled: one pool per worker thread, priorities and zones, hosts that active health checks have found.",
    ),
)

_ISTIO_RETRY: Final = "istio 2026-08, pilot route/retry/retry.go"
_ISTIO_POLICY: Final = "istio 2026-08, pilot core/cluster_traffic_policy.go"
_UNLIMITED: Final = 2**32 - 1

_ISTIO: Final = preset(
    "istio@1.24",
    "Istio's sidecar: Envoy with Istio's defaults, since 1.24",
    on={
        "connect_timeout": fact(10.0, "istio 2026-08, pkg/config/mesh/mesh.go: ConnectTimeout"),
        "balancing": fact("two_choices", f"{_ISTIO_POLICY}: defaultLBAlgorithm, LEAST_REQUEST with choice_count 2"),
        "retry": {
            "max_attempts": fact(3, f"{_ISTIO_RETRY}: NumRetries 2"),
            "on": fact(
                ("unreachable",),
                "Istio 1.24.0 change notes: 503 no longer; connect-failure, refused-stream, unavailable, cancelled",
            ),
            "avoid_previous_endpoints": fact(True, f"{_ISTIO_RETRY}: previous_hosts"),
            "backoff": _envoy_backoff(),
        },
    },
    blocks={
        "concurrency_limit": {
            "max_concurrent": fact(_UNLIMITED, f"{_ISTIO_POLICY}: MaxRequests, MaxConnections"),
            "max_queue": fact(_UNLIMITED, f"{_ISTIO_POLICY}: MaxPendingRequests"),
        },
        "outlier_detection": _ejection(
            enforcing_success_rate=fact(0, f"{_ISTIO_POLICY}: EnforcingSuccessRate"),
            enforcing_local_origin_success_rate=fact(0, f"{_ISTIO_POLICY}: EnforcingLocalOriginSuccessRate"),
            healthy_panic_threshold_percent=fact(0, f"{_ISTIO_POLICY}: MinHealthPercent 0"),
        ),
        "hedging": _ENVOY_BLOCKS["hedging"],
    },
    notes=(
        "Read at the source of August 2026; what changed with 1.24 is that 503 is no longer among the retries.",
        "Two retries act on every HTTP route without being asked for. `attempts: 3` in Istio means max_attempts: 4 here.",
        "They follow connection failures, and the gRPC statuses UNAVAILABLE and CANCELLED: for gRPC services with those write "
        "`on: [unreachable, rejected, error]`. Before 1.24 also 503: `on: [unreachable, rejected]`.",
        "With a consistent-hash balancer Istio does not avoid previous endpoints.",
        "No timeout (15 s in Envoy), and no limit on retries or requests: Istio sets them all to 2^32 - 1.",
        "No outlier detection unless it is configured. Its 10 % ejects nobody of fewer than 10 endpoints: write "
        "max_ejection_percent: 100. consecutiveGatewayErrors: set enforcing_consecutive_gateway_failure: 100, too.",
        "Not modelled: connection failures count as unreachable here as do resets after a request was sent, which Istio does not "
        "try again; the inbound retries (reset-before-request) of the sidecar at the server.",
    ),
)

_ACCRUAL: Final = "linkerd2 2026-08, policy-controller outbound/index.rs: failure-accrual-consecutive"
_ROUTE_RETRY: Final = "linkerd2 2026-08, policy-controller"

_LINKERD: Final = preset(
    "linkerd@2",
    "Linkerd's proxy, 2.16 and later (annotations)",
    on={
        "connect_timeout": fact(1.0, "linkerd2-proxy 2026-08, app/src/env.rs: DEFAULT_OUTBOUND_CONNECT_TIMEOUT"),
        "balancing": {
            "kind": fact("peak_ewma", "linkerd2-proxy 2026-08, outbound/http/concrete/balance.rs: P2C over peak EWMA"),
            "default_rtt": fact(0.03, "linkerd2-proxy 2026-08, PeakEwma.default_rtt"),
            "decay": fact(10.0, "linkerd2-proxy 2026-08, PeakEwma.decay"),
        },
    },
    blocks={
        "retry": {
            "max_attempts": fact(2, f"{_ROUTE_RETRY} outbound/index/http.rs: retry.linkerd.io/limit 1"),
            "on": fact(
                ("error", "timeout", "rejected"),
                "retry.linkerd.io/http: 5xx; linkerd2-proxy policy/route/retry.rs: response timeouts, no connection errors",
            ),
            "backoff": {
                "kind": fact("exponential", f"{_ROUTE_RETRY} grpc/outbound/http.rs: convert_retry"),
                "multiplier": fact(2.0, "linkerd2-proxy 2026-08, exp-backoff"),
                "base": fact(0.0375, f"{_ROUTE_RETRY}: 25 ms + U(0, 25 ms), which is 37.5 ms ± 1/3"),
                "jitter": fact("ratio", "linkerd2-proxy 2026-08, exp-backoff: v + U(0, v)"),
                "jitter_ratio": fact(1 / 3, f"{_ROUTE_RETRY}: jitter_ratio 1.0, added"),
                "max": fact(0.25, f"{_ROUTE_RETRY}: max_backoff"),
                "cap": fact("after_jitter", "linkerd2-proxy 2026-08, exp-backoff"),
            },
        },
        "circuit_breaker": {
            "scope": fact("per_client_x_endpoint", "linkerd2-proxy 2026-08, outbound/http/breaker.rs"),
            "window_type": fact("consecutive", f"{_ACCRUAL}, mode consecutive"),
            "consecutive_failures": fact(7, f"{_ACCRUAL}-max-failures"),
            "open_duration": fact(1.0, f"{_ACCRUAL}-min-penalty"),
            "open_multiplier": fact(2.0, "linkerd2-proxy 2026-08, exp-backoff"),
            "max_open_duration": fact(60.0, f"{_ACCRUAL}-max-penalty"),
            "open_jitter": fact("added", "linkerd2-proxy 2026-08, exp-backoff: v + U(0, r·v)"),
            "open_jitter_ratio": fact(0.5, f"{_ACCRUAL}-jitter-ratio"),
            "half_open_calls": fact(1, "linkerd2-proxy 2026-08, breaker/consecutive_failures.rs: probation"),
        },
    },
    notes=(
        'Nothing is tried again and nothing broken by default. "Circuit breaking" is failure accrual: a breaker per endpoint.',
        "The retries are those of the retry.linkerd.io annotations; they have no budget. Those of a ServiceProfile are "
        "`retry: {max_attempts: unlimited, on: [error, rejected], backoff: {base: 0s}, budget: {kind: windowed_ratio, "
        "counting: tower}}`, with ratio 0.2, ttl 10 s and 10 retries per second on top.",
        "Where one endpoint's breaker is open, the others get its calls; where all are, Linkerd waits 3 s (failfast) and then "
        "refuses, here they are refused at once.",
        "Not modelled: the queue of 10,000 requests before failfast, and the unified mode of failure accrual (2026, alpha): "
        "success rate below 80 % of the last 10 s, at least 5 requests, or 7 failures in a row.",
    ),
)

_NGINX_PROXY: Final = "nginx docs, ngx_http_proxy_module"
_NGINX_UPSTREAM: Final = "nginx docs, ngx_http_upstream_module"

_NGINX: Final = preset(
    "nginx@1.22",
    "nginx in front of a group of servers (open source)",
    on={
        "connect_timeout": fact(60.0, f"{_NGINX_PROXY}: proxy_connect_timeout"),
        "per_try_timeout": fact(60.0, f"{_NGINX_PROXY}: proxy_read_timeout"),
        "balancing": fact("round_robin", f"{_NGINX_UPSTREAM}: upstream"),
        "retry": {
            "max_attempts": fact("each_endpoint", f"{_NGINX_PROXY}: proxy_next_upstream_tries 0, until all servers were tried"),
            "on": fact(("unreachable", "timeout"), f"{_NGINX_PROXY}: proxy_next_upstream error timeout"),
            "avoid_previous_endpoints": fact(True, "ngx_http_upstream_round_robin.c: a server is tried once per request"),
            "backoff": {
                "kind": fact("constant", f"{_NGINX_PROXY}: proxy_next_upstream, at once"),
                "base": fact(0.0, f"{_NGINX_PROXY}: proxy_next_upstream, at once"),
            },
        },
        "passive_health": {
            "max_fails": fact(1, f"{_NGINX_UPSTREAM}: max_fails; measured on nginx 1.22.1 (M9)"),
            "fail_timeout": fact(10.0, f"{_NGINX_UPSTREAM}: fail_timeout; measured on nginx 1.22.1 (M9)"),
            "failures": fact(("timeout", "unreachable"), f"{_NGINX_PROXY}: proxy_next_upstream, error and timeout always"),
        },
    },
    blocks={},
    notes=(
        "A 5xx answer is neither tried again nor a failure of the server, unless proxy_next_upstream says http_503 and the like: "
        "`retry: {on: [unreachable, timeout, error, rejected]}` and `passive_health: {failures: [timeout, unreachable, error, "
        "rejected]}`. `proxy_next_upstream off` is `retry: {max_attempts: 1}`.",
        "POST, LOCK and PATCH are not sent again once they were sent. Mark such operations `idempotent: false` and set "
        "max_attempts: 1 for them.",
        "The read timeout is one between two reads; here it is the whole wait for an answer. proxy_next_upstream_timeout: none.",
        "State is per worker process, unless the group has a `zone`: choose the number of caller processes accordingly.",
        "Not modelled: weights, backup servers, keep-alive connections (off by default before 1.29.7).",
    ),
)

#: The presets of this module.
SYSTEMS: Final = (_ENVOY, _ISTIO, _LINKERD, _NGINX)
