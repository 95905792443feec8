"""Clients that come with a protocol or a service: gRPC, the AWS SDKs, Finagle."""

from __future__ import annotations

from typing import Any, Final

from sim.scenario.preset import fact, preset

_A6: Final = "gRFC A6"
_A50: Final = "gRFC A50"
_EXAMPLE: Final = f"{_A6}, its example; gRPC itself has no default"

_GRPC: Final = preset(
    "grpc@1.7x",
    "gRPC with a service config (C-core, Go, Java of 2025)",
    on={
        "connect_timeout": fact(20.0, "gRPC connection-backoff.md: MIN_CONNECT_TIMEOUT"),
        "propagate_deadline": fact(True, "gRPC docs, deadlines: sent as grpc-timeout, the server cancels at it"),
        "cancellation": fact(True, "gRPC docs, cancellation"),
        "balancing": {
            "kind": fact("pick_first", "gRFC A62: the default without a service config"),
            "shuffle": fact(False, "gRFC A62: shuffleAddressList"),
        },
    },
    blocks={
        "connections": {
            "per_process": fact(1, "gRFC A62: one connection, to the address that pick_first chose"),
            "max_concurrent": fact(100, "grpc-go internal/transport/defaults.go: defaultMaxStreamsClient, until the server says"),
            "max_age_jitter": fact(0.1, "grpc-go internal/transport/http2_server.go: getJitter, ± 10 % of MaxConnectionAge"),
            "idle_timeout": fact(1800.0, "gRPC core legacy_channel_idle_filter.cc: kDefaultIdleTimeout, 30 minutes"),
            "follow_discovery": fact(True, "gRFC A62: a new list without the selected address ends its subchannel"),
        },
        "retry": {
            "max_attempts": fact(4, _EXAMPLE),
            "on": fact(("error", "rejected", "unreachable"), f"{_A6}, its example: UNAVAILABLE"),
            "backoff": {
                "kind": fact("exponential", _A6),
                "base": fact(0.1, f"{_EXAMPLE}: initialBackoff"),
                "multiplier": fact(2.0, f"{_EXAMPLE}: backoffMultiplier"),
                "max": fact(1.0, f"{_EXAMPLE}: maxBackoff"),
                "jitter": fact("ratio", f"{_A6} since 2024-08; measured on C-core 1.85 (M7)"),
                "jitter_ratio": fact(0.2, f"{_A6} since 2024-08; measured on C-core 1.85 (M7)"),
                "cap": fact("before_jitter", f"{_A6}: the pause may exceed maxBackoff"),
                "respect_retry_after": fact("grpc", f"{_A6}: grpc-retry-pushback-ms"),
            },
        },
        "hedging": {
            "max_attempts": fact(4, f"{_A6}, its example: hedgingPolicy; gRPC itself has no default"),
            "delay": fact(0.0, f"{_A6}: hedgingDelay, all at once"),
            "non_fatal": fact((), f"{_A6}: nonFatalStatusCodes, none"),
            "cancel_losers": fact(True, _A6),
        },
        "outlier_detection": {
            "rules": fact("grpc", _A50),
            "interval": fact(10.0, f"{_A50}: interval"),
            "base_ejection_time": fact(30.0, f"{_A50}: base_ejection_time"),
            "max_ejection_time": fact(300.0, f"{_A50}: max_ejection_time"),
            "max_ejection_percent": fact(10, f"{_A50}: max_ejection_percent"),
            "success_rate_minimum_hosts": fact(5, f"{_A50}: success_rate_ejection.minimum_hosts"),
            "success_rate_request_volume": fact(100, f"{_A50}: success_rate_ejection.request_volume"),
            "success_rate_stdev_factor": fact(1900, f"{_A50}: success_rate_ejection.stdev_factor"),
            "enforcing_success_rate": fact(0, f"{_A50}: success_rate_ejection is absent"),
            "failure_percentage_threshold": fact(85, f"{_A50}: failure_percentage_ejection.threshold"),
            "failure_percentage_minimum_hosts": fact(5, f"{_A50}: failure_percentage_ejection.minimum_hosts"),
            "failure_percentage_request_volume": fact(50, f"{_A50}: failure_percentage_ejection.request_volume"),
            "enforcing_failure_percentage": fact(0, f"{_A50}: failure_percentage_ejection is absent"),
        },
        "concurrency_limit": {
            "max_concurrent": fact(1024, "gRFC A32: max_requests, xDS only"),
            "max_queue": fact(0, "gRFC A32: what is over it fails at once"),
        },
    },
    notes=(
        "No deadline, no retries and no breaker by default. There is no per-try timeout: a try that hangs uses up the call.",
        "retryPolicy has no defaults; `retry` begins from the example of gRFC A6. More than 5 attempts count as 5 in gRPC.",
        "`on` are the outcomes that UNAVAILABLE stands for. Leave `error` out where your service fails with other codes.",
        "retryThrottling is `retry: {budget: {kind: token_ratio, max_tokens: 10, token_ratio: 0.1}}`; there is none by default.",
        "Each rule of outlier detection acts only if it is configured: enforcing_success_rate: 100 or "
        "enforcing_failure_percentage: 100.",
        "A server stops at the deadline; whether its own calls inherit it depends on the language (Go and Java pass it on).",
        "The default balancer is pick_first: all calls of a process go to one endpoint, and without shuffle all processes prefer "
        "the same. A service config may choose round_robin, or weighted_round_robin (`balancing: utilisation` here).",
        "A call that finds its endpoint gone fails; in gRPC, which connects before it sends, it would wait for another one.",
        "Outlier detection does nothing over pick_first in gRPC; here an ejected endpoint is left. Choose round_robin with it.",
        "Not modelled: transparent retries of calls that never left the client, commitment after response headers, reconnection "
        "back-off (1 s × 1.6 ± 20 %, at most 120 s).",
        "Until late 2024 (C-core 1.66) the pause was U(0, v), in grpc-node it still was in 2025, and grpc-java drew from "
        "U(0.4 v, 1.2 v) until 2026: write another jitter for those.",
    ),
)

_BOTOCORE: Final = "botocore 1.43.67, retries/standard.py"
_QUOTA: Final = "botocore 1.43.67, retries/quota.py"
_TRANSIENT: Final = f"{_BOTOCORE}: 500, 502, 503, 504, throttling codes, connection errors, timeouts"


def _aws(backoff_base: dict[str, Any], costs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What an AWS SDK does in standard mode."""
    return {
        "connect_timeout": fact(60.0, "botocore 1.43.67, config.py: connect_timeout"),
        "per_try_timeout": fact(60.0, "botocore 1.43.67, config.py: read_timeout"),
        "retry": {
            "max_attempts": fact(3, f"{_BOTOCORE}: DEFAULT_MAX_ATTEMPTS"),
            "on": fact(("error", "timeout", "rejected", "unreachable"), _TRANSIENT),
            "backoff": {**backoff_base, **_aws_growth()},
            **more,
            "budget": {
                "kind": fact("quota", _QUOTA),
                "capacity": fact(500, f"{_QUOTA}: INITIAL_CAPACITY"),
                "first_try_refund": fact(1, f"{_BOTOCORE}: _NO_RETRY_INCREMENT"),
                **costs,
            },
        },
    }


def _aws_growth() -> dict[str, Any]:
    return {
        "kind": fact("exponential", f"{_BOTOCORE}: ExponentialBackoff"),
        "multiplier": fact(2.0, f"{_BOTOCORE}: ExponentialBackoff._BASE"),
        "max": fact(20.0, f"{_BOTOCORE}: ExponentialBackoff._MAX_BACKOFF"),
        "jitter": fact("full", f"{_BOTOCORE}: ExponentialBackoff, times U(0, 1)"),
    }


_AWS_STANDARD: Final = preset(
    "aws-sdk@standard",
    "AWS SDKs in standard mode, before 2026",
    on=_aws(
        {"base": fact(1.0, f"{_BOTOCORE}: ExponentialBackoff, U(0, 1) · 2^(n-1)")},
        {
            "retry_cost": fact(5, f"{_BOTOCORE}: _RETRY_COST"),
            "timeout_cost": fact(10, f"{_BOTOCORE}: _TIMEOUT_RETRY_REQUEST"),
            "rejected_cost": fact(5, f"{_BOTOCORE}: _RETRY_COST"),
        },
    ),
    blocks={},
    notes=(
        "Retries act without being asked for. `rejected` stands for throttling, `error` for 500, 502, 503 and 504.",
        "boto3's own default before 2026 was the legacy mode: 5 tries in all, no quota. The others differ in numbers, too: these "
        "are botocore's.",
        "The quota belongs to a client object. One per caller process and target here.",
        "The read timeout is one between two reads; here it is the whole wait for an answer.",
        "A connection that times out costs 10 in the SDK; it is `unreachable` here, and costs 5.",
        "Not modelled: the adaptive mode with its client-side rate limiter.",
    ),
)

_AWS_2026: Final = preset(
    "aws-sdk@2026",
    "AWS SDKs in standard mode, default since November 2026",
    on=_aws(
        {
            "base": fact(0.05, f"{_BOTOCORE}: non_throttling_base_scale"),
            "respect_retry_after": fact("aws", f"{_BOTOCORE}: x-amz-retry-after, at most 5 s more"),
        },
        {
            "retry_cost": fact(14, f"{_BOTOCORE}: _RETRY_COST_V2"),
            "timeout_cost": fact(14, f"{_BOTOCORE}: _RETRY_COST_V2"),
            "rejected_cost": fact(5, f"{_BOTOCORE}: _THROTTLING_RETRY_COST"),
        },
        backoff_after_rejected={
            "base": fact(1.0, f"{_BOTOCORE}: throttling_base_scale"),
            "respect_retry_after": fact("aws", f"{_BOTOCORE}: x-amz-retry-after, at most 5 s more"),
            **_aws_growth(),
        },
    ),
    blocks={},
    notes=(
        "Retries act without being asked for. `rejected` stands for throttling (its pause begins at 1 s, its cost is 5), `error` "
        "for 500, 502, 503 and 504.",
        "The numbers are the default since 10 November 2026 (botocore 1.44.0); before, AWS_NEW_RETRIES_2026=true chose them. "
        "Java and Kotlin follow later.",
        "DynamoDB: max_attempts: 4 and a base of 25 ms.",
        "The quota belongs to a client object. One per caller process and target here.",
        "The read timeout is one between two reads; here it is the whole wait for an answer.",
        "Not modelled: long-polling operations, which pause even when the quota is empty; the adaptive mode.",
    ),
)

_FINAGLE_BUDGET: Final = "finagle 24.5, service/RetryBudget.scala"
_FINAGLE_RETRIES: Final = "finagle 24.5, service/Retries.scala"
_FINAGLE_ACCRUAL: Final = "finagle 24.5, liveness/FailureAccrualPolicy.scala"
_FINAGLE_FACTORY: Final = "finagle 24.5, liveness/FailureAccrualFactory.scala"
_FINAGLE_NACK: Final = "finagle 24.5, filter/NackAdmissionFilter.scala"

_FINAGLE: Final = preset(
    "finagle@24",
    "Finagle's HTTP and Mux clients",
    on={
        "connect_timeout": fact(1.0, "finagle 24.5, client/Transporter.scala: ConnectTimeout"),
        "balancing": {
            "kind": fact("two_choices", "finagle 24.5, loadbalancer/flags.scala: choice, P2CLeastLoaded"),
            "replacement": fact(False, "finagle 24.5, loadbalancer/p2c/P2CPick.scala: two distinct nodes"),
        },
        "retry": {
            "max_attempts": fact("unlimited", f"{_FINAGLE_RETRIES}: requeues, limited by the budget"),
            "on": fact(("unreachable", "rejected"), "finagle 24.5, RetryPolicy.scala: RetryableWriteException, and nacks"),
            "backoff": {
                "kind": fact("constant", f"{_FINAGLE_RETRIES}: emptyBackoffSchedule"),
                "base": fact(0.0, f"{_FINAGLE_RETRIES}: emptyBackoffSchedule"),
            },
            "budget": {
                "kind": fact("windowed_ratio", _FINAGLE_BUDGET),
                "ratio": fact(0.2, f"{_FINAGLE_BUDGET}: percentCanRetry"),
                "ttl": fact(10.0, f"{_FINAGLE_BUDGET}: DefaultTtl"),
                "min_retries_per_second": fact(10, f"{_FINAGLE_BUDGET}: DefaultMinRetriesPerSec"),
                "deposit_on": fact("ok", "finagle 24.5, service/RequeueFilter.scala: shouldDeposit"),
                "per_call_percent": fact(20.0, f"{_FINAGLE_RETRIES}: MaxRequeuesPerReq"),
                "counting": fact("finagle", "util 24.5, TokenBucket.newLeakyBucket"),
            },
        },
        "circuit_breaker": {
            "scope": fact("per_client_x_endpoint", f"{_FINAGLE_FACTORY}: one per node"),
            "window_type": fact("ema", f"{_FINAGLE_FACTORY}: successRateWithinDuration"),
            "failure_rate_threshold_percent": fact(20.0, f"{_FINAGLE_ACCRUAL}: DefaultSuccessRateThreshold 0.8"),
            "window_duration": fact(30.0, f"{_FINAGLE_ACCRUAL}: DefaultSuccessRateWindow"),
            "minimum_calls": fact(5, f"{_FINAGLE_ACCRUAL}: DefaultMinimumRequestThreshold"),
            "or_consecutive_failures": fact(5, f"{_FINAGLE_ACCRUAL}: DefaultConsecutiveFailures"),
            "failures": fact(("error", "timeout", "rejected", "unreachable"), "finagle 24.5, http: serverErrorsAsFailures"),
            "open_duration": fact(5.0, f"{_FINAGLE_FACTORY}: equalJittered(5.seconds, 300.seconds)"),
            "open_multiplier": fact(2.0, f"{_FINAGLE_FACTORY}: equalJittered(5.seconds, 300.seconds)"),
            "max_open_duration": fact(300.0, f"{_FINAGLE_FACTORY}: equalJittered(5.seconds, 300.seconds)"),
            "open_jitter": fact("equal", f"{_FINAGLE_FACTORY}: equalJittered(5.seconds, 300.seconds)"),
            "half_open_calls": fact(1, f"{_FINAGLE_FACTORY}: ProbeClosed after one request"),
        },
        "throttling": {
            "kind": fact("finagle_nack", _FINAGLE_NACK),
            "window": fact(120.0, f"{_FINAGLE_NACK}: DefaultWindow"),
            "nack_rate_threshold": fact(0.5, f"{_FINAGLE_NACK}: DefaultNackRateThreshold"),
            "max_drop_ratio": fact(0.75, f"{_FINAGLE_NACK}: MaxDropProbability"),
            "rps_threshold": fact(5, f"{_FINAGLE_NACK}: rpsThreshold"),
        },
    },
    blocks={
        "hedging": {
            "max_attempts": fact(2, "finagle 24.5, client/BackupRequestFilter.scala: one backup"),
            "percentile": fact(99.0, "finagle 24.5, client/BackupRequestFilter.scala, the example of its docs: maxExtraLoad 1 %"),
            "min_delay": fact(0.001, "finagle 24.5, client/BackupRequestFilter.scala: MinSendBackupAfterMs"),
            "max_extra_load_percent": fact(1.0, "finagle 24.5, client/BackupRequestFilter.scala, the example of its docs"),
        },
    },
    notes=(
        "Requeues act without being asked for, and only for what surely was not done: failed writes and nacks (`rejected`). "
        "Retries by a response classifier are the user's.",
        "`unreachable` here includes connections that break after the request was written; Finagle does not requeue those.",
        "Failure accrual is a breaker per endpoint and fails open: when all endpoints are dead, Finagle uses them all the same; "
        "here such calls are short-circuited.",
        "`balancing: aperture` is its random aperture, `balancing: peak_ewma` p2cPeakEwma; its default is neither.",
        "Not modelled: FailFast (endpoints that refuse connections, 1 s to 32 s, full jitter), peak EWMA within an aperture.",
        "No timeout by default. Deadlines travel with calls, but servers reject only some that have expired (Mux and Thrift: at "
        "most 20 % in 10 s), so propagate_deadline is off here.",
        "The percentile of backup requests is that of all calls lately; `hedging` needs the extra load that you allow.",
    ),
)

#: The presets of this module.
SYSTEMS: Final = (_GRPC, _AWS_STANDARD, _AWS_2026, _FINAGLE)
