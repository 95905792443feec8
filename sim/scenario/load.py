"""Load: who asks, how often, for what."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from sim.laws import Constant, Law
from sim.policies.zones import Placement
from sim.values import Address, Duration, LawSpec, PositiveDuration, PositiveRate, Rate, Ratio, Spec

#: Requests of one round that are followed when they are counted; rounds that go on for longer are rarer than rare.
_MOST_LEADS = 10_000


class _Mix(Spec):
    mix: Annotated[dict[Address, float], Field(min_length=1)] = Field(
        description="entry operations and their weights; a single service.operation is read as the only one"
    )
    clients: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="client processes that take turns; each balances for itself"
    )

    zones: Placement | None = Field(
        None, description="zones that the client processes are dealt out to; absent: they are outside of all, and near to all"
    )

    @model_validator(mode="before")
    @classmethod
    def _single(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("mix"), str):
            return {**data, "mix": {data["mix"]: 1.0}}
        return data

    @model_validator(mode="after")
    def _weights(self) -> _Mix:
        if any(not math.isfinite(w) or w < 0 for w in self.mix.values()) or sum(self.mix.values()) <= 0:
            raise ValueError(f"mix: weights must be zero or more, and not all zero: {self.mix}")
        return self


class _Open(_Mix):
    arrivals: Literal["poisson", "even"] = Field(
        "poisson", description="poisson: independent users; even: one every 1/rate seconds"
    )


class Poisson(_Mix):
    """Independent users at a constant rate (open loop): gaps are exponential."""

    kind: Literal["poisson"] = "poisson"
    rate: PositiveRate = Field(description="requests per second")


class Even(_Mix):
    """One request every 1/rate seconds. Kinder to queues than real users are."""

    kind: Literal["constant"] = "constant"
    rate: PositiveRate = Field(description="requests per second")


class Point(Spec):
    """A rate from a time on (`steps`) or at a time (`ramp`)."""

    at: Duration = Field(description="clock time, from the start of the run")
    rate: Rate = Field(description="requests per second")


class _Points(_Open):
    points: Annotated[tuple[Point, ...], Field(min_length=1)] = Field(
        description="list of {at, rate}; times rise; the first is at 0s"
    )

    @model_validator(mode="after")
    def _rising(self) -> _Points:
        times = [point.at for point in self.points]
        if times[0] != 0:
            raise ValueError(f"points: the first must be at 0s, got {times[0]:g} s")
        if any(a >= b for a, b in zip(times, times[1:], strict=False)):
            raise ValueError(f"points: times must rise, got {', '.join(f'{t:g} s' for t in times)}")
        return self


class Steps(_Points):
    """The rate jumps at each point and stays until the next."""

    kind: Literal["steps"] = "steps"


class Ramp(_Points):
    """The rate runs straight from point to point and stays after the last."""

    kind: Literal["ramp"] = "ramp"


class Spike(_Open):
    """A base rate with one burst: `peak` from `at` for `for`."""

    kind: Literal["spike"] = "spike"
    rate: PositiveRate = Field(description="requests per second outside the burst")
    peak: PositiveRate = Field(description="requests per second inside it")
    at: Duration = Field(description="start of the burst, clock time")
    for_: PositiveDuration = Field(alias="for", description="length of the burst")

    model_config = ConfigDict(populate_by_name=True)


class Daily(_Open):
    """A day's curve: a sine around the mean rate, with its peak at a given time."""

    kind: Literal["daily"] = "daily"
    rate: PositiveRate = Field(description="mean, requests per second")
    swing: Ratio = Field(0.5, description="amplitude as a share of the mean: 50 % goes from half to one and a half")
    period: PositiveDuration = Field(86400.0, description="length of the day; shorten it to see one in a run")
    peak_at: Duration = Field(50400.0, description="time of the peak within the period")


class Closed(_Mix):
    """Users who think, ask, wait for the answer, and think again (closed loop).

    What comes before a pause is one request, or several where `then` leads on: a redirect, a form that is filled in, the way to
    the checkout.

    ::

        mix: {shop.list: 3, shop.buy: 1, shop.thanks: 0}      list ... buy, thanks ... list ... list ... buy, thanks
        then: {shop.buy: {shop.thanks: 100 %}}

    Slow answers slow the users down, so overload hides (coordinated omission): use it only where the users are really few
    and patient.
    """

    kind: Literal["closed"] = "closed"
    users: Annotated[int, Field(ge=1, le=100_000)] = Field(description="how many")
    think: LawSpec = Field(
        Constant(0.0), description="pause between an answer and the next request; its mean is 0 or at least 1us"
    )
    then: dict[Address, dict[Address, Ratio]] = Field(
        {},
        description="what a good answer leads to at once, instead of a pause, and how often; all stand in `mix`, "
        "with weight 0 where nobody begins",
    )

    @field_validator("think")
    @classmethod
    def _time_passes(cls, value: Law) -> Law:
        # Pauses that vanish beside the clock time would let a quick service be asked for ever at one instant.
        if 0 < value.mean < 1e-6:
            raise ValueError(f"a mean of {value.mean:g} s is too short for a pause; write 0s, or at least 1us")
        return value

    @model_validator(mode="after")
    def _then_ends(self) -> Closed:
        if strange := sorted({page for after, led in self.then.items() for page in (after, *led)} - set(self.mix)):
            raise ValueError(f"then: {', '.join(strange)} is not in the mix; add it there, with weight 0 if nobody begins there")
        for page, led in self.then.items():
            if sum(led.values()) > 1 + 1e-9:
                raise ValueError(f"then: {page} leads on with {100 * sum(led.values()):g} % in all; leave it at 100 % or less")
        ending = {page for page in self.mix if sum(self.then.get(page, {}).values()) < 1 - 1e-9}
        while more := {page for page in self.mix if page not in ending and self._leads_to(page, ending)}:
            ending |= more
        if endless := sorted(set(self.mix) - ending):
            raise ValueError(f"then: {', '.join(endless)} would lead on for ever; let one of them lead on less than always")
        return self

    def _leads_to(self, page: str, pages: set[str]) -> bool:
        return any(share > 0 and led in pages for led, share in self.then.get(page, {}).items())

    @property
    def per_round(self) -> dict[str, float]:
        """Expected requests for each page between two pauses of a user.

        >>> Closed(users=1, mix={"a.x": 3, "a.y": 1, "a.z": 0}, then={"a.y": {"a.z": 0.5}}).per_round
        {'a.x': 0.75, 'a.y': 0.25, 'a.z': 0.125}
        """
        coming = {page: weight / sum(self.mix.values()) for page, weight in self.mix.items()}
        asked = dict.fromkeys(self.mix, 0.0)
        for _ in range(_MOST_LEADS):
            asked = {page: number + coming[page] for page, number in asked.items()}
            coming = {to: sum(n * self.then.get(page, {}).get(to, 0.0) for page, n in coming.items()) for to in self.mix}
            if sum(coming.values()) < 1e-9:
                break
        return asked


class Replay(_Mix):
    """Arrival times as recorded, in seconds from the start of the run."""

    kind: Literal["replay"] = "replay"
    times: tuple[Duration, ...] | str = Field(
        description="list of times, or a CSV file beside the scenario: times in seconds in the first column"
    )

    @field_validator("times")
    @classmethod
    def _some(cls, value: tuple[float, ...] | str) -> tuple[float, ...] | str:
        if not value:
            raise ValueError("is empty, so nothing would be asked; write at least one time, or the path of a CSV file")
        return value

    @model_validator(mode="after")
    def _rising(self) -> Replay:
        if isinstance(self.times, tuple) and any(a > b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("times must not fall")
        return self


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind", "poisson"))
    return str(getattr(value, "kind", "poisson"))


Load = Annotated[
    Annotated[Poisson, Tag("poisson")]
    | Annotated[Even, Tag("constant")]
    | Annotated[Steps, Tag("steps")]
    | Annotated[Ramp, Tag("ramp")]
    | Annotated[Spike, Tag("spike")]
    | Annotated[Daily, Tag("daily")]
    | Annotated[Closed, Tag("closed")]
    | Annotated[Replay, Tag("replay")],
    Discriminator(
        _kind,
        custom_error_type="load",
        custom_error_message="kind is not known; write one of poisson, constant, steps, ramp, spike, daily, closed, replay",
    ),
]
