"""What a caller's balancing can be set to: its kind, and the fields that each kind reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_serializer, model_validator

from sim.policies.kinds import refuse_foreign
from sim.values import Duration, PositiveDuration, Ratio, Spec

#: Names of the balancing rules in the scenario language.
BalancingKind = Literal[
    "round_robin", "weighted_round_robin", "random", "two_choices", "least_request", "peak_ewma", "ring_hash", "maglev",
    "aperture", "deterministic_aperture", "pick_first", "utilisation", "join_idle_queue", "prequal",
]  # fmt: skip

_WEIGHTED: Final = ("weighted_round_robin", "two_choices", "least_request", "ring_hash", "maglev")
_HASHED: Final = ("ring_hash", "maglev")

#: Which kinds read a field.
_OWNERS: Final = {
    "weights": _WEIGHTED,
    "replacement": ("two_choices",),
    "active_request_bias": ("two_choices", "least_request"),
    "slow_start": ("round_robin", "weighted_round_robin", "two_choices", "least_request"),
    "decay": ("peak_ewma",),
    "default_rtt": ("peak_ewma",),
    "keys": _HASHED,
    "zipf": _HASHED,
    "hash_balance_factor": _HASHED,
    "min_ring_size": ("ring_hash",),
    "max_ring_size": ("ring_hash",),
    "table_size": ("maglev",),
    "low_load": ("aperture",),
    "high_load": ("aperture",),
    "smoothing": ("aperture",),
    "min_aperture": ("aperture", "deterministic_aperture"),
    "shuffle": ("pick_first",),
    "blackout": ("utilisation",),
    "expiry": ("utilisation",),
    "update": ("utilisation",),
    "error_penalty": ("utilisation",),
    "report_window": ("utilisation",),
    "probes": ("prequal",),
    "removes": ("prequal",),
    "pool_size": ("prequal",),
    "max_age": ("prequal",),
    "hot_quantile": ("prequal",),
    "reuse_delta": ("prequal",),
}

_RingSize = Annotated[int, Field(ge=1, le=8_388_608)]
_Weight = Annotated[float, Field(gt=0, le=1e6)]
_Load = Annotated[float, Field(gt=0)]


class SlowStart(Spec):
    """An endpoint that has just come gets fewer calls at first, and its share grows over `window`.

    ::

        weight · max(min_weight_ratio, (max(t, 1 ms) / window)^(1 / aggression))        t since the process knows of it

    What a process knows when it starts all comes at that moment, so it begins with equal shares. For servers that are slow while
    they are cold (caches, compilers). Not for a single new endpoint among few under high load: the others carry it meanwhile.

    Source: envoy@1.40 `EdfLoadBalancerBase::applySlowStartFactor`; there, too, a host is new when it has been added.
    """

    window: PositiveDuration = Field(description="how long an endpoint counts as new")
    aggression: Annotated[float, Field(gt=0, le=100)] = Field(1.0, description="1: its share grows evenly; more: fast at first")
    min_weight_ratio: Ratio = Field(0.1, description="share of its weight that it has at least")


class Balancing(Spec):
    """How a caller process chooses an endpoint for each attempt. A bare word is the kind: `balancing: two_choices`.

    ::

        round_robin           each in turn
        weighted_round_robin  in proportion to `weights`, evenly spread (nginx's smooth rule)
        random                any, whatever its state
        two_choices           two at random; the one with fewer calls of this process in flight
        least_request         the one of all with the fewest calls of this process in flight
        peak_ewma             two at random; the one with less peak latency · (calls in flight + 1)
        ring_hash, maglev     by a key of the call: the same key goes to the same endpoint while the endpoints stay
        aperture              two_choices among few, as many as keep about one call in flight each
        deterministic_aperture  two_choices within a slice of the ring of endpoints; all slices together cover it evenly
        pick_first            one for all calls, until it is gone
        utilisation           in proportion to calls per second / utilisation, as the servers report them
        join_idle_queue       one that has announced itself as idle; any at random when none has
        prequal               the fastest of those that are not too busy, of those that have answered probes lately

    With unequal `weights`, an `active_request_bias` or a `slow_start`, `two_choices` and `least_request` become a weighted round
    robin whose weights are weight / (calls in flight + 1)^bias, as in Envoy. `subset_size` goes with every kind: the process uses
    so many endpoints only, chosen by rendezvous hashing with a salt of its own (gRFC A68), so that few change with a server.

    All it knows is its own: a process sees its own calls in flight and the answers that it got, and forgets them when it
    restarts. Looking at calls in flight helps little where many processes make few calls each, and draws load to an endpoint that
    fails fast: combine it with `outlier_detection`. Hashing gives up balance for affinity: popular keys make popular endpoints.

    Source: envoy@1.40; finagle@24 (aperture, peak EWMA, two distinct choices); tower@0.5 and linkerd (peak EWMA); nginx@1.29;
    gRFC A58 (utilisation), A62 (pick_first), A68 (subsets); Lu et al. 2011 (join_idle_queue); Wydrowski et al. 2024 (prequal).
    """

    kind: BalancingKind = Field("round_robin", description="the rule")
    weights: tuple[_Weight, ...] = Field((), description="of the replicas in order, begun anew after the last; absent: equal")
    subset_size: Annotated[int, Field(ge=1)] | None = Field(None, description="endpoints that a process uses; absent: all")
    replacement: bool = Field(
        True, description="two_choices: whether one may be drawn twice, as in Envoy; false: as in Finagle and HAProxy"
    )
    active_request_bias: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="exponent of the calls in flight in the weights; absent: 1, where weights differ at all"
    )
    slow_start: SlowStart | None = Field(None, description="a share that grows for endpoints that have just come")
    decay: PositiveDuration = Field(10.0, description="peak_ewma: mean age of the latencies in the average")
    default_rtt: PositiveDuration | None = Field(
        None, description="peak_ewma: latency of who has not answered yet; absent: 0, and no second call while one waits"
    )
    keys: Annotated[int, Field(ge=1, le=1_000_000)] = Field(1000, description="hashing: how many different keys calls have")
    zipf: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="hashing: exponent of their popularity; 0: all alike")
    hash_balance_factor: Annotated[int, Field(ge=100)] | None = Field(
        None, description="hashing: calls in flight at one endpoint at most, in percent of the average; absent: no limit"
    )
    min_ring_size: _RingSize = Field(1024, description="ring_hash: points on the ring, at least")
    max_ring_size: _RingSize = Field(8_388_608, description="ring_hash: points on the ring, at most (gRPC: 4096)")
    table_size: Annotated[int, Field(ge=2, le=5_000_011)] = Field(65_537, description="maglev: places of the table, a prime")
    low_load: _Load = Field(0.875, description="aperture: calls in flight per endpoint at or below which it gets narrower")
    high_load: _Load = Field(1.125, description="aperture: calls in flight per endpoint at or above which it gets wider")
    smoothing: Duration = Field(15.0, description="aperture: mean age of the calls in flight in their average")
    min_aperture: Annotated[int, Field(ge=1)] | None = Field(
        None, description="aperture: endpoints at least; absent: 1, of a deterministic one 12"
    )
    shuffle: bool = Field(False, description="pick_first: whether each process has an order of its own; else the replicas' order")
    blackout: Duration = Field(10.0, description="utilisation: how long an endpoint must have reported before it has a weight")
    expiry: PositiveDuration = Field(180.0, description="utilisation: how long a report is good")
    update: PositiveDuration = Field(1.0, description="utilisation: time between two looks at the reports, at least 100ms")
    error_penalty: Annotated[float, Field(ge=0)] = Field(1.0, description="utilisation: what an error ratio of 1 adds to it")
    report_window: PositiveDuration = Field(1.0, description="utilisation: mean age of what servers average for their reports")

    probes: Annotated[float, Field(gt=0, le=100)] = Field(3.0, description="prequal: probes per attempt")
    removes: Annotated[float, Field(ge=0, le=100)] = Field(1.0, description="prequal: answers that are dropped per attempt")
    pool_size: Annotated[int, Field(ge=2, le=1000)] = Field(16, description="prequal: answers that are kept")
    max_age: PositiveDuration = Field(1.0, description="prequal: how long an answer is good")
    hot_quantile: Annotated[float, Field(ge=0, le=1)] = Field(0.84, description="prequal: share of the endpoints that is cold")
    reuse_delta: Annotated[float, Field(ge=0)] = Field(1.0, description="prequal: how much more often answers are used")

    @model_validator(mode="before")
    @classmethod
    def _bare_kind(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _fits(self) -> Balancing:
        refuse_foreign(self, "balancing", self.kind, _OWNERS)
        if self.min_ring_size > self.max_ring_size:
            raise ValueError(f"balancing: min_ring_size = {self.min_ring_size} is above max_ring_size = {self.max_ring_size}")
        if self.low_load >= self.high_load:
            raise ValueError(f"balancing: low_load = {self.low_load:g} must be below high_load = {self.high_load:g}")
        if not _is_prime(self.table_size):
            raise ValueError(f"balancing: table_size = {self.table_size} is no prime; else some places are never tried")
        return self

    @model_serializer(mode="wrap", when_used="json")
    def _short(self, full: Callable[[Any], dict[str, Any]]) -> Any:
        said = full(self)
        return said["kind"] if set(said) == {"kind"} else said

    @property
    def wants_report(self) -> bool:
        """Whether servers have to say how busy they are."""
        return self.kind in ("utilisation", "join_idle_queue", "prequal")


def _is_prime(number: int) -> bool:
    return all(number % factor for factor in range(2, int(number**0.5) + 1))
