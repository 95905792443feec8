"""The balancer that a specification stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sim.policies.aperture import Aperture, PickFirst, Subset
from sim.policies.balancing import Balancer, LeastRequest, Random, RoundRobin, TwoChoices, TwoDistinct
from sim.policies.balancing_kinds import Balancing, BalancingKind
from sim.policies.hashing import Maglev, RingHash
from sim.policies.latency import PeakEwma
from sim.policies.prequal import JoinIdleQueue, Prequal
from sim.policies.reported import Utilisation
from sim.policies.weights import WeightedRequests, WeightedRoundRobin
from sim.policies.zones import Zoned, ZoneGate
from sim.streams import child, salt

_DEADLINES = salt("balancing", "deadlines")

#: Makes a balancer from its specification, the key of its process, one that all processes share, a starting place and the time.
_Maker = Callable[[Balancing, int, int, int, float], Balancer]


def _in_turn(spec: Balancing, process_key: int, shared_key: int, start: int, now_s: float) -> Balancer:
    return RoundRobin(start) if spec.slow_start is None else WeightedRoundRobin((), spec.slow_start, start)


def _by_requests(spec: Balancing, process_key: int, shared_key: int, start: int, now_s: float) -> Balancer:
    if spec.kind == "least_request":
        equal: Balancer = LeastRequest()
    else:
        equal = TwoChoices() if spec.replacement else TwoDistinct()
    if len(set(spec.weights)) < 2 and spec.active_request_bias is None and spec.slow_start is None:
        return equal
    return WeightedRequests(equal, spec.weights, spec.active_request_bias, spec.slow_start, child(process_key, _DEADLINES))


_MAKERS: Final[dict[BalancingKind, _Maker]] = {
    "round_robin": _in_turn,
    "weighted_round_robin": lambda spec, own, shared, start, now_s: WeightedRoundRobin(spec.weights, spec.slow_start, start),
    "random": lambda spec, own, shared, start, now_s: Random(),
    "two_choices": _by_requests,
    "least_request": _by_requests,
    "peak_ewma": lambda spec, own, shared, start, now_s: PeakEwma(spec.decay, spec.default_rtt),
    "ring_hash": lambda spec, own, shared, start, now_s: RingHash(spec, shared),
    "maglev": lambda spec, own, shared, start, now_s: Maglev(spec, shared),
    "aperture": lambda spec, own, shared, start, now_s: Aperture(spec, own),
    "pick_first": lambda spec, own, shared, start, now_s: PickFirst(spec.shuffle, own),
    "utilisation": lambda spec, own, shared, start, now_s: Utilisation(spec, own, now_s),
    "join_idle_queue": lambda spec, own, shared, start, now_s: JoinIdleQueue(),
    "prequal": lambda spec, own, shared, start, now_s: Prequal(spec),
}


def new_balancer(
    spec: Balancing, process_key: int, shared_key: int = 0, start: int = 0, now_s: float = 0.0, zone: ZoneGate | None = None
) -> Balancer:
    """A balancer that has learned nothing, for one process.

    Args:
        process_key: names the process's own draws.
        shared_key: names what all processes hash alike.
        start: an endpoint to begin at, for rules that take turns.
        now_s: when the process starts, in seconds.
        zone: chooses a zone before the rule chooses there; absent: zones make no difference.
    """

    def make() -> Balancer:
        rule = _MAKERS[spec.kind](spec, process_key, shared_key, start, now_s)
        return rule if spec.subset_size is None else Subset(rule, spec.subset_size, process_key)

    return make() if zone is None else Zoned(make, zone)
