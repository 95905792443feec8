"""Small event loops for tests of decisions: a clock, a heap and seeded draws, without the simulator."""

from __future__ import annotations

import heapq
import random
from itertools import count


class Clock:
    """Runs what was put on it, in order of time; things at the same time in the order in which they were put."""

    def __init__(self):
        self.now_s = 0.0
        self._agenda = []
        self._order = count()

    def at(self, time_s, what, *arguments):
        heapq.heappush(self._agenda, (time_s, next(self._order), what, arguments))

    def run(self):
        while self._agenda:
            self.now_s, _, what, arguments = heapq.heappop(self._agenda)
            what(*arguments)


def poisson(rate, calls, seed):
    """Times of Poisson arrivals."""
    chance, now_s = random.Random(seed), 0.0
    for _ in range(calls):
        now_s += chance.expovariate(rate)
        yield now_s


def exponential(chance):
    return chance.expovariate(1)


def constant(chance):
    return 1.0


def lognormal(chance):
    """Mean 1, variance 4."""
    sigma2 = 1.6094379124341003
    return chance.lognormvariate(-sigma2 / 2, sigma2**0.5)
