"""The network: one-way lines between services, with latency, loss, and what faults do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.laws import Law, sampler
from sim.scenario.model import Scenario
from sim.scenario.services import Link
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

#: The travel time of what never arrives.
LOST: Final = -1.0

_LOSS, _FAULT = 1, 2
_CROSSING = salt("network", "crossing")


class Disturbance:
    """What an active fault does to a line: extra latency, extra loss, or nothing gets through."""

    __slots__ = ("latency", "loss", "partition")

    def __init__(self, latency: Law | None, loss: float, partition: bool) -> None:
        self.latency = None if latency is None else sampler(latency)
        self.loss = loss
        self.partition = partition


class Line:
    """One direction between two services."""

    __slots__ = ("_latency", "_loss", "disturbances")

    def __init__(self, link: Link) -> None:
        self._latency = sampler(link.latency)
        self._loss = link.loss
        self.disturbances: list[Disturbance] = []

    def travel_s(self, bits: cython.ulonglong) -> float:
        """Seconds that a message takes, from its 64 random bits; LOST if it never arrives."""
        if self._loss > 0 and uniform(child(bits, _LOSS)) < self._loss:
            return LOST
        delay_s = self._latency.draw(bits)
        return self._disturbed_s(bits, delay_s) if self.disturbances else delay_s

    def _disturbed_s(self, bits: cython.ulonglong, delay_s: float) -> float:
        for number, disturbance in enumerate(self.disturbances):
            own = child(bits, _FAULT + number)
            if disturbance.partition or (disturbance.loss > 0 and uniform(child(own, _LOSS)) < disturbance.loss):
                return LOST
            if disturbance.latency is not None:
                delay_s += disturbance.latency.draw(own)
        return delay_s


def crossed_s(delay_s: float, crossing: Line | None, bits: cython.ulonglong) -> float:
    """Seconds of a way of `delay_s` that may also lead from one zone to another; LOST if either part loses the message."""
    if crossing is None or delay_s < 0:
        return delay_s
    extra_s = crossing.travel_s(child(bits, _CROSSING))
    return LOST if extra_s < 0 else delay_s + extra_s


class Network:
    """All lines of a scenario, made when first asked for; one `Line` for all callers of a pair."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._lines: dict[tuple[str, str], Line] = {}
        self._sure_lines: dict[tuple[str, str], Line] = {}
        self.loopback = Line(Link())  # within one machine

    def line(self, source: str, destination: str) -> Line:
        """The line from one service (or queue, or ``client``) to another."""
        line = self._lines.get((source, destination))
        if line is None:
            line = self._lines[source, destination] = Line(self._scenario.link(source, destination))
        return line

    def sure_line(self, source: str, destination: str) -> Line:
        """The same line for those who send again what is lost: nothing is, but while nothing gets through."""
        line = self._sure_lines.get((source, destination))
        if line is None:
            link = self._scenario.link(source, destination)
            line = self._sure_lines[source, destination] = Line(link.model_copy(update={"loss": 0.0}))
        return line

    def is_sure(self, line: Line) -> bool:
        """Whether what is lost there is sent again."""
        return any(line is each for each in self._sure_lines.values())

    def matching(self, selector: str, direction: str) -> list[Line]:
        """Lines that a selector names: ``a -> b``, a service with all its lines, ``default`` all.

        `direction` keeps those that leave the (first) service, ``from``, or reach it, ``to``; or ``both``.
        """
        ends = selector.split(" -> ")
        place = {"from": slice(0, 1), "to": slice(1, 2), "both": slice(0, 2)}[direction]
        return [
            line
            for pair, line in (*self._lines.items(), *self._sure_lines.items())
            if ends == ["default"] or (set(ends) <= set(pair) and ends[0] in pair[place])
        ]
