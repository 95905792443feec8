"""Numbers that were hardly meant: a ratio where percent is asked for, percent where a ratio is, tenths of thousandths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from sim.policies.breaker import CircuitBreaker
from sim.policies.budget import DepositBudget, TokenRatioBudget, WindowedRatioBudget
from sim.policies.outlier import OutlierDetection
from sim.policies.throttle import SreThrottling
from sim.scenario.model import Scenario

#: Numbers per call that are not called percent: what more than the second says.
_PER_CALL: Final[dict[tuple[type[BaseModel], str], tuple[float, str]]] = {
    (WindowedRatioBudget, "ratio"): (1.0, "retries for each call"),
    (TokenRatioBudget, "token_ratio"): (1.0, "failures made up for by each good call"),
    (DepositBudget, "deposit"): (1.0, "retries for each call"),
    (CircuitBreaker, "open_jitter_ratio"): (1.0, "times open_duration as the spread"),
    (SreThrottling, "multiplier"): (10.0, "calls sent per call that is taken"),
}
#: Less than a tenth of a standard deviation ejects half of the endpoints.
_FEW_THOUSANDTHS: Final = 100


def slips(scenario: Scenario) -> Iterator[str]:
    """Percents and ratios that look like each other, each where it is written."""
    for key, named in (("calls", scenario.calls), ("services", scenario.services), ("registries", scenario.registries)):
        for name, spec in named.items():
            for where, owner, value in _numbers(spec, f"{key}.{name}"):
                yield from _slip(where, owner, value)


def _numbers(spec: BaseModel, path: str) -> Iterator[tuple[str, type[BaseModel], float]]:
    """Every number that is written in a specification, with its place and the model it belongs to."""
    for name in type(spec).model_fields:
        value: Any = getattr(spec, name)
        if name not in spec.model_fields_set:
            continue
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{path}.{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}.{name}", type(spec), float(value)


def _slip(where: str, owner: type[BaseModel], value: float) -> Iterator[str]:
    name = where.rpartition(".")[2]
    if name.endswith("_percent") and 0 < value < 1:
        yield f"{where} = {value:g} is {value:g} %: this key is in percent; write {100 * value:g} if that was meant"
    elif name.endswith("percentile") and 0 < value < 1:
        yield f"{where} = {value:g} is p{value:g}: percentiles go to 100; write {100 * value:g} if that was meant"
    elif (owner, name) in _PER_CALL and value > _PER_CALL[owner, name][0]:
        yield f"{where} = {value:g} means {value:g} {_PER_CALL[owner, name][1]}; write {value / 100:g} if {value:g} % was meant"
    elif (owner, name) == (OutlierDetection, "success_rate_stdev_factor") and 0 < value < _FEW_THOUSANDTHS:
        sigmas = value / 1000
        yield f"{where} = {value:g} is {sigmas:g} standard deviations: it is in thousandths; write {1000 * value:g} for {value:g}"
