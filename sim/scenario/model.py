"""The scenario: one frozen value that says everything a run needs, and the comparison of several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sim.errors import ScenarioError
from sim.laws import Law
from sim.policies.codecs import Codec
from sim.policies.payloads import Encoding, Message, Payloads
from sim.scenario.calls import CallPolicy
from sim.scenario.deployments import Deployment
from sim.scenario.edges import CLIENT, selectors_of
from sim.scenario.faults import Fault
from sim.scenario.load import Load
from sim.scenario.messaging.logs import Log
from sim.scenario.messaging.queues import Broker, Queue, Topic
from sim.scenario.messaging.stores import Store
from sim.scenario.messaging.together import Together
from sim.scenario.presets import PRESETS, merged
from sim.scenario.problems import NOT_TO_QUEUES, problems_of
from sim.scenario.protocols import CompressionCost, Costs, Protocol, level_of
from sim.scenario.proxies import AS_A_FLOW, Proxy
from sim.scenario.registries import RegistrySpec
from sim.scenario.services import Link, Selector, Service
from sim.scenario.slo import SloSpec
from sim.values import Address, Duration, LawSpec, Name, PositiveDuration, Spec, parse_law

#: Keys that say how results are told, and change no row.
_NO_INFLUENCE = ("name", "question", "focus", "slos", "laws", "guesses", "measured")
#: Contradictions that are told at once; each costs a search for what was meant.
_MOST_PROBLEMS = 200


class Run(Spec):
    """How long, how often, from which seed."""

    duration: PositiveDuration = Field(60.0, description="measured time: requests that arrive in it count")
    warmup: Duration = Field(0.0, description="time before the measured window; its requests are simulated but do not count")
    drain: Duration | None = Field(
        None,
        description="longest wait for open requests after the last arrival; absent: as long as warmup and duration together",
    )
    replications: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10, description="independent repetitions; 20 or more for tails"
    )
    seed: Annotated[int, Field(ge=0)] = Field(1, description="replication r uses seed + r")
    sample_every: PositiveDuration | None = Field(None, description="interval of the gauges; absent: a hundredth of the run")
    record_attempts: bool = Field(True, description="whether every attempt is kept as a row (most of the memory)")
    record_requests: bool = Field(
        True,
        description="whether every request is kept as a row. false (with record_attempts: false, and without queues and effects) "
        "keeps counts and sketches only, and memory does not grow with the requests: ratios, rates and means stay exact, "
        "percentiles are within 1 %; what is lost: the rows, charts made of them, tries_per_call",
    )

    @property
    def end(self) -> float:
        """Clock time of the last arrival, in seconds."""
        return self.warmup + self.duration


class Scenario(Spec):
    """A system, its load, its failures and what is asked of it. Frozen, checked, hashable; the same in YAML and in Python.

    In Python numbers are in base units (seconds, per second) and text may carry units; in YAML every quantity but 0 has a unit.

    >>> from sim.laws import Exponential
    >>> queue = Scenario(
    ...     services={"shop": {"workers": 1, "operations": {"buy": [{"work": Exponential(1.0)}]}}},
    ...     load={"rate": 0.5, "mix": "shop.buy"},
    ... )
    >>> queue.services["shop"].replicas
    1
    """

    name: str = Field("scenario", description="used for results/NAME")
    question: str = Field("", description="what the scenario is meant to answer")
    run: Run = Field(Run(), description="length, repetitions, seed")
    laws: dict[Name, LawSpec] = Field({}, description="laws with a name, to be used wherever a law is asked for")
    services: Annotated[dict[Name, Service], Field(min_length=1)] = Field(description="who answers calls")
    messages: dict[Name, Message] = Field({}, description="what is sent, for `request` and `response` of operations")
    codecs: dict[Encoding, Codec] = Field(
        {}, description="processor time to write and read, by encoding; absent: as `sim protocols` shows"
    )
    compressions: dict[Name, CompressionCost] = Field(
        {},
        description="the same of compressions, by algorithm and level: `gzip-6`; of an algorithm named here, these levels only",
    )
    queues: dict[Name, Queue] = Field({}, description="who keeps messages")
    topics: dict[Name, Topic] = Field({}, description="queues that all get what is published: `orders: [bills, mails]`")
    logs: dict[Name, Log] = Field({}, description="logs of messages in partitions, and the groups that read them")
    brokers: dict[Name, Broker] = Field({}, description="machines that keep queues and logs, which name theirs")
    stores: dict[Name, Store] = Field({}, description="stores of large payloads; publishes name theirs: `payload.claim_check`")
    proxies: dict[Name, Proxy] = Field({}, description="who chooses replicas for callers; calls name theirs: `via`")
    registries: dict[Name, RegistrySpec] = Field({}, description="who knows which replicas there are; services name theirs")
    links: dict[Selector, Link] = Field({}, description="the network: default, a service, or 'a -> b' (both ways)")
    zones: tuple[Name, ...] = Field((), description="places that fail together and lie apart: data centres, availability zones")
    zone_links: dict[Selector, Link] = Field(
        {}, description="what a message from one zone to another takes besides its link: default, or 'a -> b' (both ways)"
    )
    calls: dict[Selector, CallPolicy] = Field({}, description="policies of calls and publishes, by selector")
    load: Load = Field(description="who asks, how often, for what")
    faults: tuple[Fault, ...] = Field((), description="what breaks, when")
    deployments: tuple[Deployment, ...] = Field((), description="replicas that are replaced, or become more or fewer, when")
    focus: Address | None = Field(
        None, description="the entry operation that tables, charts and the verdict look at; absent: all requests together"
    )
    slos: tuple[SloSpec, ...] = Field((), description="objectives, as sentences")
    guesses: dict[str, str] = Field(
        {}, description="numbers that nobody knows well, by path, and what they lie between: `load.rate: 50/s..200/s`"
    )
    measured: dict[str, str] = Field(
        {}, description="where other numbers come from, by path or block: `services.shop: traces of last week`"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _named_laws_first(cls, data: Any, handler: Any, info: ValidationInfo) -> Any:
        # Named laws are read before the rest and offered to it through the context.
        if isinstance(data, dict) and isinstance(data.get("laws"), dict) and info.context is not None:
            named: dict[str, Law] = info.context.setdefault("laws", {})
            for name in _in_order_of_need(data["laws"]):
                try:
                    named[name] = parse_law(data["laws"][name], info)
                except ValueError:
                    continue  # reported with its place when the field itself is validated
        return handler(data)

    @model_validator(mode="before")
    @classmethod
    def _context(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, dict) and data.get("laws") and info.context is None:
            # Python call without a context: resolve the names here, once.
            return _with_laws_inlined(data)
        return data

    @field_validator("compressions")
    @classmethod
    def _levels(cls, value: dict[str, CompressionCost]) -> dict[str, CompressionCost]:
        for name in value:
            level_of(name)
        return value

    @field_validator("services", "queues", "topics", "logs", "brokers", "stores", "registries", "proxies")
    @classmethod
    def _reserved(cls, value: dict[str, Any]) -> dict[str, Any]:
        if CLIENT in value or "default" in value:
            raise ValueError("'client' and 'default' are reserved: client is the origin of the load, default a selector")
        return value

    @model_validator(mode="after")
    def _cross_check(self) -> Scenario:
        problems = list(islice(problems_of(self), _MOST_PROBLEMS))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def policy(self, caller: str, target: str) -> CallPolicy:
        """The policy of calls from a service (or ``client``) to ``service.operation`` or a queue: widest selector first,
        later ones override.

        Order: ``default``, ``service``, ``service.operation``, ``caller -> service``, ``caller -> service.operation``; nested
        settings (retry, backoff) are merged field by field. A preset lies below them all, whichever selector names it. To a
        proxy, as the caller, apply only ``proxy -> default`` and those narrower ones that name it; one of layer 4 has one
        connection onward for each that comes in. A publish is not cached, not hedged and has no `connections`, whatever wide
        selectors say.
        """
        settings: dict[str, Any] = {}
        for selector in selectors_of(caller, target, proxy=caller in self.proxies):
            if selector in self.calls:
                settings = merged(settings, self.calls[selector].model_dump(exclude_unset=True))
        if settings.get("preset") is not None:
            settings = PRESETS[settings["preset"]].under(settings)
        if caller in self.proxies and self.proxies[caller].layer == 4:
            settings = merged(settings, AS_A_FLOW) | {"protocol": None}  # it passes bytes on unread
        elif settings.get("protocol") is not None:
            spoken = self.costs(Protocol.model_validate(settings["protocol"]))
            settings["connections"] = merged(spoken.connections, settings.get("connections") or {})
        if target in self.queues or target in self.topics or target in self.logs:
            settings = {key: value for key, value in settings.items() if key not in NOT_TO_QUEUES}
        return CallPolicy.model_validate(settings).for_endpoints(self._endpoints(target))

    def costs(self, protocol: Protocol) -> Costs:
        """All numbers of a protocol in this scenario."""
        return protocol.costs(self.codecs, self.compressions)

    @cached_property
    def payloads(self) -> Payloads:
        """The sizes of all messages."""
        return Payloads(self.messages)

    def _endpoints(self, target: str) -> int:
        service = self.services.get(target.split(".")[0])
        return 1 if service is None else service.replicas

    def link(self, one: str, other: str) -> Link:
        """The link between two services, queues or ``client``, the same in both directions.

        Order: the pair, either service alone, ``default``; without any, no latency and no loss. A queue on a broker is where the
        broker is.
        """
        one, other = self.place(one), self.place(other)
        for selector in (f"{one} -> {other}", f"{other} -> {one}", one, other, "default"):
            if selector in self.links:
                return self.links[selector]
        return Link()

    def zone_link(self, one: str, other: str) -> Link:
        """What lies between two zones, the same in both directions: the pair, or ``default``; without any, nothing."""
        for selector in (f"{one} -> {other}", f"{other} -> {one}", "default"):
            if selector in self.zone_links:
                return self.zone_links[selector]
        return Link()

    def place(self, name: str) -> str:
        """Where the links of a name lead: of a queue, topic or log on a broker, to that; else it stands for itself."""
        if name in self.topics:
            name = self.topics[name].subscriptions[0]
        kept = self.queues.get(name) or self.logs.get(name)
        return name if kept is None or kept.broker is None else kept.broker

    def queues_of(self, name: str) -> tuple[str, ...]:
        """The queues that get what is published to a queue or topic; of a log, its groups, each a queue to whoever counts."""
        if name in self.logs:
            return tuple(f"{name}.{group}" for group in self.logs[name].groups)
        return self.topics[name].subscriptions if name in self.topics else (name,)

    def batch_of(self, name: str) -> Together | None:
        """How a queue, or a group of a log, handles messages together."""
        if name in self.queues:
            return self.queues[name].batch
        log, group = name.split(".")
        return self.logs[log].group(group).batch

    def consumed(self) -> dict[str, str]:
        """Queues that somebody consumes, groups of logs among them, with the operation that does."""
        queues = {name: queue.consumer for name, queue in self.queues.items() if queue.consumer is not None}
        return queues | {group: consumer for log in self.logs for group, consumer in self.consumers(log).items()}

    def consumers(self, name: str) -> dict[str, str]:
        """Who gets what is published to a queue, topic or log: queue (or group) → operation, of those that have a consumer."""
        if name in self.logs:
            return {f"{name}.{group}": spec.consumer for group, spec in self.logs[name].groups.items()}
        found = {queue: self.queues[queue].consumer for queue in self.queues_of(name) if queue in self.queues}
        return {queue: consumer for queue, consumer in found.items() if consumer is not None}

    def as_data(self) -> dict[str, Any]:
        """The scenario as plain data without its defaults, as it is written in YAML."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        # The kind is a default of its class, and without it steps and ramp look alike.
        data["load"] = {"kind": self.load.kind, **data["load"]}
        # A default that was set on purpose overrides a wider selector, so here only what was never set is left out.
        if self.calls:
            data["calls"] = {
                selector: policy.model_dump(mode="json", by_alias=True, exclude_unset=True)
                for selector, policy in self.calls.items()
            }
        return data

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name everything which influences rows: not the name, the question or the SLOs."""
        return self.digest[:12]

    @property
    def digest(self) -> str:
        """What `hash` is the beginning of, in full: for keys that must not collide."""
        content = {key: value for key, value in self.as_data().items() if key not in _NO_INFLUENCE}
        content["run"] = {key: value for key, value in content.get("run", {}).items() if key != "replications"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        parts = [
            f"{len(self.services)} services",
            f"{self.load.kind} load",
            f"{len(self.faults)} faults",
            f"hash {self.hash}",
        ]
        return f"{self.name}: {', '.join(parts)}"

    def _repr_html_(self) -> str:
        from sim.scenario.shown import scenario_card

        return scenario_card(self)


class Comparison(Spec):
    """Candidates under conditions: every pair of them is a scenario; only what differs from the base is written."""

    name: str = Field("comparison", description="used for results/NAME")
    question: str = Field("", description="what is to be decided")
    candidates: Annotated[dict[str, dict[str, Scenario]], Field(min_length=1)] = Field(
        description="candidate → condition → scenario"
    )

    @model_validator(mode="after")
    def _same_conditions(self) -> Comparison:
        if (problem := self._mismatch()) is not None:
            raise ValueError(problem)
        return self

    def _mismatch(self) -> str | None:
        """What is wrong when candidates have different conditions, None otherwise."""
        first = next(iter(self.candidates))
        for name, by_condition in self.candidates.items():
            if set(by_condition) != set(self.conditions) or not by_condition:
                here, there = ", ".join(by_condition) or "none", ", ".join(self.conditions) or "none"
                return f"candidates.{name}: has the conditions {here}, but {first} has {there}; give all the same, at least one"
        return None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions, in order."""
        return tuple(next(iter(self.candidates.values())))

    def scenarios(self) -> Iterator[tuple[str, str, Scenario]]:
        """All (candidate, condition, scenario), conditions outermost.

        Raises:
            ScenarioError: candidates have different conditions, which only a comparison made without validation can have.
        """
        if (problem := self._mismatch()) is not None:
            raise ScenarioError(problem)
        for condition in self.conditions:
            for candidate, by_condition in self.candidates.items():
                yield candidate, condition, by_condition[condition]

    def _repr_html_(self) -> str:
        from sim.scenario.shown import comparison_card

        return comparison_card(self)


def _in_order_of_need(laws: Mapping[str, Any]) -> list[str]:
    """Names of laws, each after those that it is made of; laws may name laws that stand below, and circles are left out."""
    needs = {name: [other for other in _texts_in(law) if other in laws] for name, law in laws.items()}
    needed_by: dict[str, list[str]] = {}
    for name, others in needs.items():
        for other in others:
            needed_by.setdefault(other, []).append(name)
    missing = {name: len(others) for name, others in needs.items()}
    ready = [name for name, count in missing.items() if not count]
    for name in ready:  # grows meanwhile
        for user in needed_by.get(name, ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return ready


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(item)


def _with_laws_inlined(data: dict[str, Any]) -> dict[str, Any]:
    named = data["laws"]

    def inline(value: Any) -> Any:
        if isinstance(value, str) and value in named:
            return named[value]
        if isinstance(value, dict):
            return {key: inline(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(inline(item) for item in value)
        return value

    law_keys = (
        "services", "queues", "logs", "brokers", "stores", "registries", "proxies", "zone_links", "links", "calls", "load",
        "faults", "deployments",
    )  # fmt: skip
    return {
        key: inline(value) if key in law_keys and isinstance(value, dict | list | tuple) else value for key, value in data.items()
    }
