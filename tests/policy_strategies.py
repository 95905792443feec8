"""Random policies for the property tests: what calls and services do with trouble."""

from hypothesis import strategies as st

from sim.scenario.calls import LAYERS

laws = st.one_of(
    st.sampled_from([0.0, 0.02, 0.1]),
    st.sampled_from([0.01, 0.05, 0.2]).map(lambda mean: {"exponential": mean}),
    st.sampled_from([0.02, 0.1]).map(lambda mean: {"lognormal": {"mean": mean, "cv": 2.0}}),
    st.sampled_from([0.05, 0.2]).map(lambda mean: {"erlang": {"k": 3, "mean": mean}}),
)


def some(**fields):
    """A mapping with any of these fields, or none."""
    return st.fixed_dictionaries({}, optional=fields)


budgets = st.one_of(
    some(
        budget_percent=st.sampled_from([0, 50]), min_concurrency=st.integers(0, 2), budget_interval=st.sampled_from([0.0, 2.0])
    ).map(lambda budget: {"kind": "concurrency", **budget}),
    some(
        ratio=st.sampled_from([0.1, 1.0]),
        min_retries_per_second=st.integers(0, 2),
        counting=st.sampled_from(["finagle", "tower"]),
    ).map(lambda budget: {"kind": "windowed_ratio", **budget}),
    some(max_tokens=st.sampled_from([2.0, 10.0])).map(lambda budget: {"kind": "token_ratio", **budget}),
    some(capacity=st.sampled_from([10, 100])).map(lambda budget: {"kind": "quota", **budget}),
    some(deposit_on=st.sampled_from(["call", "ok"])).map(lambda budget: {"kind": "deposit", **budget}),
    st.just({"kind": "failure_rate"}),
)

breakers = st.one_of(
    some(consecutive_failures=st.integers(1, 3)),
    some(window_size=st.integers(2, 10), minimum_calls=st.integers(1, 5)).map(
        lambda breaker: {"window_type": "count", **breaker}
    ),
    some(
        window_duration=st.sampled_from([1.0, 5.0]),
        minimum_calls=st.integers(1, 5),
        slow_call_duration=st.sampled_from([0.0, 0.1]),
        slow_call_rate_threshold_percent=st.just(50.0),
        evaluate_every=st.just(0.5),
        window_buckets=st.just(10),
    ).map(lambda breaker: {"window_type": "time", **breaker}),
)

outliers = some(
    rules=st.sampled_from(["envoy", "grpc"]),
    interval=st.sampled_from([0.5, 3.0]),
    base_ejection_time=st.sampled_from([0.5, 5.0]),
    consecutive_5xx=st.integers(1, 5),
    max_ejection_percent=st.sampled_from([10, 50, 100]),
    success_rate_minimum_hosts=st.just(1),
    success_rate_request_volume=st.just(3),
    healthy_panic_threshold_percent=st.sampled_from([0, 50]),
)

hedges = st.builds(
    lambda trigger, hedge: {**trigger, **hedge},
    st.sampled_from([{"delay": 0}, {"delay": 0.02}, {"delay": 0.1}, {"percentile": 80}, {"on_per_try_timeout": True}]),
    some(
        max_attempts=st.integers(2, 3),
        cancel_losers=st.booleans(),
        non_fatal=st.sampled_from([(), ("error",), ("error", "timeout", "rejected", "unreachable")]),
        max_extra_load_percent=st.just(30),
        window=st.just(3.0),
        refresh=st.just(0.5),
    ),
)

limits = st.one_of(
    st.fixed_dictionaries({"max_concurrent": st.integers(0, 3)}),
    st.fixed_dictionaries(
        {"max_concurrent": st.integers(1, 3), "max_queue": st.sampled_from([1, 3, "unbounded"])},
        optional={"max_wait": st.sampled_from([0.05, 0.3])},
    ),
)

throttles = st.one_of(
    st.just({"kind": "sre", "window": 3, "multiplier": 1.2}),
    st.just({"kind": "envoy", "window": 3}),
    st.just({"kind": "finagle_nack", "window": 2, "rps_threshold": 1}),
)

rates = st.one_of(
    some(burst=st.integers(1, 3), max_wait=st.sampled_from([0.0, 0.3])).map(
        lambda limit: {"kind": "token_bucket", "rate": 5.0, **limit}
    ),
    some(max_wait=st.sampled_from([0.05, 0.5]), limit=st.integers(1, 5)).map(
        lambda limit: {"kind": "fixed_window", "period": 0.4, **limit}
    ),
    st.just({"kind": "fixed_window", "limit": 1, "period": 0.3, "max_wait": 0.2, "refuse": "after_max_wait"}),
)

adaptive = st.one_of(
    st.just({"algorithm": "aimd", "initial_limit": 2, "min_limit": 1, "max_limit": 10}),
    st.just({"algorithm": "vegas", "initial_limit": 2, "max_limit": 10}),
    st.just({"algorithm": "gradient2", "initial_limit": 2, "min_limit": 1, "max_limit": 10}),
    st.just({"algorithm": "gradient", "min_rtt_calls": 5, "update_interval": 0.2}),
)

caches = st.fixed_dictionaries(
    {"max_age": st.sampled_from([0.1, 1.0])},
    optional={
        "keys": st.sampled_from([1, 5]),
        "zipf": st.just(1.0),
        "capacity": st.integers(1, 3),
        "request_collapsing": st.booleans(),
        "stale_while_revalidate": st.just(1.0),
        "stale_if_error": st.just(5.0),
        "hit_time": st.sampled_from([0.001, {"exponential": 0.01}]),
    },
)

connections = st.builds(
    lambda kind, limits, ages: {**kind, **limits, **ages},
    st.sampled_from(
        [
            {},
            {"per_process": 2, "max_concurrent": 1},
            {"per_process": 3, "use": "spread"},
            {"per_process": 20, "max_concurrent": 1, "max_requests": 1},
            {"max_concurrent": 2, "follow_discovery": True},
        ]
    ),
    some(
        max_queue=st.sampled_from([0, 2]),
        max_requests=st.integers(1, 5),
        round_trips=st.integers(0, 2),
    ),
    some(
        max_age=st.sampled_from([0.5, 3.0]),
        idle_timeout=st.sampled_from([0.2, 2.0]),
        keepalive=st.just(1.0),
    ).flatmap(
        lambda ages: some(max_age_grace=st.sampled_from([0.0, 0.3])).map(lambda g: {**ages, **(g if "max_age" in ages else {})})
    ),
)

fallbacks = st.one_of(
    st.just("value"), st.just({"on": ["timeout", "error"]}), st.just({"call": "last.resort"}), st.just({"call": "last.resort"})
)

disciplines = st.sampled_from(
    [
        {"kind": "fifo"},
        {"kind": "lifo"},
        {"kind": "priority"},
        {"kind": "earliest_deadline"},
        {"kind": "adaptive_lifo", "lifo_above": 2},
        {"kind": "adaptive_lifo", "controlled_delay": True},
        {"kind": "codel"},
    ]
)

sheddings = st.sampled_from(
    [
        {"kind": "utilisation", "from_busy": 0.5, "per_priority": 0.2},
        {"kind": "wait", "max_wait": 0.1, "averaged_calls": 5},
        {"kind": "dagor", "window": 0.5},
    ]
)

balancings = st.one_of(
    st.sampled_from(["round_robin", "random", "least_request", "two_choices"]),
    st.builds(
        lambda rule, more: {**rule, **more},
        st.sampled_from(
            [
                {"kind": "two_choices", "replacement": False},
                {"kind": "least_request", "weights": [3.0, 1.0], "active_request_bias": 0.5},
                {"kind": "weighted_round_robin", "weights": [1.0, 2.5]},
                {"kind": "round_robin", "slow_start": {"window": 3.0, "aggression": 2.0}},
                {"kind": "two_choices", "slow_start": {"window": 3.0}},
                {"kind": "peak_ewma", "decay": 1.0},
                {"kind": "peak_ewma", "default_rtt": 0.03},
                {"kind": "ring_hash", "keys": 5, "min_ring_size": 20, "hash_balance_factor": 110},
                {"kind": "maglev", "keys": 20, "zipf": 1.0, "table_size": 101},
                {"kind": "aperture", "smoothing": 1.0},
                {"kind": "deterministic_aperture", "min_aperture": 2},
                {"kind": "pick_first", "shuffle": True},
                {"kind": "join_idle_queue"},
                {"kind": "prequal", "pool_size": 2, "max_age": 0.5},
                {"kind": "utilisation", "blackout": 1.0, "expiry": 3.0, "update": 0.5},
            ]
        ),
        some(subset_size=st.integers(1, 2)),
    ),
)

plain_policies = some(
    timeout=st.sampled_from([0.3, 1.0, 3.0]),
    per_try_timeout=st.sampled_from([0.05, 0.2, 1.0]),
    cancellation=st.booleans(),
    propagate_deadline=st.booleans(),
    balancing=balancings,
    circuit_breaker=breakers,
    retry=st.fixed_dictionaries(
        {"max_attempts": st.integers(1, 3)},
        optional={
            "backoff": st.fixed_dictionaries(
                {"base": st.just(0.0) | st.floats(1e-9, 0.2), "jitter": st.sampled_from(["none", "full"])}
            )
        },
    ),
)

policies = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from([0.3, 1.0, 3.0]),
        "per_try_timeout": st.sampled_from([0.05, 0.2, 1.0]),
        "cancellation": st.booleans(),
        "propagate_deadline": st.booleans(),
        "connect_timeout": st.sampled_from([0.02, 0.5]),
        "balancing": balancings,
        "retry": st.fixed_dictionaries(
            {"max_attempts": st.integers(1, 3)},
            optional={
                "backoff": st.fixed_dictionaries(
                    {
                        "base": st.just(0.0) | st.floats(1e-9, 0.2),
                        "jitter": st.sampled_from(["none", "full", "equal", "decorrelated"]),
                    },
                    optional={
                        "kind": st.sampled_from(["constant", "linear", "exponential"]),
                        "max": st.floats(0.1, 1),
                        "respect_retry_after": st.sampled_from(["exact", "at_least", "grpc"]),
                    },
                ),
                "on": st.sampled_from([("error", "overflow", "short_circuited"), ("timeout", "rejected", "unreachable")]),
                "avoid_previous_endpoints": st.booleans(),
                "budget": budgets,
            },
        ),
    },
)

#: What makes a caller a guarded one; each of them in few scenarios only, or nothing would ever get through.
guards = {
    "hedging": hedges,
    "throttling": throttles,
    "circuit_breaker": st.builds(
        lambda breaker, scope, more: {**breaker, **scope, **more},
        breakers,
        some(scope=st.just("per_client_x_endpoint")),
        some(open_duration=st.sampled_from([0.2, 2.0]), half_open_calls=st.integers(1, 2), half_open_max_wait=st.just(1.0)),
    ),
    "outlier_detection": outliers,
    "passive_health": st.just({"fail_timeout": 1.0}),
    "rate_limit": rates,
    "concurrency_limit": limits,
    "adaptive_concurrency": adaptive,
    "cache": caches,
    "connections": connections,
    "fallback": fallbacks,
    "order": st.permutations(LAYERS).map(tuple),
}


def without_breakers_of_endpoints(calls):
    """Policies of selectors that lie over each other; where one has connections, there is no endpoint to choose."""
    if not any("connections" in policy for policy in calls.values()):
        return calls
    return {
        selector: {
            **policy,
            **{
                key: {name: value for name, value in policy[key].items() if name != "scope"}
                for key in ("circuit_breaker",)
                if policy.get(key)
            },
        }
        for selector, policy in calls.items()
    }


@st.composite
def guarded_policies(draw):
    """A policy with up to three of the guards."""
    chosen = draw(st.lists(st.sampled_from(sorted(guards)), max_size=3, unique=True))
    policy = draw(policies)
    return {**policy, **{name: draw(guards[name]) for name in chosen}}
