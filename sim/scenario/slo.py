"""Service level objectives, written as a sentence: ``p99 of shop.buy <= 300ms``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

from sim import units
from sim.values import Spec

_FORM = re.compile(
    r"(?P<effect>effect\s+)?(?P<metric>success|goodput|completeness|mean|p\d{1,2}(?:\.\d+)?)"
    r"(?:\s+of\s+(?P<of>[^\s<>]+))?\s*(?P<sign><=|>=|<|>|≤|≥)\s*(?P<bound>.+)"
)
_EXAMPLES = "p99 <= 300ms, success >= 99.9 %, goodput >= 95/s, p99 of shop.buy < 1s or effect p99 of email.send <= 30s"


class Slo(Spec):
    """One objective: a metric of the requests (or of an effect), compared with a bound in base units.

    Metrics: `success` (ratio of good answers), `goodput` (good answers per second), `completeness` (share of asked-for
    effects that happened;
    effects only), `mean` and `pNN` (latency of good answers in seconds; for an effect, from the request's arrival to the effect).
    """

    text: str
    effect: bool
    metric: str
    of: str | None
    sign: Literal["<", "<=", ">", ">="]
    bound: float

    def met(self, value: float) -> bool:
        """Whether a measured value meets the objective; a missing value (NaN) does not."""
        match self.sign:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case ">":
                return value > self.bound
            case _:
                return value >= self.bound


def parse_slo(value: Any) -> Any:
    """Read an objective from its sentence.

    >>> parse_slo("success >= 99.9 %").bound
    0.999
    """
    if not isinstance(value, str):
        return value
    found = _FORM.fullmatch(value.strip())
    if not found:
        raise ValueError(f"{value!r} is not an objective; write for example {_EXAMPLES}")
    metric, effect = found["metric"], found["effect"] is not None
    if metric == "completeness" and not effect:
        raise ValueError(
            f"{value!r}: completeness is a metric of effects; write for example effect completeness of email.send >= 99 %"
        )
    if metric in ("success", "goodput") and effect:
        raise ValueError(f"{value!r}: {metric} is a metric of requests; for effects use completeness, mean or a percentile")
    kind = {"success": "ratio", "completeness": "ratio", "goodput": "rate"}.get(metric, "duration")
    sign = found["sign"].replace("≤", "<=").replace("≥", ">=")
    higher_is_better = kind != "duration"
    if higher_is_better != (sign[0] == ">"):
        raise ValueError(
            f"{value!r}: {metric} should be {'at least' if higher_is_better else 'at most'} something; turn the sign round"
        )
    bound = units.parse(found["bound"], kind, bare_numbers=False)
    return Slo(text=value.strip(), effect=effect, metric=metric, of=found["of"], sign=sign, bound=bound)


SloSpec = Annotated[Slo, BeforeValidator(parse_slo), PlainSerializer(lambda slo: slo.text, return_type=str, when_used="json")]
