"""Libraries that wrap a call in the caller's own process: resilience4j, Polly and what .NET builds from it, Hystrix."""

from __future__ import annotations

from typing import Any, Final

from sim.scenario.preset import fact, preset

_R4J: Final = "resilience4j 2.4"
_R4J_BREAKER: Final = f"{_R4J}, CircuitBreakerConfig"
_R4J_RETRY: Final = f"{_R4J}, RetryConfig"
_R4J_INTERVAL: Final = f"{_R4J}, core IntervalFunction"
_R4J_LIMITER: Final = f"{_R4J}, RateLimiterConfig"
_NO_MAXIMUM_S: Final = 1e9  # where a system has none
_EVERYTHING: Final = ("error", "timeout", "rejected", "unreachable", "overflow", "short_circuited")
_FAILURES: Final = ("error", "timeout", "rejected", "unreachable")

_RESILIENCE4J: Final = preset(
    "resilience4j@2",
    "resilience4j's decorators in the order of its Spring aspects",
    on={
        "order": fact(
            ("retry", "circuit_breaker", "rate_limit", "concurrency_limit"),
            f"{_R4J}, spring6 aspect orders: Retry(CircuitBreaker(RateLimiter(TimeLimiter(Bulkhead))))",
        ),
    },
    blocks={
        "retry": {
            "max_attempts": fact(3, f"{_R4J_RETRY}: maxAttempts"),
            "on": fact(_EVERYTHING, f"{_R4J_RETRY}: every exception, CallNotPermitted and BulkheadFull included"),
            "backoff": {
                "kind": fact("constant", f"{_R4J_RETRY}: waitDuration"),
                "base": fact(0.5, f"{_R4J_RETRY}: DEFAULT_WAIT_DURATION"),
                "multiplier": fact(1.5, f"{_R4J_INTERVAL}: DEFAULT_MULTIPLIER"),
                "max": fact(_NO_MAXIMUM_S, f"{_R4J}, exponentialMaxWaitDuration: none"),
                "jitter": fact("none", f"{_R4J}, enableRandomizedWait: false"),
                "jitter_ratio": fact(0.5, f"{_R4J_INTERVAL}: DEFAULT_RANDOMIZATION_FACTOR"),
                "cap": fact("after_jitter", f"{_R4J_INTERVAL}: ofExponentialRandomBackoff"),
            },
        },
        "circuit_breaker": {
            "scope": fact("per_client_process", f"{_R4J}, CircuitBreakerRegistry: one per name and process"),
            "window_type": fact("count", f"{_R4J_BREAKER}: COUNT_BASED"),
            "window_size": fact(100, f"{_R4J_BREAKER}: slidingWindowSize"),
            "window_duration": fact(100.0, f"{_R4J_BREAKER}: slidingWindowSize, in seconds if TIME_BASED"),
            "minimum_calls": fact(100, f"{_R4J_BREAKER}: minimumNumberOfCalls"),
            "failure_rate_threshold_percent": fact(50.0, f"{_R4J_BREAKER}: failureRateThreshold"),
            "slow_call_duration": fact(60.0, f"{_R4J_BREAKER}: slowCallDurationThreshold"),
            "slow_call_rate_threshold_percent": fact(100.0, f"{_R4J_BREAKER}: slowCallRateThreshold"),
            "open_duration": fact(60.0, f"{_R4J_BREAKER}: waitDurationInOpenState"),
            "half_open_calls": fact(10, f"{_R4J_BREAKER}: permittedNumberOfCallsInHalfOpenState"),
            "half_open_max_wait": fact(None, f"{_R4J_BREAKER}: maxWaitDurationInHalfOpenState 0, for ever"),
            "automatic_half_open": fact(False, f"{_R4J_BREAKER}: automaticTransitionFromOpenToHalfOpenEnabled"),
            "failures": fact(_FAILURES, f"{_R4J_BREAKER}: recordExceptions, every exception"),
        },
        "rate_limit": {
            "kind": fact("fixed_window", f"{_R4J}, AtomicRateLimiter"),
            "limit": fact(50, f"{_R4J_LIMITER}: limitForPeriod"),
            "period": fact(500e-9, f"{_R4J_LIMITER}: limitRefreshPeriod 500 ns"),
            "max_wait": fact(5.0, f"{_R4J_LIMITER}: timeoutDuration"),
            "refuse": fact("after_max_wait", f"{_R4J}, AtomicRateLimiter: waits for timeoutDuration, too, before it refuses"),
        },
        "concurrency_limit": {
            "max_concurrent": fact(25, f"{_R4J}, BulkheadConfig: maxConcurrentCalls"),
            "max_queue": fact(0, f"{_R4J}, BulkheadConfig: maxWaitDuration 0"),
        },
    },
    notes=(
        "Nothing acts by default. A TimeLimiter begins with 1 s: write per_try_timeout: 1s.",
        "Retry is outside of the breaker: every try is counted, and calls that the breaker or the bulkhead refused are tried "
        "again after a pause. Leave short_circuited and overflow out of `on` to have it otherwise (ignoreExceptions).",
        "The rate limiter's period of 500 ns makes its default no limit at all. With max_wait: 0s write refuse: at_once.",
        "To let calls wait for the bulkhead give max_wait and max_queue: unbounded; in resilience4j the line has no limit.",
        "enableExponentialBackoff is kind: exponential, enableRandomizedWait is jitter: ratio.",
        "The TimeLimiter is outside of the bulkhead and counts the wait for it; the per-try timeout here does not.",
        "A late answer counts for the breaker's state at its time in resilience4j; here it counts for that of its call.",
        "With Spring's fallbackMethod the place of the fallback is that of its annotation; here it is outside of everything.",
    ),
)

_POLLY: Final = "Polly 8.7"
_POLLY_BREAKER: Final = f"{_POLLY}, CircuitBreakerConstants"
_POLLY_RETRY: Final = f"{_POLLY}, RetryConstants"
_ANY_EXCEPTION: Final = f"{_POLLY}, ShouldHandle: any exception but OperationCanceledException"
_PIPELINE: Final = "dotnet/extensions 10, AddStandardResilienceHandler; in Polly itself the order is the user's"
_POLLY_ORDER: Final = (
    "fallback", "cache", "rate_limit", "concurrency_limit", "deadline", "retry", "hedging", "throttling",
    "circuit_breaker", "adaptive_concurrency",
)  # fmt: skip


def _polly_breaker() -> dict[str, Any]:
    return {
        "scope": fact("per_client_process", f"{_POLLY}, one per pipeline"),
        "window_type": fact("time", f"{_POLLY}, CircuitBreaker/Health"),
        "window_duration": fact(30.0, f"{_POLLY_BREAKER}: DefaultSamplingDuration"),
        "window_buckets": fact(10, f"{_POLLY}, HealthMetrics: NumberOfWindows"),
        "minimum_calls": fact(100, f"{_POLLY_BREAKER}: DefaultMinimumThroughput"),
        "failure_rate_threshold_percent": fact(10.0, f"{_POLLY_BREAKER}: DefaultFailureRatio 0.1"),
        "only_on_failure": fact(True, f"{_POLLY}, AdvancedCircuitBehavior: judged at failures"),
        "open_duration": fact(5.0, f"{_POLLY_BREAKER}: DefaultBreakDuration"),
        "half_open_calls": fact(1, f"{_POLLY}, CircuitStateController: one probe"),
        "failures": fact(_FAILURES, _ANY_EXCEPTION),
    }


def _polly_limiter() -> dict[str, Any]:
    return {
        "max_concurrent": fact(1000, f"{_POLLY}, RateLimiterConstants: DefaultPermitLimit"),
        "max_queue": fact(0, f"{_POLLY}, RateLimiterConstants: DefaultQueueLimit"),
    }


_POLLY_8: Final = preset(
    "polly@8",
    "Polly's strategies, with their own defaults",
    on={"order": fact(_POLLY_ORDER, _PIPELINE)},
    blocks={
        "retry": {
            "max_attempts": fact(4, f"{_POLLY_RETRY}: DefaultRetryCount 3"),
            "on": fact(_EVERYTHING, _ANY_EXCEPTION),
            "backoff": {
                "kind": fact("constant", f"{_POLLY_RETRY}: DefaultBackoffType"),
                "base": fact(2.0, f"{_POLLY_RETRY}: DefaultBaseDelay"),
                "multiplier": fact(2.0, f"{_POLLY}, RetryHelper: ExponentialFactor"),
                "max": fact(_NO_MAXIMUM_S, f"{_POLLY}, RetryStrategyOptions: MaxDelay null"),
                "jitter": fact("none", f"{_POLLY}, RetryStrategyOptions: UseJitter false"),
                "jitter_ratio": fact(0.25, f"{_POLLY}, RetryHelper: JitterFactor 0.5, half on either side"),
                "cap": fact("after_jitter", f"{_POLLY}, RetryHelper: MaxDelay"),
            },
        },
        "hedging": {
            "max_attempts": fact(2, f"{_POLLY}, HedgingConstants: DefaultMaxHedgedAttempts 1"),
            "delay": fact(2.0, f"{_POLLY}, HedgingConstants: DefaultHedgingDelay"),
            "non_fatal": fact(_FAILURES, _ANY_EXCEPTION),
            "cancel_losers": fact(True, f"{_POLLY}, HedgingResilienceStrategy"),
        },
        "circuit_breaker": _polly_breaker(),
        "concurrency_limit": _polly_limiter(),
        "fallback": {
            "on": fact(("error", "timeout", "rejected", "short_circuited", "unreachable"), _ANY_EXCEPTION),
        },
    },
    notes=(
        "Nothing acts by default. A timeout strategy begins with 30 s: write timeout: 30s, or per_try_timeout inside of a retry.",
        "MaxRetryAttempts: 3 is max_attempts: 4. HandleAll: what the breaker or a limiter inside of the retry refuses is tried "
        "again as well.",
        "UseJitter is jitter: ratio for constant and linear pauses, and kind: exponential with jitter: tanh otherwise.",
        "The order is that of the standard handler of .NET: limiter, timeout, retry, breaker. In a pipeline of your own it is "
        "yours: write `order`.",
        "The breaker opens at a failure only, has no rule for slow calls and knows no failures in a row.",
        "A late answer counts for the breaker's state at its time in Polly; here it counts for that of its call.",
    ),
)

_DOTNET: Final = "dotnet/extensions 10, Http.Resilience"
_TRANSIENT: Final = f"{_DOTNET}, HttpClientResiliencePredicates: 408, 429, 5xx, HttpRequestException, timeouts"

_DOTNET_HTTP: Final = preset(
    "dotnet-http@10",
    ".NET's AddStandardResilienceHandler for an HttpClient",
    on={
        "timeout": fact(30.0, f"{_DOTNET}, HttpStandardResilienceOptions: TotalRequestTimeout, as Polly's"),
        "per_try_timeout": fact(10.0, f"{_DOTNET}, HttpStandardResilienceOptions: AttemptTimeout"),
        "order": fact(_POLLY_ORDER, f"{_DOTNET}, AddStandardResilienceHandler"),
        "retry": {
            "max_attempts": fact(4, f"{_POLLY_RETRY}: DefaultRetryCount 3"),
            "on": fact(_FAILURES, _TRANSIENT),
            "backoff": {
                "kind": fact("exponential", f"{_DOTNET}, HttpRetryStrategyOptions: BackoffType"),
                "base": fact(2.0, f"{_POLLY_RETRY}: DefaultBaseDelay"),
                "max": fact(_NO_MAXIMUM_S, f"{_POLLY}, RetryStrategyOptions: MaxDelay null"),
                "jitter": fact("tanh", f"{_DOTNET}, HttpRetryStrategyOptions: UseJitter; {_POLLY}, RetryHelper"),
                "respect_retry_after": fact("exact", f"{_DOTNET}, HttpRetryStrategyOptions: ShouldRetryAfterHeader"),
            },
        },
        "circuit_breaker": {**_polly_breaker(), "failures": fact(_FAILURES, _TRANSIENT)},
        "concurrency_limit": _polly_limiter(),
    },
    blocks={},
    notes=(
        "Everything acts by default, POST included. What the breaker refuses is not tried again, nor what the limiter refuses, "
        "which is outside of all.",
        "The longest of the pauses, about 8 s, and four tries of 10 s do not fit into the 30 s of the whole call.",
        "Not modelled: the hedging handler; one pipeline per authority.",
    ),
)

_COMMAND: Final = "Hystrix 1.5, HystrixCommandProperties"
_POOL: Final = "Hystrix 1.5, HystrixThreadPoolProperties"
_CIRCUIT: Final = "Hystrix 1.5, HystrixCircuitBreaker"
_HEALTH: Final = "Hystrix 1.5, HystrixCommandMetrics.HealthCounts: FAILURE, TIMEOUT, both rejections; no short circuits"

_COMMAND_ORDER: Final = (
    "fallback", "cache", "circuit_breaker", "deadline", "concurrency_limit", "retry", "hedging", "throttling",
    "rate_limit", "adaptive_concurrency",
)  # fmt: skip

_HYSTRIX: Final = preset(
    "hystrix@1.5",
    "A Hystrix command around the call",
    on={
        "order": fact(
            _COMMAND_ORDER,
            "Hystrix 1.5, AbstractCommand: breaker, timeout, thread pool, run",
        ),
        "timeout": fact(1.0, f"{_COMMAND}: execution.isolation.thread.timeoutInMilliseconds"),
        "concurrency_limit": {
            "max_concurrent": fact(10, f"{_POOL}: coreSize; {_COMMAND}: semaphore.maxConcurrentRequests"),
            "max_queue": fact(0, f"{_POOL}: maxQueueSize -1"),
        },
        "circuit_breaker": {
            "scope": fact("per_client_process", f"{_CIRCUIT}.Factory: one per command key"),
            "window_type": fact("time", f"{_COMMAND}: metrics.rollingStats"),
            "window_duration": fact(10.0, f"{_COMMAND}: metrics.rollingStats.timeInMilliseconds"),
            "evaluate_every": fact(0.5, f"{_COMMAND}: metrics.healthSnapshot.intervalInMilliseconds"),
            "minimum_calls": fact(20, f"{_COMMAND}: circuitBreaker.requestVolumeThreshold"),
            "failure_rate_threshold_percent": fact(50.0, f"{_COMMAND}: circuitBreaker.errorThresholdPercentage"),
            "open_duration": fact(5.0, f"{_COMMAND}: circuitBreaker.sleepWindowInMilliseconds"),
            "half_open_calls": fact(1, f"{_CIRCUIT}: attemptExecution"),
            "failures": fact(_FAILURES, _HEALTH),
        },
    },
    blocks={
        "fallback": {
            "on": fact(
                ("error", "timeout", "rejected", "short_circuited", "unreachable"),
                "Hystrix 1.5, AbstractCommand: getFallback for every failure but HystrixBadRequestException",
            ),
        },
    },
    notes=(
        "Timeout, thread pool and breaker act on every command by default; a fallback acts where the command has one.",
        "Retries are none of Hystrix: those of a Ribbon client are inside of the command, so they share its second, and the "
        "breaker sees one call.",
        "max_queue is maxQueueSize; of a longer queue Hystrix uses 5 places at first (queueSizeRejectionThreshold).",
        "A thread whose call has timed out stays busy until its work ends; here its place is free at once.",
        "The error percentage is cut to a whole number before it is compared.",
        "A HystrixCollapser is `batch: {wait: 10ms}`, of a request or of the process; its timer ticks for all, here one begins "
        "with the first call.",
        "Not modelled: the semaphore of 10 fallbacks at a time and the request cache.",
    ),
)

#: The presets of this module.
SYSTEMS: Final = (_RESILIENCE4J, _POLLY_8, _DOTNET_HTTP, _HYSTRIX)
