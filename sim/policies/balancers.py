"""The balancer that a specification stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from sim.policies.aperture import Aperture, PickFirst, Subset
from sim.policies.balancing import Balancer, LeastRequest, Random, RoundRobin, TwoChoices, TwoDistinct
from sim.policies.balancing_kinds import Balancing, BalancingKind
from sim.policies.hashing import Maglev, RingHash
from sim.policies.latency import PeakEwma
from sim.policies.prequal import JoinIdleQueue, Prequal
from sim.policies.reported import Utilisation
from sim.policies.ring import DeterministicAperture
from sim.policies.weights import WeightedRequests, WeightedRoundRobin
from sim.policies.zones import Zoned, ZoneGate
from sim.streams import child, salt

_DEADLINES = salt("balancing", "deadlines")

#: Endpoints of a deterministic aperture at least, unless something else is said (finagle's flag minDeterminsticAperture).
_LEAST_SLICE: Final = 12


class _Own(NamedTuple):
    """What a process has of its own: keys, a place to begin at, the time of its start, its index among how many."""

    key: int
    shared_key: int
    start: int
    now_s: float
    peer: tuple[int, int]


#: Makes a balancer from its specification for a process.
_Maker = Callable[[Balancing, _Own], Balancer]


def _in_turn(spec: Balancing, own: _Own) -> Balancer:
    return RoundRobin(own.start) if spec.slow_start is None else WeightedRoundRobin((), spec.slow_start, own.start)


def _by_requests(spec: Balancing, own: _Own) -> Balancer:
    if spec.kind == "least_request":
        equal: Balancer = LeastRequest()
    else:
        equal = TwoChoices() if spec.replacement else TwoDistinct()
    if len(set(spec.weights)) < 2 and spec.active_request_bias is None and spec.slow_start is None:
        return equal
    return WeightedRequests(equal, spec.weights, spec.active_request_bias, spec.slow_start, child(own.key, _DEADLINES))


_MAKERS: Final[dict[BalancingKind, _Maker]] = {
    "round_robin": _in_turn,
    "weighted_round_robin": lambda spec, own: WeightedRoundRobin(spec.weights, spec.slow_start, own.start),
    "random": lambda spec, own: Random(),
    "two_choices": _by_requests,
    "least_request": _by_requests,
    "peak_ewma": lambda spec, own: PeakEwma(spec.decay, spec.default_rtt),
    "ring_hash": lambda spec, own: RingHash(spec, own.shared_key),
    "maglev": lambda spec, own: Maglev(spec, own.shared_key),
    "aperture": lambda spec, own: Aperture(spec, own.key),
    "deterministic_aperture": lambda spec, own: DeterministicAperture(spec.min_aperture or _LEAST_SLICE, *own.peer),
    "pick_first": lambda spec, own: PickFirst(spec.shuffle, own.key),
    "utilisation": lambda spec, own: Utilisation(spec, own.key, own.now_s),
    "join_idle_queue": lambda spec, own: JoinIdleQueue(),
    "prequal": lambda spec, own: Prequal(spec),
}


def new_balancer(
    spec: Balancing,
    process_key: int,
    shared_key: int = 0,
    start: int = 0,
    now_s: float = 0.0,
    zone: ZoneGate | None = None,
    peer: tuple[int, int] = (0, 1),
) -> Balancer:
    """A balancer that has learned nothing, for one process.

    Args:
        spec: the rule.
        process_key: names the process's own draws.
        shared_key: names what all processes hash alike.
        start: an endpoint to begin at, for rules that take turns.
        now_s: when the process starts, in seconds.
        zone: chooses a zone before the rule chooses there; absent: zones make no difference.
        peer: which of how many processes it is, for rules that deal endpoints out to processes.
    """

    def make() -> Balancer:
        rule = _MAKERS[spec.kind](spec, _Own(process_key, shared_key, start, now_s, peer))
        return rule if spec.subset_size is None else Subset(rule, spec.subset_size, process_key)

    return make() if zone is None else Zoned(make, zone)
