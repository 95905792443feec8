"""Deterministic aperture: every process has a slice of the ring of endpoints, and together they cover it evenly."""

from __future__ import annotations

import math

from sim.policies.balancing import Balancer, Indices
from sim.streams import child, uniform

#: Widths closer to each other than this are the same.
_SAME = 1e-6


class DeterministicAperture(Balancer):
    """Two distinct choices within this process's slice of a ring on which the endpoints lie side by side.

    ::

        endpoints   |   0   |   1   |   2   |   3   |        S of them, each 1/S wide
        processes   |     0     |     1     |     2 |        P of them, process i begins at i/P
        slice of 0  |===============|                        ceil(aperture · P / S) / P wide, aperture = min(min_aperture, S)

    A position within the slice is drawn and with it an endpoint; a second one likewise, without the first; of the two it is that
    with fewer calls of this process in flight per share of it that lies in the slice. Slices are whole multiples of 1/P, so each
    point of the ring lies in equally many: with equal load of the processes every endpoint gets the same share of first choices,
    whatever P and S are, over few connections. A random aperture, or a subset by hashing, does not do that. Second choices are
    not so exact: who lies in a slice in part only gets a bit more, some 10 % with four in a slice, which is why there are 12.

    Processes must know how many they are and which of them each one is: replicas here do, by their index; a replica that comes
    later by a deployment counts as the one of its index modulo the number that there was at first. The width does not follow the
    load. An endpoint that is not usable loses to one that is; where neither is, the first usable one of the slice is chosen.
    Not for processes of very unequal load: each brings all of its load to its slice.
    Source: finagle@24 aperture/DeterministicAperture.scala, Ring.scala, ProcessCoordinate.scala, WeightedP2CPick.scala.

    >>> rule = DeterministicAperture(min_aperture=2, process=1, processes=3)
    >>> rule.look(0.0, 0, [0, 1, 2, 3])  # from 1/3 to 1
    [1, 2, 3]
    """

    learns = True

    def __init__(self, min_aperture: int, process: int, processes: int) -> None:
        self._least = min_aperture
        self._peers = max(processes, 1)
        self._begin = (process % self._peers) / self._peers
        self._width = 1.0
        self._known: Indices = []
        self._slice: Indices = []

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """The endpoints of the slice, which is the same list while the known ones are the same."""
        if known is not self._known:
            self._known = known
            servers, peers = len(known), self._peers
            aperture = min(self._least, servers)
            self._width = min(1.0, math.ceil(aperture * peers / servers - _SAME) / peers)
            self._slice = [known[i] for i in range(servers) if self._share(i) > _SAME]
        return self._slice

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """The less loaded of two positions."""
        known, begin, width = self._known, self._begin, self._width
        first = self._at(begin + width * uniform(bits))
        share, left = self._share(first), self._left_of(first)
        inside = share / len(known)  # of the slice
        second = first
        if width - inside > _SAME:
            position = begin + (width - inside) * uniform(child(bits, 1))
            if position >= max(left, begin):
                position += inside
            second = self._at(position)
        a, b = known[first], known[second]
        if endpoints is not self._slice:
            if a not in endpoints:
                return b if b in endpoints else endpoints[0]
            if b not in endpoints:
                return a
        return a if in_flight[a] * self._share(second) <= in_flight[b] * share else b

    def _at(self, position: float) -> int:
        return int(position % 1.0 * len(self._known)) % len(self._known)

    def _left_of(self, index: int) -> float:
        """Where an endpoint begins, at the turn of the ring at which the slice meets it."""
        servers = len(self._known)
        left = index / servers
        return left + 1 if left + 1 < self._begin + self._width - _SAME else left

    def _share(self, index: int) -> float:
        """The share of an endpoint, from 0 to 1, that lies in the slice."""
        servers = len(self._known)
        left, begin, end = self._left_of(index), self._begin, self._begin + self._width
        return max(0.0, min(left + 1 / servers, end) - max(left, begin)) * servers
