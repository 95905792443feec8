"""How a caller behaves on an edge: every policy of a call, the order of their layers, and what a preset puts below them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sim.policies.adaptive import AdaptiveConcurrency
from sim.policies.balancing_kinds import Balancing
from sim.policies.breaker import CircuitBreaker
from sim.policies.caching import Cache
from sim.policies.call_batch import CallBatch
from sim.policies.concurrency import ConcurrencyLimit
from sim.policies.connections import Connections
from sim.policies.discovery import Discovery
from sim.policies.hedging import Hedging
from sim.policies.outlier import OutlierDetection
from sim.policies.passive import PassiveHealth
from sim.policies.rate import RateLimit
from sim.policies.retry import Retry
from sim.policies.throttle import AdaptiveThrottling
from sim.policies.zones import ZoneRouting
from sim.scenario.presets import PRESETS
from sim.scenario.protocols import Protocol
from sim.scenario.registries import DiscoverySpec, HealthCheckSpec
from sim.scenario.words import nearest
from sim.values import Address, Name, PositiveDuration, Spec

Layer = Literal[
    "fallback", "cache", "deadline", "batch", "retry", "hedging", "throttling",
    "circuit_breaker", "rate_limit", "adaptive_concurrency", "concurrency_limit",
]  # fmt: skip

#: The layers from the outside to the inside, as most client libraries nest them.
LAYERS: Final[tuple[Layer, ...]] = (
    "fallback", "cache", "deadline", "batch", "retry", "hedging", "throttling",
    "circuit_breaker", "rate_limit", "adaptive_concurrency", "concurrency_limit",
)  # fmt: skip

#: Outcomes that a fallback can stand in for.
FallbackOn = Literal["error", "timeout", "rejected", "short_circuited", "unreachable"]


class Fallback(Spec):
    """An answer in the place of a failed one; the outcome is then `degraded`. `fallback: value`, or `{call: shop.default}`.

    A value costs nothing. Another call has its own policies and may fail, too; then the call ends with that outcome. Not in
    the place of an answer that somebody acts on: a degraded price is a wrong price. For stale answers: `cache.stale_if_error`.
    A fallback has none of its own.
    """

    call: Address | None = Field(None, description="service.operation that is asked instead; absent: a value at hand")
    on: tuple[FallbackOn, ...] = Field(
        ("error", "timeout", "rejected", "short_circuited", "unreachable"), description="the outcomes that it stands in for"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: Any) -> Any:
        return {} if data == "value" else data


def _never_again(value: Any) -> Any:
    # Set on purpose, so that it holds against a wider selector and a preset that tries again on its own.
    return {"max_attempts": 1} if value is None else value


#: Of a key that always has a value: null is read as off.
OFF: Final = BeforeValidator(_never_again)


class CallPolicy(Spec):
    """How a caller behaves on an edge. What is absent is inherited from a wider selector, at last from the preset or the
    defaults here."""

    preset: str | None = Field(
        None, description="a system whose rules and numbers lie below what is written here; `sim presets` lists them"
    )
    via: Name | None = Field(
        None, description="a proxy of `proxies` that the call goes through; what is written here is then about the proxies"
    )
    timeout: PositiveDuration | None = Field(None, description="deadline of the whole call, retries and pauses included")
    per_try_timeout: PositiveDuration | None = Field(None, description="longest wait for the answer of one attempt")
    connect_timeout: PositiveDuration | None = Field(
        None, description="longest wait for an endpoint that does not react at all (vanished, partitioned): then unreachable"
    )
    propagate_deadline: bool = Field(
        False, description="whether the target learns the deadline: it starts nothing after it, and its own calls end by then"
    )
    retry: Annotated[Retry, OFF] = Field(
        Retry(), description="which outcomes are tried again, and how; null: none, as max_attempts: 1, over a preset, too"
    )
    hedging: Hedging | None = Field(None, description="further attempts before the first has failed")
    throttling: AdaptiveThrottling | None = Field(
        None, description="refuses a share of the calls while the target refuses many, per caller process"
    )
    circuit_breaker: CircuitBreaker | None = Field(
        None, description="refuses calls after failures; one per caller process and target, or per endpoint"
    )
    outlier_detection: OutlierDetection | None = Field(
        None, description="leaves out endpoints that fail, for a while; per caller process"
    )
    health_check: HealthCheckSpec | None = Field(None, description="active checks of the endpoints by each caller process")
    passive_health: PassiveHealth | None = Field(None, description="the same by nginx's rule")
    rate_limit: RateLimit | None = Field(None, description="calls that a caller process makes at most")
    concurrency_limit: ConcurrencyLimit | None = Field(
        None, description="calls of a caller process in flight at most (a bulkhead; Envoy's circuit breaker)"
    )
    adaptive_concurrency: AdaptiveConcurrency | None = Field(None, description="the same, with a limit that follows the latency")
    cache: Cache | None = Field(None, description="answers that a caller process keeps")
    batch: CallBatch | None = Field(None, description="calls that go together, as one request; gathered by each caller process")
    fallback: Fallback | None = Field(None, description="what stands in for a failed call: its outcome is then `degraded`")
    order: tuple[Layer, ...] = Field(
        LAYERS, description="layers from the outside to the inside; those not named keep their usual place among the others"
    )
    discovery: DiscoverySpec = Field(
        Discovery(), description="how a caller process learns from the target's registry which replicas there are"
    )
    zone_routing: ZoneRouting | None = Field(
        None, description="which zones a caller process considers, before its balancing; absent: all, as if there were none"
    )
    balancing: Balancing = Field(Balancing(), description="how an endpoint is chosen, per caller process")
    connections: Connections | None = Field(
        None, description="the connections that calls go over: balancing chooses for each of these, not for each call (layer 4)"
    )
    protocol: Protocol | None = Field(
        None,
        description="what calls speak, as bytes, processor time and round trips; `sim protocols` lists them. Absent: none of it",
    )
    cancellation: bool = Field(
        False,
        description="whether giving up tells the server, which then stops and frees its worker; else it finishes for nobody",
    )

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        return PRESETS[name].completed(data) if isinstance(name, str) and name in PRESETS else data

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"no preset {value!r}; {nearest(value, PRESETS)}")
        return value

    @model_validator(mode="after")
    def _knows_connections_only(self) -> CallPolicy:
        breaker = self.circuit_breaker
        if self.connections is not None and breaker is not None and breaker.scope == "per_client_x_endpoint":
            raise ValueError(
                "connections: a call goes to the replica of its connection, so circuit_breaker.scope = per_client_x_endpoint has "
                "nothing to choose; write per_client_process, or leave connections out"
            )
        return self

    @field_validator("order")
    @classmethod
    def _once(cls, value: tuple[Layer, ...]) -> tuple[Layer, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"order: {', '.join(value)} names a layer twice; each stands in one place")
        return value

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers from the outside to the inside: those of `order` in their order, in the places that they usually take."""
        named = iter(self.order)
        return tuple(next(named) if layer in self.order else layer for layer in LAYERS)

    def for_endpoints(self, endpoints: int) -> CallPolicy:
        """The policy towards a target with so many endpoints: its number of tries where `each_endpoint` stood."""
        if self.retry.max_attempts != "each_endpoint":
            return self
        return self.model_copy(update={"retry": self.retry.model_copy(update={"max_attempts": endpoints})})

    @property
    def guarded(self) -> bool:
        """Whether more is asked for than deadline, retries with pauses and a breaker of failures in a row."""
        rich = (
            self.hedging, self.throttling, self.outlier_detection, self.health_check, self.passive_health, self.rate_limit,
            self.concurrency_limit, self.adaptive_concurrency, self.cache, self.batch, self.fallback, self.connect_timeout,
            self.connections,
        )  # fmt: skip
        simple = _is_simple_retry(self.retry) and (
            self.circuit_breaker is None or self.circuit_breaker.scope == "per_client_process"
        )
        return any(policy is not None for policy in rich) or self.layers != LAYERS or not simple


def _is_simple_retry(retry: Retry) -> bool:
    backoff = retry.backoff
    return (
        retry.budget is None
        and retry.backoff_after_rejected is None
        and not retry.avoid_previous_endpoints
        and backoff.jitter != "tanh"
        and backoff.respect_retry_after == "none"
        and not {"overflow", "short_circuited"} & set(retry.on)
    )
