"""The reference of the scenario language, written from the models: ``python -m sim.scenario.reference docs/scenario.md``.

Keys, kinds, defaults and meanings come from the models, so the page cannot fall behind them; a test compares the file.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sim import units
from sim.scenario.model import Scenario
from sim.scenario.preset_words import GROUPS, numbers_in_words, on_in_words
from sim.scenario.schema import SHORTHAND, Shape, expected, fields_of, literals, members, shape_of
from sim.scenario.words import shown
from sim.scenario.yaml import ONLY_CONDITION
from sim.values import LAW_EXAMPLES, dump_law

#: A scenario that uses nearly everything; the test loads it.
EXAMPLE: Final = """\
question: How long does a checkout take when a payment replica dies?
run: {duration: 5min, warmup: 20s, replications: 20}

laws:                                     # laws with a name, used below wherever a law stands
  charge: {lognormal: {p50: 30ms, p99: 200ms}}

services:
  shop:
    replicas: 2
    workers: 16                           # requests a replica works on at once
    queue: 100                            # that may wait; one more is rejected
    operations:
      buy:                                # steps, one after the other
        - work: 2ms
        - call: stock.reserve
          count: {1: 70, 2: 20, 3: 10}    # how often, by weight
        - parallel:
            - call: payment.charge
            - [{work: 1ms}, {call: fraud.score, probability: 20 %}]
        - repeat: [{work: 1ms}, {call: stock.label}]    # one after the other, as often as `count` says
          count: 2
        - publish: emails
  stock: {workers: 8, operations: {reserve: [{work: {exponential: 5ms}}], label: [{work: 2ms}]}}
  payment: {replicas: 2, workers: 8, operations: {charge: [{work: charge}, {fail: 0.1 %}]}}
  fraud: {workers: unlimited, operations: {score: [{work: {uniform: {low: 5ms, high: 15ms}}}]}}
  email: {workers: 2, operations: {send: {effect: true, steps: [{work: 20ms}]}}}

queues:
  emails: {consumer: email.send, persist: 2ms, max_deliveries: 5}

links:
  default: 0.5ms                          # one way
  shop -> payment: {latency: {exponential: 2ms}, loss: 0.01 %}

calls:                                    # a wider selector first, narrower ones override
  default: {timeout: 1s}
  payment: {per_try_timeout: 300ms, retry: {max_attempts: 3, backoff: {base: 20ms, jitter: full}}}

load: {rate: 120/s, mix: shop.buy}
faults: [{crash: payment, replica: 0, at: 60s, for: 30s}]
slos: [p99 <= 500ms, success >= 99.9 %, effect p99 of email.send <= 5s]
"""

#: A comparison over `EXAMPLE`; the test loads it, too.
COMPARISON: Final = """\
question: Do retries help when a payment replica dies?
base: checkout.yaml                       # a file beside this one, or a scenario written here
run: {replications: 30}                   # any key of a scenario: it goes over the base, for all
conditions:
  calm: {faults: null}                    # null removes, or switches off
  crash: {}                               # as the base has it
  spike: {load: {kind: spike, peak: 300/s, at: 60s, for: 20s}}
candidates:
  today: {}
  no retries: {calls: {payment: {retry: null}}}
  more replicas: {services: {payment: {replicas: 4}}}
"""

#: How callers find replicas: keys of a scenario with a shop that calls a payment; the test loads it.
FINDING: Final = """\
registries:
  book: {preset: eureka@2, eviction_interval: 10s}     # the rest as Eureka has it
  slices: {heartbeat_interval: null, crash_delay: 1s}  # null: no leases; who is ready is listed
services:
  shop: {registry: slices, readiness: {preset: kubernetes@1, timeout: 2s}}
  payment: {registry: book}
proxies:
  edge: {replicas: 2, work: 0.5ms}                     # a tier of balancers
  mesh: {placement: sidecar}                           # or one beside each replica that calls
calls:
  client -> shop: {discovery: {preset: kubernetes@1}}  # how each caller process learns of replicas
  shop -> payment: {via: edge, timeout: 1s}            # what the shop does towards the proxies ...
  edge -> payment: {discovery: {preset: spring-cloud@2025}, health_check: {preset: haproxy@3}}  # ... and they towards it
"""

#: Messages: keys of a scenario with a shop that publishes `orders`; the test loads it.
MESSAGES: Final = """\
brokers:                                  # optional: a queue without one has a machine of its own, that is never busy
  rabbit: {nodes: 3, workers: 8, write: {exponential: 1ms}, copies: 3, confirm: majority, replicate: 0.5ms, failover: 5s}
queues:
  mails:                                  # a work queue: each message goes to one of the consumers
    preset: rabbitmq@4/quorum
    broker: rabbit
    consumer: mail.send
    consumers: 8                          # of each replica
    prefetch: 10                          # that each may hold unacknowledged
    dead_letter: dead_mails               # what failed 21 times (the preset's limit)
  bills: {preset: sqs@fifo, broker: rabbit, consumer: bill.write, max_deliveries: 5, dead_letter: dead_mails}
  dead_mails: {}                          # nobody consumes it: it keeps what it gets
topics:
  orders: [mails, bills]                  # each queue gets every message; the publisher is answered when all have it
services:
  shop: {operations: {buy: [{publish: orders, key: {keys: 1000, zipf: 1}, poison: 0.1 %}]}}
  bill: {operations: {write: {deduplicate: {window: 1h, work: 1ms}, steps: [{work: 5ms}]}}}    # an idempotent consumer
links: {shop -> rabbit: 1ms}              # a queue on a broker is linked by the broker's name
faults: [{outage: rabbit, node: 0, at: 30s, for: 1min}]
"""

#: Zones: keys of a scenario with a shop that calls a payment and publishes to mails; the test loads it.
ZONES: Final = """\
zones: [a, b, c]                          # places that fail together
zone_links: {default: 1ms, a -> c: 2ms}   # one way, besides the link between the two services
services:
  shop: {replicas: 3}                     # absent: one after the other in all zones
  payment: {replicas: 6, zones: {a: 4, b: 2}}    # by index: a b a a b a, and so on for those that come later
queues:
  mails: {zone: b}                        # a queue is in one zone; on a broker, where its leader is
calls:
  payment: {zone_routing: same_zone_first}       # or zone_aware, Envoy's rule; before the balancing chooses
load: {clients: 3, zones: [a, b, c]}      # absent: clients are outside of all zones, and near to all
faults:
  - {zone: b, at: 60s, for: 30s}          # all that is there goes and comes together
  - {partition: [[a], [b, c]], at: 2min, for: 30s}    # nothing gets across
"""
LOGS_EXAMPLE: Final = """\
brokers:
  kafka: {nodes: 3, workers: 8, write: {exponential: 0.3ms}, copies: 3, replicate: 0.5ms, failover: 5s}
logs:
  orders:
    preset: kafka@4
    broker: kafka
    partitions: 12
    min_insync: 2                           # copies that must be up, or nothing is written
    producer: {linger: 10ms}                # what is not written here is as Kafka has it
    consuming: {consumers: 2}               # of each replica, in every group
    groups:                                 # each reads all
      bills: {consumer: bill.write, commit: batch}
      mails: {consumer: mail.send, max_deliveries: 10, dead_letter: dead_mails}
queues: {dead_mails: {}}
services:
  shop: {operations: {buy: [{publish: orders, key: {keys: 1000, zipf: 1}}]}}
links: {kafka: 0.5ms}
faults: [{crash: mail, replica: 0, at: 30s, for: 1min}]   # noticed when its session has timed out, after 45 s
"""

_HEAD: Final = """\
# The scenario language

<!-- Written by `python -m sim.scenario.reference docs/scenario.md` from the models. Do not edit by hand. -->

A scenario is one YAML file. `sim check FILE` explains every mistake in it, with its line; `sim show FILE` prints it as the
simulator has understood it.

```yaml
{example}```

**Quantities have units.** Durations `250ms`, `1.5 s`, `2min`, `1h`; rates `120/s`, `40/min`; sizes `16 KiB`; ratios `99.9 %` or
`0.999`. A number without a unit is refused, except zero and ratios. (In Python numbers are in base units: seconds, per second.)

**YAML 1.2, plain data.** `no` and `12:30` are text. Keys that stand twice, anchors, tags and merge keys are refused: give a law a
name under `laws`, or share a file with `base`.

## Comparisons and files that begin from another

```yaml
{comparison}```

The scenario of a candidate under a condition is the base, overlaid with the file's own keys, then the condition, then the
candidate. Without `conditions` there is one, called `{only}`. A file with `base` and without `candidates` is a scenario of its
own; bases may have bases. Overlays follow JSON Merge Patch (RFC 7396): mappings merge, everything else replaces, `null`
removes or switches off. So

- `null` for an entry of a mapping (a service, a selector, an operation) or for a key that has a default of its own (`faults`,
  `cancellation`) removes what lies below: the entry is gone, the default is back, or what a wider selector or a preset says;
- `null` for a key that may be without a value (those whose default below is –, such as `timeout`, `cache` or `retry.budget`)
  and for `retry` is kept and means off, as it does without a base: `budget: null` over `preset: envoy@1.40` is a retry without
  a budget;
- a list replaces a list: `faults`, `slos` or the steps of an operation in a candidate are *all* its faults, objectives or steps;
- a law replaces a law as a whole;
- a load of another `kind` keeps only what the new kind knows (`mix`, `clients`, often `rate`);
- shorthand merges as what it stands for: `queue: {{max_wait: 1s}}` over `queue: 100` keeps the 100;
  only `mix: shop.buy` over a mix is all of it;
- `name` and `question` belong to their own file and are not inherited.

## Selectors

`calls` and `links` say by selector what they are about. The load comes from `client`; queues are called and linked like services.

| selector | `calls`: calls and publishes | `links`: messages, both ways |
|---|---|---|
| `default` | all | all without a link of their own |
| `payment` | to the service or queue | from and to it |
| `payment.charge` | to the operation | |
| `shop -> payment` | from one service to the other | between the two |
| `shop -> payment.charge` | from one service to the operation | |

Settings of `calls` add up: the widest selector first (in the order of the table), narrower ones override single keys. Of `links`
the narrowest one holds alone.

## Presets

`preset: envoy@1.40` puts the rules of a real system below what `calls` says, whichever selector names it: what it does when
nothing is configured, and the numbers that a block begins with once it is. Absent is not off; `null` is. `sim presets NAME` shows
every number, where it comes from, and what is not modelled.

```yaml
calls:
  default: {{preset: istio@1.24}}                                    # tries twice more, without being asked
  payment: {{preset: resilience4j@2, circuit_breaker: {{window_size: 20}}}}   # the rest of its breaker as resilience4j has it
```

| preset | what it is | on by default |
|---|---|---|
{presets}

How callers find replicas has presets, too. The registry and its clients are named apart, because clients of one registry differ;
one system may have a preset of each under one name. `heartbeat_interval: null` means "no leases": whoever is registered and ready
is listed, as in Kubernetes. Left out, there are leases with a heartbeat every 30 s.

```yaml
{finding}```

| preset of registries | what it is | numbers |
|---|---|---|
{registries}

| preset of discovery | what it is | numbers |
|---|---|---|
{discovery}

| preset of health checks (`readiness`, `health_check`) | what it is | numbers |
|---|---|---|
{health_checks}

**"Circuit breaker" means three things.** In Envoy and Istio it is a cap on what is in flight: `concurrency_limit` here, and
`retry.budget`. In resilience4j, Polly and Hystrix it is the machine with three states: `circuit_breaker`. In Linkerd "circuit
breaking", like Finagle's failure accrual, looks at each endpoint: `circuit_breaker` with `scope: per_client_x_endpoint`; what
Envoy, Istio and gRPC have for that is `outlier_detection`.

Mind the counting, too: `attempts: 3` of Istio, `num_retries: 3` of Envoy and `MaxRetryAttempts: 3` of Polly are `max_attempts: 4`
here; `maxAttempts: 3` of gRPC and resilience4j is `max_attempts: 3`.

## Zones

What is in a zone fails together, and messages between two zones take longer. Replicas, proxies of a tier, and nodes of registries
and brokers are dealt out by index, in turn and in proportion to their shares; so are those that a deployment or an autoscaler
starts later. A sidecar is where its replica is.

```yaml
{zones}```

A request from outside has no zone unless `load.zones` gives its client one: client processes take turns, each balances for
itself, and one in a zone is a user or a gateway there. Replicas and processes use a node of their registry in their own zone
first. The table `zone_calls` has the attempts of each edge by pair of zones, and `cross_zone` the share of those that cross.

## Messages

A *queue* keeps messages and hands them to consumers; a *topic* copies what is published to its queues. A message is *ready*
until it is delivered, then *unacknowledged*, and ends in exactly one way: `done`, `duplicate` (an idempotent consumer knew it),
`dead` (too many deliveries), `expired`, `dropped` (no room, a lost node, or acknowledged before work that failed), `kept` (nobody
consumes it), or `in_flight` when the run ends. What a queue gives up goes on to its `dead_letter`, with a row of its own.

```yaml
{messages}```

What can be promised, and how it is written: *at most once* is `acknowledge: before` (or `confirm: false` at the publisher), *at
least once* is what is there without a word, *effectively once* is an operation with `deduplicate`, *in order per key* is `order:
per_key` and `key` at the publisher.

| preset of queues | what it is | numbers |
|---|---|---|
{queues}

A *log* keeps messages in *partitions*: those of one key in one of them, in order. Each of its *groups* reads all of it and is a
queue of its own in the rows, `LOG.GROUP`; each partition has one reader among a group's consumers, and a *commit* says how far
they are. A message is `done` when it was handled and is committed, `dead` when it was passed over, `dropped` when it was
committed before work that failed, or lost with a node.

```yaml
{logs_example}```

| preset of logs | what it is | numbers |
|---|---|---|
{logs}

## Laws

A law is the distribution of a duration: `20ms` for always 20 ms, one of the following, or a name under `laws`.

| law | written |
|---|---|
{laws}

## Objectives

An objective is a sentence: a metric, perhaps `of` an operation (one that requests enter at; for effects, an effect), a sign, a
bound. Requests have `success` (share of good answers), `goodput` (good answers per second), `mean` and percentiles such as `p99`
(latency of good answers). Effects (work marked `effect: true`, whether called or done from a queue) have `completeness` (share of
those asked for that happened), `mean` and
percentiles from the arrival of the request to the effect.

```yaml
slos: [p99 <= 300ms, success >= 99.9 %, goodput >= 95/s, p99 of shop.buy < 1s, effect completeness of email.send >= 99 %]
```

## Keys

*Kind* says what a key holds; a kind with a link has a section of its own. A key without a default must be there.
"""

#: What sections are called, where the name of the class is not what a reader looks for.
_TITLES: Final = {
    "CallPolicy": "Policy of a call",
    "Waiting": "Line of a service",
    "CpuLimit": "CPU limit",
    "LinkFault": "Link fault",
    "ZoneOutage": "Zone outage",
    "ZoneRouting": "Zone routing",
}


def page() -> str:
    """The reference as Markdown."""
    laws = "\n".join(f"| {name} | `{written.replace(' or ', '` or `')}` |" for name, written in LAW_EXAMPLES.items())
    presets = {of.replace(" ", "_"): _presets(of) for of in GROUPS}
    presets["presets"] = presets.pop("calls")
    head = _HEAD.format(
        example=EXAMPLE,
        comparison=COMPARISON,
        finding=FINDING,
        zones=ZONES,
        messages=MESSAGES,
        logs_example=LOGS_EXAMPLE,
        only=ONLY_CONDITION,
        laws=laws,
        **presets,
    )
    return "\n".join([head, *(_section(model, place) for model, place in models())])


def _presets(of: str) -> str:
    """Rows of a table of presets."""
    model = GROUPS[of].model
    return "\n".join(
        f"| `{one.name}` | {one.title} | {on_in_words(one) if of == 'calls' else numbers_in_words(one, model)} |"
        for one in GROUPS[of].presets.values()
    )


def models() -> Iterator[tuple[type[BaseModel], str]]:
    """All models that a scenario is made of, with the place where each stands, in the order of a scenario."""
    seen: set[type[BaseModel]] = set()
    waiting: list[tuple[type[BaseModel], str]] = [(Scenario, "")]
    while waiting:
        model, place = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield model, place
        found = []
        for key, field in fields_of(model).items():
            at = f"{place}.{key}".lstrip(".")
            found += list(_models_in(shape_of(field.annotation, field.metadata), at))
        waiting = found + waiting


def _models_in(shape: Shape, place: str) -> Iterator[tuple[type[BaseModel], str]]:
    if shape.kind is not None:
        return
    for option in members(shape):
        arguments = get_args(option.core)
        if option.model is not None:
            yield option.model, place
        elif get_origin(option.core) is dict:
            key = "SELECTOR" if shape_of(arguments[0]).kind == "selector" else "NAME"
            yield from _models_in(shape_of(arguments[1]), f"{place}.{key}")
        elif get_origin(option.core) is tuple:
            yield from _models_in(shape_of(arguments[0]), f"{place}[]")


def _title(model: type[BaseModel]) -> str:
    kind = _only_kind(model)
    if kind is None:
        return _TITLES.get(model.__name__, model.__name__)
    name = model.__name__
    what = "retry budget" if name.endswith("Budget") else "load" if model.__module__.endswith("load") else "throttling"
    return f"{kind.replace('_', ' ').capitalize()} {what}"


def _only_kind(model: type[BaseModel]) -> str | None:
    """The word that a load or a budget is chosen by."""
    words = literals(shape_of(model.model_fields["kind"].annotation)) if "kind" in model.model_fields else ()
    return words[0] if len(words) == 1 else None


def _link(model: type[BaseModel]) -> str:
    title = _title(model)
    return f"[{title.lower()}](#{title.lower().replace(' ', '-')})"


def _section(model: type[BaseModel], place: str) -> str:
    lines = [f"### {_title(model)}", ""]
    if place:
        lines += [f"At `{place}`.", ""]
    lines += [_prose(model), "", "| key | kind | default | meaning |", "|---|---|---|---|"]
    lines += [_row(model, key, field) for key, field in fields_of(model).items()]
    return "\n".join([*lines, ""])


def _row(model: type[BaseModel], key: str, field: FieldInfo) -> str:
    shape = shape_of(field.annotation, field.metadata)
    kind = expected(shape, _link).removeprefix("a ").replace("'", "`").replace("|", "\\|")
    if SHORTHAND.get(model) == key:
        kind += " (or as the whole)"
    meaning = (field.description or "").replace("|", "\\|")
    if key == "kind" and not meaning:
        meaning = "chooses this load" + ("; it is the one that is meant without kind" if field.default == "poisson" else "")
    return f"| `{key}` | {kind} | {default_of(shape, field)} | {meaning} |"


def default_of(shape: Shape, field: FieldInfo) -> str:
    """The default of a key as it would be written, with its unit, as code in Markdown where it is a value."""
    if isinstance(field.default, str) and literals(shape) == (field.default,) != ("poisson",):
        return "*must be there*"  # in Python the class has chosen it
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "*must be there*"
    if value is None:
        return "–"
    if isinstance(value, BaseModel):
        said = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return f"`{shown(said)}`" if said else "its defaults"
    if value in ((), {}, ""):
        return "none"
    kind = next((each.kind for each in members(shape) if each.kind), "").removesuffix(" > 0")
    if kind in units.BASE and isinstance(value, float):
        return f"`{units.exact(value, units.BASE[kind])}`"
    if kind == "law":
        return f"`{dump_law(value)}`"
    if kind == "ratio":
        return f"`{100 * value:g} %`"
    return f"`{f'{value:.12g}' if isinstance(value, float) else shown(value, 400)}`".replace("'", "")


def _prose(model: type[BaseModel]) -> str:
    """The class's docstring as Markdown: what Python alone needs left out."""
    text = inspect.getdoc(model) or ""
    text = re.sub(r"\n*^>>> .*", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    text = re.sub(r"^Raises:.*", "", text, flags=re.DOTALL | re.MULTILINE)
    return _with_fences(text.strip())


def _with_fences(text: str) -> str:
    """Literal blocks of a docstring (``::`` and an indented block) as fenced code."""
    found: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.strip() == "::":
            inside = True
            found.append("```text")
        elif inside and line and not line.startswith("    "):
            inside = False
            while not found[-1]:
                found.pop()
            found += ["```", "", line]
        elif not (inside and not line and found[-1] == "```text"):
            found.append(line.removeprefix("    ") if inside else line)
    return "\n".join([*found, "```"] if inside else found)


def main(arguments: list[str]) -> int:
    """Write the page to a file; without one to standard output."""
    text = page()
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
