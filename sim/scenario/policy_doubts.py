"""Policies that are allowed and will not do what they look like: breakers that see too little, budgets that never pay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from sim.policies.breaker import CircuitBreaker
from sim.policies.budget import (
    ConcurrencyBudget,
    DepositBudget,
    FailureRateBudget,
    QuotaBudget,
    RetryBudget,
    TokenRatioBudget,
    WindowedRatioBudget,
)
from sim.policies.retry import Retry
from sim.scenario.edges import CLIENT, operations_of, selectors_of, steps_of
from sim.scenario.forecast import Edge, calls_rps
from sim.scenario.model import Scenario
from sim.scenario.services import Call, Parallel, Step
from sim.units import format_duration


def doubts_of_policies(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about retries, budgets, breakers, ejections and fallbacks."""
    yield from _twice(scenario, edges)
    yield from _outlives(edges)
    yield from _falls_in_circles(scenario, edges)
    yield from _blind_breakers(scenario, edges)
    for edge in edges:
        yield from _never_pays(scenario, edge)
        yield from _waits_for_no_retry(scenario, edge)
        yield from _says_nothing(scenario, edge)
        yield from _ejects_nobody(scenario, edge)
        yield from _balances_blindly(scenario, edge)
        yield from _gathers_nobody(scenario, edge)


def _twice(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Retries and hedges of operations that must not run twice."""
    operations = operations_of(scenario)
    for edge in edges:
        operation, policy = operations.get(edge.target), edge.policy
        if operation is None or operation.idempotent:
            continue
        if policy.retry.max_attempts != 1:
            what = f"retry.max_attempts = {policy.retry.max_attempts}"
        elif policy.hedging is not None:
            what = f"hedging.max_attempts = {policy.hedging.max_attempts}"
        else:
            continue
        yield (
            f"{edge.caller} -> {edge.target} may run {edge.target} twice: {what}, and it is not idempotent; a lost answer does "
            "not mean that nothing happened"
        )


def _blind_breakers(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Breakers whose window never holds, or hardly ever, the calls that they need for a judgement."""
    rates = calls_rps(scenario)
    for edge in edges:
        breaker = edge.policy.circuit_breaker
        if breaker is None or breaker.window_type == "consecutive" or (edge.caller, edge.target) not in rates:
            continue
        gates = _processes(scenario, edge.caller)
        if breaker.scope == "per_client_x_endpoint":
            gates *= _endpoints(scenario, edge.target)
        rate_rps = rates[edge.caller, edge.target] / gates
        way, of = f"{edge.caller} -> {edge.target}", f"each of {gates} breakers sees {rate_rps:.3g} calls/s"
        if breaker.window_type == "count":
            needed = min(breaker.minimum_calls, breaker.window_size)
            if rate_rps * scenario.run.end < needed:
                yield (
                    f"{way}: the circuit breaker never judges: {of}, and the run of {format_duration(scenario.run.end)} does not "
                    f"bring minimum_calls = {needed} together; lower minimum_calls, or let fewer processes call"
                )
        elif rate_rps * breaker.window_duration < breaker.minimum_calls:
            seen = rate_rps * breaker.window_duration
            yield (
                f"{way}: the circuit breaker hardly ever judges: {of}, {seen:.3g} in window_duration = "
                f"{format_duration(breaker.window_duration)}, and it needs minimum_calls = {breaker.minimum_calls}"
            )


def _processes(scenario: Scenario, caller: str) -> int:
    return scenario.load.clients if caller == CLIENT else scenario.services[caller].replicas


def _endpoints(scenario: Scenario, target: str) -> int:
    service = scenario.services.get(target.split(".")[0])
    return 1 if service is None else service.replicas


def _ejects_nobody(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """A largest share of ejected endpoints that is below one of them."""
    spec = edge.policy.outlier_detection
    if spec is None or spec.rules == "grpc" or spec.always_eject_one_host or not spec.max_ejection_percent:
        return
    endpoints, least = _endpoints(scenario, edge.target), math.ceil(100 / spec.max_ejection_percent)
    if endpoints < least:
        counted = f"{endpoints} endpoint{'' if endpoints == 1 else 's'}"
        yield (
            f"{edge.caller} -> {edge.target}: outlier detection ejects nobody: {edge.target} has {counted}, and "
            f"max_ejection_percent = {spec.max_ejection_percent:g} lets one go only out of {least} or more; raise it, or set "
            "always_eject_one_host"
        )


def _balances_blindly(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """A balancer that waits for reports that never come, or that gives nothing to some endpoints."""
    balancing, service = edge.policy.balancing, scenario.services.get(edge.target.split(".")[0])
    way, endpoints = f"{edge.caller} -> {edge.target}", _endpoints(scenario, edge.target)
    if balancing.kind == "utilisation" and service is not None and service.workers == "unlimited":
        yield f"{way}: {edge.target} reports no utilisation, since its workers are unlimited: balancing is round robin"
    used = {"pick_first": 1}.get(balancing.kind, balancing.subset_size or endpoints)
    reached = _processes(scenario, edge.caller) * used
    if balancing.kind == "pick_first" and not balancing.shuffle and endpoints > 1:
        yield f"{way}: all processes use the same one of {endpoints} endpoints (pick_first); write shuffle: true, or another kind"
    elif reached < endpoints:
        yield (
            f"{way}: balancing leaves endpoints out: {_processes(scenario, edge.caller)} processes use {used} each, and "
            f"{edge.target} has {endpoints}; let more processes call, or let each use more"
        )


def _written(scenario: Scenario, edge: Edge, block: str) -> Iterator[str]:
    """The selectors of an edge that say something about a block, the widest first."""
    for selector in selectors_of(edge.caller, edge.target):
        if selector in scenario.calls and block in scenario.calls[selector].model_fields_set:
            yield selector


def _place(scenario: Scenario, edge: Edge, block: str) -> str:
    """Where a block of an edge's policy is written, the narrowest place; a preset's has none but the edge."""
    return next((f"calls.{selector}" for selector in [*_written(scenario, edge, block)][::-1]), f"{edge.caller} -> {edge.target}")


def _outlives(edges: list[Edge]) -> Iterator[str]:
    """Calls that wait longer than whoever waits for their caller."""
    by_operation: dict[str | None, list[Edge]] = {}
    for edge in edges:
        by_operation.setdefault(edge.operation, []).append(edge)
    for outer in edges:
        policy = outer.policy
        waits_s = min(policy.timeout or math.inf, policy.per_try_timeout or math.inf)
        if policy.propagate_deadline or policy.cancellation:
            continue  # the callee hears of it, or knows when to end
        for inner in by_operation.get(outer.target, ()):
            longest_s = inner.policy.timeout or inner.policy.per_try_timeout or 0.0
            if longest_s > waits_s:
                key = "timeout" if inner.policy.timeout else "per_try_timeout"
                yield (
                    f"{outer.caller} -> {outer.target} waits {format_duration(waits_s)} for an answer, and {inner.caller} -> "
                    f"{inner.target} has a {key} of {format_duration(longest_s)}: that call goes on for nobody; shorten it, or "
                    "set propagate_deadline"
                )


def _falls_in_circles(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Fallbacks that ask what has just failed, or lean on each other."""
    for edge in edges:
        fallback = edge.policy.fallback
        if fallback is None or fallback.call is None:
            continue
        way, where = f"{edge.caller} -> {edge.target}", _place(scenario, edge, "fallback")
        if fallback.call == edge.target:
            yield (
                f"{where}.fallback: {way} falls back to {fallback.call}, which has just failed; write another operation or "
                f"fallback: value, or exempt it: calls: {{{edge.target}: {{fallback: null}}}}"
            )
            continue
        back = scenario.policy(edge.caller, fallback.call).fallback
        if back is not None and back.call == edge.target:
            yield (
                f"{where}.fallback: {edge.target} and {fallback.call} stand in for each other when {edge.caller} calls them: if "
                "one fails, its calls come on top of the other's, which may fail of it; let one of them fall back to a value"
            )


def _never_pays(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """Budgets that refuse every retry."""
    budget, retry = edge.policy.retry.budget, edge.policy.retry
    if budget is None or (retry.max_attempts == 1 and edge.policy.hedging is None):
        return
    because = _why_never(budget, retry)
    if because is not None:
        yield f"{_place(scenario, edge, 'retry')}.retry.budget never pays for a retry: {because}, or take the retries away"


def _why_never(budget: RetryBudget, retry: Retry) -> str | None:
    match budget:
        case ConcurrencyBudget(budget_percent=0, min_concurrency=0):
            return "budget_percent and min_concurrency are 0; give one a number"
        case WindowedRatioBudget(ratio=0, min_retries_per_second=0):
            return "ratio and min_retries_per_second are 0; give one a number"
        case WindowedRatioBudget(per_call_percent=0):
            return "per_call_percent is 0; write a number, or leave it out"
        case TokenRatioBudget(max_tokens=most) if most <= 2:
            return f"max_tokens = {most:g}, of which one failure takes 1 and must leave more than half; write more than 2"
        case QuotaBudget(capacity=most) if most < (least := _cheapest(budget, retry)):
            return f"capacity = {most} is less than the {least} that a retry costs; write more"
        case DepositBudget(size=most) if most <= 1:
            return f"size = {most:g}, and a retry needs more than 1 token; write more"
        case FailureRateBudget(max_failure_percent=0):
            return "max_failure_percent is 0, and a failure comes before each retry; write more"
    return None


def _cheapest(budget: QuotaBudget, retry: Retry) -> int:
    costs = {"timeout": budget.timeout_cost, "rejected": budget.rejected_cost}
    return min((costs.get(outcome, budget.retry_cost) for outcome in retry.on), default=0)


def _waits_for_no_retry(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """Settings of retries where nobody has said that there are any."""
    retry, selectors = edge.policy.retry, list(_written(scenario, edge, "retry"))
    if retry.max_attempts != 1 or any("max_attempts" in scenario.calls[each].retry.model_fields_set for each in selectors):
        return
    for selector in selectors:
        said = [name for name in Retry.model_fields if name in scenario.calls[selector].retry.model_fields_set]
        used = any(
            "retry" in policy.model_fields_set and policy.retry.max_attempts != 1
            for other, policy in scenario.calls.items()
            if other != selector
        )
        if said and not used and not scenario.calls[selector].preset:
            yield (
                f"calls.{selector}.retry: {' and '.join(said)} without max_attempts, which is 1 unless it is written: nothing is "
                "tried again; write for example max_attempts: 3"
            )


#: What each window of a breaker does not read; the rest is read by all.
_UNREAD: Final[dict[str, frozenset[str]]] = {
    "consecutive": frozenset(
        {
            "or_consecutive_failures", "window_size", "window_duration", "window_buckets", "minimum_calls",
            "failure_rate_threshold_percent", "slow_call_duration", "slow_call_rate_threshold_percent", "only_on_failure",
            "evaluate_every",
        }
    ),
    "count": frozenset({"consecutive_failures", "window_duration", "window_buckets", "evaluate_every"}),
    "time": frozenset({"consecutive_failures", "window_size"}),
    "ema": frozenset(
        {
            "consecutive_failures", "window_size", "window_buckets", "slow_call_duration", "slow_call_rate_threshold_percent",
            "only_on_failure", "evaluate_every",
        }
    ),
}  # fmt: skip


def _says_nothing(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """What is written of a breaker and not read by its window, or cannot be reached in it."""
    breaker = edge.policy.circuit_breaker
    if breaker is None:
        return
    for selector in _written(scenario, edge, "circuit_breaker"):
        own = scenario.calls[selector].circuit_breaker
        written = set() if own is None else own.model_fields_set
        unread = [name for name in CircuitBreaker.model_fields if name in written & _UNREAD[breaker.window_type]]
        if unread:
            kinds = [kind for kind, without in _UNREAD.items() if without.isdisjoint(unread)]
            other, names = f"write window_type: {' or '.join(kinds)}, or " if kinds else "", " and ".join(unread)
            yield (
                f"calls.{selector}.circuit_breaker: window_type {breaker.window_type} does not read {names}; {other}leave "
                "out what is not read"
            )
        elif "minimum_calls" in written and breaker.window_type == "count" and breaker.minimum_calls > breaker.window_size:
            yield (
                f"calls.{selector}.circuit_breaker: minimum_calls = {breaker.minimum_calls} is more than the window_size = "
                f"{breaker.window_size} holds: it judges from {breaker.window_size} calls on, as resilience4j; write no more"
            )


def _gathers_nobody(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """Batches of one: calls that are never made beside others."""
    batch, limit_s = edge.policy.batch, edge.policy.timeout
    if batch is not None and limit_s is not None and batch.wait >= limit_s:
        yield (
            f"{edge.caller} -> {edge.target}: batch.wait = {format_duration(batch.wait)} is not below the timeout of "
            f"{format_duration(limit_s)}: calls give up while they are gathered; write a shorter wait, or a longer timeout"
        )
    if batch is None or batch.scope == "process" or edge.target not in operations_of(scenario):
        return
    if edge.operation is None or edge.most <= 1:
        yield (
            f"{edge.caller} -> {edge.target}: batch gathers nobody: one request makes one such call; write scope: process, or "
            "leave batch out"
        )
    elif not _at_once(operations_of(scenario)[edge.operation].steps, edge.target):
        yield (
            f"{edge.caller} -> {edge.target}: batch gathers nobody: {edge.operation} makes its calls one after the other; write "
            "in_parallel: true, or scope: process"
        )


def _at_once(steps: tuple[Step, ...], target: str) -> bool:
    """Whether some of the steps call a target several times at the same time."""
    for _, step in steps_of(steps):
        if isinstance(step, Call) and step.call == target and step.in_parallel:
            return True
        if isinstance(step, Parallel):
            branches = [any(isinstance(each, Call) and each.call == target for _, each in steps_of(b)) for b in step.parallel]
            if sum(branches) > 1:
                return True
    return False
