"""Which of several consumers gets the next message: in turn, as long as each may hold more; or one alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cython


class Turns:
    """Consumers that may hold `credit` messages each. Whoever has waited longest is next; with `single`, the first that came
    gets all, and when it is gone the one that came after it.

    A large credit lets the first consumers that come take all there is, while the others have nothing to do: a queue that is
    seldom longer than one consumer's credit is not shared.

    Source: RabbitMQ docs, consumers (round robin among consumers with prefetch left; single active consumer).

    >>> turns = Turns(credit=1, single=False)
    >>> turns.add("a"), turns.add("b")
    (None, None)
    >>> turns.next(), turns.next(), turns.next()
    ('a', 'b', None)
    >>> turns.free("b"), turns.next()
    (None, 'b')
    """

    __slots__ = ("_credit", "_left", "_line", "_single")

    def __init__(self, credit: int, single: bool) -> None:
        self._credit = credit
        self._single = single
        self._left: dict[Any, int] = {}  # what each may still take, in the order in which they came
        self._line: deque[Any] = deque()  # those that may, once each

    def add(self, consumer: Any) -> None:
        """A consumer comes, with empty hands."""
        self._left[consumer] = self._credit
        self._line.append(consumer)

    def remove(self, consumer: Any) -> None:
        """It is gone; what it frees says nothing any more."""
        self._left.pop(consumer, None)

    def may(self, consumer: Any) -> cython.bint:
        """Whether a consumer may get messages at all."""
        return consumer in self._left and (not self._single or consumer == _first(self._left))

    def next(self) -> Any:
        """Whose turn it is, if anybody may take one more; that counts as taken."""
        if self._single:
            first = _first(self._left)
            if first is None or not self._left[first]:
                return None
            self._left[first] -= 1
            return first
        line = self._line
        while line:
            consumer = line.popleft()
            left = self._left.get(consumer)
            if left is None:
                continue
            self._left[consumer] = left - 1
            if left > 1:
                line.append(consumer)
            return consumer
        return None

    def skip(self, consumer: Any) -> None:
        """There was nothing for it after all: it stays the next one."""
        self._left[consumer] += 1
        if self._single:
            return
        if self._left[consumer] > 1 and self._line and self._line[-1] == consumer:
            self._line.pop()
        self._line.appendleft(consumer)

    def free(self, consumer: Any) -> None:
        """A consumer holds one less."""
        left = self._left.get(consumer)
        if left is not None:
            self._left[consumer] = left + 1
            if left == 0 and not self._single:
                self._line.append(consumer)


def _first(those: dict[Any, int]) -> Any:
    for one in those:
        return one
    return None
