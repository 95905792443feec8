"""Circuit breaker: stop calling a target that keeps failing, and look again later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from sim.values import Duration, Spec

if TYPE_CHECKING:
    import cython

_NEVER: Final = -math.inf
_NO_LIMIT: Final = 2**31 - 1  # failures that no run reaches; more may not fit into a C long

#: What `BreakerGate.permit` answers when the call must not be made.
REFUSED: Final = -1


class CircuitBreaker(Spec):
    """Refuse calls at once (`short_circuited`) after failures in a row, until a probe succeeds.

    ::

        closed --consecutive_failures in a row--> open --after `open`--> half-open: one probe at a time
           ^                                        ^                      |  |
           +------------ the probe succeeded -------+-- the probe failed --+--+

    Scope: one gate per caller process and target, over all of the target's endpoints. Errors, timeouts, refusals and
    unreachable endpoints are failures. Not for a target of which only one of many endpoints fails: the breaker then refuses
    the good ones too. The rule is that of a consecutive-failures breaker, as Polly v7's `CircuitBreaker`.

    A refused call is over: no retry follows, whatever `retry.on` says. A crashed replica comes back with its breakers closed.
    Give the calls a timeout: the breaker stays half-open, and refuses, for as long as a probe waits for its answer.

    >>> gate = BreakerGate(CircuitBreaker(consecutive_failures=2, open="1s"))
    >>> for now_s in (0.0, 0.1):
    ...     gate.settle(gate.permit(now_s), False, now_s)
    >>> gate.permit(0.5) == REFUSED, gate.permit(1.1) == REFUSED
    (True, False)
    """

    consecutive_failures: Annotated[int, Field(ge=1)] = Field(5, description="failures in a row that open it")
    open: Duration = Field(60.0, description="how long it refuses everything before it lets a probe through")


class BreakerGate:
    """The state of one breaker. Every permitted call is settled once with the permit it got, or gives the permit `back`.

    A permit is the number of the era in which it was given: an answer from before a change of state says nothing any more, so
    that a slow success of the past does not close a half-open breaker.
    """

    __slots__ = ("_era", "_failures", "_limit", "_open_s", "_probing", "_until_s")

    def __init__(self, spec: CircuitBreaker) -> None:
        self._limit = min(spec.consecutive_failures, _NO_LIMIT)
        self._open_s = spec.open
        self._era = 0
        self._failures = 0
        self._until_s = _NEVER  # when the open state ends; minus infinity while closed
        self._probing = False

    def permit(self, now_s: float) -> cython.long:
        """A permit for one call, or REFUSED."""
        if self._until_s > _NEVER:
            if now_s < self._until_s or self._probing:
                return REFUSED
            self._probing = True
        return self._era

    def settle(self, permit: cython.long, succeeded: cython.bint, now_s: float) -> None:
        """Say how a permitted call ended."""
        if permit != self._era:
            return
        if self._probing:
            self._turn(_NEVER if succeeded else now_s + self._open_s)
        elif succeeded:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= self._limit:
                self._turn(now_s + self._open_s)

    def back(self, permit: cython.long) -> None:
        """Give up a permit without a result: the call was abandoned by its own caller."""
        if permit == self._era:
            self._probing = False

    def _turn(self, until_s: float) -> None:
        self._until_s = until_s
        self._era += 1
        self._failures = 0
        self._probing = False
