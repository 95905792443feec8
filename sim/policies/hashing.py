"""Balancing by a key of the call: the same key goes to the same endpoint, and few keys move when endpoints come and go."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from functools import lru_cache
from typing import Final

from sim.policies.balancing import Balancer, Indices
from sim.policies.balancing_kinds import Balancing
from sim.policies.popularity import Popularity
from sim.policies.weights import weight_of
from sim.streams import child, salt, uniform

_ITEM, _KEY, _POINT, _OFFSET, _SKIP = (salt("hashing", name) for name in ("item", "key", "point", "offset", "skip"))
#: Tables are the same for all processes that know the same endpoints.
_TABLES: Final = 128


class Hashed(Balancer):
    """A rule that draws a key for each call, and finds an endpoint for the hash of that key.

    A caller with `shared_key` in common with others finds the same endpoints as they do. Which key a call is about is drawn
    anew for each call; it is another draw than that of a `cache`.

    With `hash_balance_factor` f (in percent) an endpoint that has too many calls in flight is passed over, for the next one in an
    order that the key's hash alone decides; where all have, the least overloaded one takes it:

    ::

        calls at it / slots > 1,    slots = max(1, ⌈weight · ⌈(all calls + 1) · f / 100⌉⌉)      weights add up to 1

    These are calls of the one process. Source: envoy@1.40 thread_aware_lb_impl.cc; Mirrokni et al., "Consistent hashing with
    bounded loads", 2018.
    """

    learns = True

    def __init__(self, spec: Balancing, shared_key: int) -> None:
        self._weights = spec.weights
        self._shared_key = shared_key
        self._factor = spec.hash_balance_factor
        self.counts = self._factor is not None
        self._keys = Popularity(spec.keys, spec.zipf)
        self._hash = 0
        self._endpoints: Indices = []

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """Draw the call's key and hash it."""
        item = self._keys.key_of(uniform(child(key, _ITEM)))
        self._hash = child(child(self._shared_key, _KEY), item)
        return known

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """The endpoint of the key's hash, unless it has too many calls."""
        if endpoints is not self._endpoints:
            if endpoints != self._endpoints:
                self.build(tuple(endpoints))
            self._endpoints = endpoints
        chosen = self.find(self._hash)
        return chosen if self._factor is None else self._bounded(chosen, endpoints, in_flight, self._factor)

    def build(self, endpoints: tuple[int, ...]) -> None:
        """The endpoints have changed."""
        raise NotImplementedError

    def find(self, number: int) -> int:
        """Which endpoint a hash belongs to."""
        raise NotImplementedError

    def _bounded(self, chosen: int, endpoints: Indices, in_flight: Indices, factor: int) -> int:
        total_slots = (sum(in_flight[i] for i in endpoints) + 1) * factor
        total_slots = (total_slots + 99) // 100
        total_weight = sum(weight_of(self._weights, i) for i in endpoints)

        def overload(endpoint: int) -> float:
            share = weight_of(self._weights, endpoint) / total_weight
            return in_flight[endpoint] / max(1, math.ceil(total_slots * share))

        least, least_load = chosen, overload(chosen)
        if least_load <= 1:
            return chosen
        # A shuffle that the hash alone decides: calls with the same key go to the same others.
        others = sorted((i for i in endpoints if i != chosen), key=lambda i: child(self._hash, i))
        for other in others:
            load = overload(other)
            if load <= 1:
                return other
            if load < least_load:
                least, least_load = other, load
        return least


class RingHash(Hashed):
    """Consistent hashing on a ring: each endpoint has points there; a key belongs to the next point after its hash.

    ::

        points = min(⌈w · min_ring_size⌉ / w, max_ring_size), shared out by weight        w: the smallest weight of 1

    An endpoint that leaves moves its own keys to those beside its points; as long as each keeps as many points, no other key
    moves. (With fewer endpoints each has a few points more, and those take keys, as in Envoy.) Shares of n endpoints with p
    points each vary by about 1 / √p of the share. Not for few keys, nor for keys of very different popularity without
    `hash_balance_factor`. Source: envoy@1.40 ring_hash_lb.cc, which hashes addresses with xxHash.
    """

    def __init__(self, spec: Balancing, shared_key: int) -> None:
        super().__init__(spec, shared_key)
        self._sizes = (spec.min_ring_size, spec.max_ring_size)

    def build(self, endpoints: tuple[int, ...]) -> None:
        """Another ring."""
        self._hashes, self._owners = _ring(self._shared_key, endpoints, self._weights, *self._sizes)

    def find(self, number: int) -> int:
        """The owner of the next point; after the last comes the first."""
        return self._owners[bisect_left(self._hashes, number) % len(self._owners)]


@lru_cache(maxsize=_TABLES)
def _ring(
    key: int, endpoints: tuple[int, ...], weights: tuple[float, ...], least: int, most: int
) -> tuple[array[int], array[int]]:
    """The points on the ring in order, and whose they are."""
    total = sum(weight_of(weights, i) for i in endpoints)
    shares = [weight_of(weights, i) / total for i in endpoints]
    smallest = min(shares)
    scale = min(math.ceil(smallest * least) / smallest, most)
    points: list[tuple[int, int]] = []
    wanted = 0.0
    for endpoint, share in zip(endpoints, shares, strict=True):
        wanted += scale * share
        own, number = child(child(key, _POINT), endpoint), 0
        while len(points) < wanted - 1e-6:  # sums of floats: half a point too many for nobody
            points.append((child(own, number), endpoint))
            number += 1
    points.sort()
    return array("Q", (point for point, _ in points)), array("l", (owner for _, owner in points))


class Maglev(Hashed):
    """Maglev hashing: a table in which each endpoint takes free places in turn, in an order of its own.

    ::

        place = (offset + k · skip) mod table_size,  k = 0, 1, …      the first that is free; heavier endpoints more often

    Shares are even to within a percent at a hundred endpoints and the usual table; when one leaves, a few keys of the others move
    as well (unlike on a ring). Not where every moved key is expensive. Source: Eisenbud et al., "Maglev", NSDI 2016;
    envoy@1.40 maglev_lb.cc.
    """

    def __init__(self, spec: Balancing, shared_key: int) -> None:
        super().__init__(spec, shared_key)
        self._size = spec.table_size

    def build(self, endpoints: tuple[int, ...]) -> None:
        """Another table."""
        self._table = _maglev(self._shared_key, endpoints, self._weights, self._size)

    def find(self, number: int) -> int:
        """Who has the place."""
        return self._table[number % self._size]


@lru_cache(maxsize=_TABLES)
def _maglev(key: int, endpoints: tuple[int, ...], weights: tuple[float, ...], size: int) -> array[int]:
    """The endpoint at each place of the table."""
    table = array("l", [-1]) * size
    heaviest = max(weight_of(weights, i) for i in endpoints)
    takers = [
        [i, child(child(key, _OFFSET), i) % size, child(child(key, _SKIP), i) % (size - 1) + 1] for i in endpoints
    ]  # endpoint, its next place, its skip
    owed = [0.0] * len(takers)
    taken, turn = 0, 0
    while True:
        turn += 1
        for number, taker in enumerate(takers):
            if turn * weight_of(weights, taker[0]) < owed[number]:
                continue
            owed[number] += heaviest
            endpoint, place, skip = taker
            while table[place] >= 0:
                place = (place + skip) % size
            table[place] = endpoint
            taker[1] = (place + skip) % size
            taken += 1
            if taken == size:
                return table
