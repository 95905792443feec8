"""The network: one-way lines between services, with latency, loss, and what faults do to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from sim.laws import Law, sampler
from sim.scenario.model import Scenario
from sim.scenario.services import Link
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.scenario.faults import LinkFault

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


class Standing:
    """A fault of links while it lasts: which lines it disturbs, and how; `late`: those where what is lost is sent again."""

    def __init__(self, fault: LinkFault) -> None:
        self.fault = fault
        self.disturbance = Disturbance(fault.latency, fault.loss or 0.0, fault.partition)
        self.late = Disturbance(fault.latency, 0.0, fault.partition)

    def strikes(self, source: str, destination: str) -> bool:
        """Whether a line is one that the selector names (``a -> b``, a service with all its lines, ``default`` all)."""
        ends, pair = self.fault.link.split(" -> "), (source, destination)
        place = {"from": pair[:1], "to": pair[1:], "both": pair}[self.fault.direction]
        return ends == ["default"] or (set(ends) <= set(pair) and ends[0] in place)


class Network:
    """All lines of a scenario, made when first asked for; one `Line` for all callers of a pair."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._lines: dict[tuple[str, str], Line] = {}
        self._sure_lines: dict[tuple[str, str], Line] = {}
        self._standing: list[Standing] = []
        self.loopback = Line(Link())  # within one machine

    def line(self, source: str, destination: str) -> Line:
        """The line from one service (or queue, or ``client``) to another."""
        line = self._lines.get((source, destination))
        if line is None:
            line = self._lines[source, destination] = Line(self._scenario.link(source, destination))
            line.disturbances.extend(each.disturbance for each in self._standing if each.strikes(source, destination))
        return line

    def sure_line(self, source: str, destination: str) -> Line:
        """The same line for those who send again what is lost: nothing is, but while nothing gets through."""
        line = self._sure_lines.get((source, destination))
        if line is None:
            link = self._scenario.link(source, destination)
            line = self._sure_lines[source, destination] = Line(link.model_copy(update={"loss": 0.0}))
            line.disturbances.extend(each.late for each in self._standing if each.strikes(source, destination))
        return line

    def disturb(self, fault: LinkFault) -> Callable[[], None]:
        """Begin a fault on all lines that it strikes, also those that are made while it lasts. Return how to end it."""
        standing = Standing(fault)
        self._standing.append(standing)
        for line, disturbance in self._struck(standing):
            line.disturbances.append(disturbance)

        def mend() -> None:
            self._standing.remove(standing)
            for line, disturbance in self._struck(standing):
                line.disturbances.remove(disturbance)

        return mend

    def _struck(self, standing: Standing) -> Iterator[tuple[Line, Disturbance]]:
        """The lines that a fault strikes, with what it does to each."""
        for lines, disturbance in ((self._lines, standing.disturbance), (self._sure_lines, standing.late)):
            for pair, line in lines.items():
                if standing.strikes(*pair):
                    yield line, disturbance
