"""Passive health: leave out an endpoint that has failed, and try it again with live calls, as nginx does."""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import Field

from sim.policies.breaker import Failure
from sim.policies.outlier import EndpointGate, Indices
from sim.records import IN_FLIGHT, OUTCOMES, SHORT_CIRCUITED
from sim.values import Duration, Spec

_INF: Final = math.inf
#: Outcomes of attempts that were given up or never made.
_NOTHING: Final = (IN_FLIGHT, SHORT_CIRCUITED)


class PassiveHealth(Spec):
    """Leave out an endpoint after `max_fails` failures, and try it with one call after `fail_timeout`.

    ::

        fails >= max_fails --> left out while now - last failure <= fail_timeout --> one call --ok--> fails = 0
                                  ^                                                       |
                                  +-------------------------- it failed -----------------+

    Clock readings are whole seconds, so that 5 s last between 5 and 6. Failures add up until a call that began more than
    `fail_timeout` after the last one succeeds. A group of one endpoint is always used; where all are left out, none is.
    An error is an answer like any other, as with nginx, unless `failures` names it.

    Not for clients that cannot afford one failed call every `fail_timeout`: it has no other probe.
    Left out: the weight that a failed server wins back in its next rounds. Source: nginx@1.29
    ngx_http_upstream_round_robin.c; until 1.11.4 a group of which all had failed was used again at once.

    >>> gate = PassiveHealth(fail_timeout="5s").gate(endpoints=2)
    >>> gate.settle(1, OUTCOMES.index("unreachable"), now_s=0.9)
    >>> gate.usable(5.9, [0, 1]), gate.usable(6.0, [0, 1])
    ([0], [0, 1])
    """

    max_fails: Annotated[int, Field(ge=0)] = Field(1, description="failures that take it out; 0: never")
    fail_timeout: Duration = Field(10.0, description="how long it is left out, and how long a failure is remembered at least")
    failures: tuple[Failure, ...] = Field(("timeout", "unreachable"), description="the outcomes that are failures")

    def gate(self, endpoints: int, key: int = 0, start_s: float = 0.0) -> PassiveGate:
        """A gate to which all endpoints are good. It draws nothing, and its seconds are those of the clock."""
        return PassiveGate(self, endpoints)


class PassiveGate(EndpointGate):
    """The rule of nginx, for one worker process."""

    __slots__ = (
        "_accessed_s", "_believed", "_checked_s", "_failing", "_fails", "_next_s", "_single", "_spec", "_timeout_s", "_usable",
        "changes",
    )  # fmt: skip

    def __init__(self, spec: PassiveHealth, endpoints: int) -> None:
        self._spec = spec
        self._timeout_s = spec.fail_timeout
        self._failing = [name in spec.failures for name in OUTCOMES]
        self._fails = [0] * endpoints
        self._accessed_s = [-_INF] * endpoints  # whole second of the last failure
        self._checked_s = [-_INF] * endpoints  # whole second of the last failure or probe
        self._single = endpoints == 1
        self._believed: Indices = list(range(endpoints))
        self._usable: Indices = self._believed
        self._next_s = _INF  # until then `_usable` holds
        self.changes = []

    def usable(self, now_s: float, believed: Indices) -> Indices:
        """The endpoints that are not left out."""
        if believed is not self._believed or now_s >= self._next_s:
            self._choose(now_s, believed)
        return self._usable

    def picked(self, endpoint: int, now_s: float) -> None:
        """An attempt is sent: if the endpoint was left out, it is the only one until it ends or a fail_timeout passes."""
        second: float = math.floor(now_s)
        if second - self._checked_s[endpoint] > self._timeout_s:
            self._checked_s[endpoint] = second
            self._next_s = now_s if self._out(endpoint) else self._next_s

    def settle(self, endpoint: int, outcome: int, now_s: float) -> None:
        """Count a failure; a success counts only if it is that of a probe."""
        if self._single or outcome in _NOTHING:
            return
        out = self._out(endpoint)
        if self._failing[outcome]:
            self._fails[endpoint] += 1
            self._accessed_s[endpoint] = self._checked_s[endpoint] = math.floor(now_s)
        elif self._accessed_s[endpoint] < self._checked_s[endpoint]:
            self._fails[endpoint] = 0
        if out or self._out(endpoint):
            self._next_s = now_s
        if out != self._out(endpoint):
            self.changes.append((now_s, endpoint, not out))

    def _out(self, endpoint: int) -> bool:
        return 0 < self._spec.max_fails <= self._fails[endpoint]

    def _choose(self, now_s: float, believed: Indices) -> None:
        self._believed = believed
        self._single = len(believed) == 1
        self._usable, self._next_s = believed, _INF
        if self._single:
            return
        second = math.floor(now_s)
        left_out = [i for i in believed if self._out(i) and second - self._checked_s[i] <= self._timeout_s]
        if left_out:
            self._usable = [i for i in believed if i not in left_out]
            self._next_s = min(math.floor(self._checked_s[i] + self._timeout_s) + 1.0 for i in left_out)
