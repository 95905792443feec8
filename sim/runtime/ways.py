"""The ways between what keeps messages and those who consume them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.runtime.network import crossed_s

if TYPE_CHECKING:
    import cython

    from sim.runtime.network import Line
    from sim.runtime.replica import Replica
    from sim.runtime.world import World


class Ways:
    """Between a queue or log and the replicas of a service: the link of the two and, where there are zones, what lies between
    that of a replica and the one that the message comes from, or goes to."""

    __slots__ = ("_back", "_there", "_zoning")

    def __init__(self, world: World, name: str, service: str) -> None:
        place = world.scenario.place(name)
        self._there: Line = world.network.line(place, service)
        self._back: Line = world.network.line(service, place)
        self._zoning = world.zoning

    def to_s(self, replica: Replica, zone: cython.long, bits: cython.ulonglong) -> float:
        """Seconds of a message from a zone to a replica; negative if it never arrives."""
        delay_s = self._there.travel_s(bits)
        if self._zoning is None:
            return delay_s
        return crossed_s(delay_s, self._zoning.crossing(zone, replica.service.zones[replica.index]), bits)

    def from_s(self, replica: Replica, zone: cython.long, bits: cython.ulonglong) -> float:
        """Seconds of a message from a replica to a zone; negative if it never arrives."""
        delay_s = self._back.travel_s(bits)
        if self._zoning is None:
            return delay_s
        return crossed_s(delay_s, self._zoning.crossing(replica.service.zones[replica.index], zone), bits)
