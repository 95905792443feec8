"""What everybody has to simulate, and what must come out: the one place for both. Standard library only, any Python from 3.11.

::

    W1  arrivals ~> [ 1 worker  ]                         one queue
    W2  arrivals ~> [ 8 workers ]                         one queue, eight workers
    W3  client -> one -> two -> three                     a worker is held while it waits for the next service's answer
    W4  client -> one x 3 -> two x 3 -> three x 3         the same with random balancing, timeouts, retries, breakers
    W5  the calibrated shop of experiments/boutique       a real system; only `sim` reads its file

Arrivals are Poisson, work is exponential, the network takes a constant time on every hop, each way, the client's included. Every
latency is recorded. A timed-out attempt keeps its worker. Generators of random numbers differ: results agree within noise only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, sqrt


@dataclass(frozen=True)
class Expected:
    """What a figure of a workload must be.

    Attributes:
        value: in base units; attempts and timeouts are per request.
        spread: relative standard error of one request: that of n requests is `spread / sqrt(n)`. Neighbours in a queue have
            latencies alike, so it is far above the coefficient of variation. From 100 runs of `contestants/by_hand.cpp`.
        accuracy: relative error of `value` itself; 0 for closed forms.
    """

    value: float
    spread: float
    accuracy: float = 0.0

    def tolerance(self, requests: int) -> float:
        """Largest relative deviation that counts as right: four standard errors, so that one honest result in 16,000 is refused.

        >>> round(Expected(5.0, spread=8.8).tolerance(200_000), 3)
        0.079
        """
        return self.accuracy + 4 * self.spread / sqrt(requests) if requests else inf


@dataclass(frozen=True)
class Workload:
    """One model: a chain of services with the same settings. Times in seconds, rates per second; absent parts are 0 or empty."""

    name: str
    title: str
    requests: int
    expected: dict[str, Expected]
    rate_rps: float = 0.0
    work_s: float = 0.0
    services: int = 1
    replicas: int = 1
    workers: int = 1
    network_s: float = 0.0
    timeouts_s: tuple[float, ...] = ()  # per try, for the call of each service
    max_attempts: int = 1  # tries in all
    backoff_base_s: float = 0.0  # pause before retry n: uniform between 0 and min(cap, base * 2^(n - 1))
    backoff_cap_s: float = 0.0
    breaker_failures: int = 0  # in a row; one breaker per caller process and service that it calls
    breaker_open_s: float = 0.0  # then one probe

    def words(self) -> list[str]:
        """The numbers as `name=value`, for programs in other languages; timeouts one by one, `timeout_0_s=0.4`.

        >>> W1.words()[:2]
        ['rate_rps=0.8', 'work_s=1.0']
        """
        skipped = ("name", "title", "requests", "expected", "timeouts_s")
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in skipped}
        numbers |= {f"timeout_{level}_s": timeout_s for level, timeout_s in enumerate(self.timeouts_s)}
        return [f"{name}={value}" for name, value in numbers.items()]


W1 = Workload(
    "W1", "M/M/1", 200_000, rate_rps=0.8, work_s=1.0,
    # mean 1 / (1 - 0.8); p99 of an exponential with that mean
    expected={"mean_s": Expected(5.0, 8.8), "p99_s": Expected(23.026, 20)},
)  # fmt: skip
W2 = Workload(
    "W2", "M/M/8", 200_000, rate_rps=6.4, work_s=1.0, workers=8,
    # Erlang C; p99 of the sum of waiting and work
    expected={"mean_s": Expected(1.2860, 4.5), "p99_s": Expected(5.1522, 5.5)},
)  # fmt: skip
W3 = Workload(
    "W3", "chain of three services", 200_000, rate_rps=70.59, work_s=0.010, services=3, workers=4, network_s=0.001,
    # no closed form: by_hand.cpp, 60 million requests; another program in C++, 10 million: 40.13 and 101.7 ms
    expected={"mean_s": Expected(0.04009, 0.95, 0.001), "p99_s": Expected(0.10160, 2.5, 0.001)},
)  # fmt: skip
W4 = Workload(
    "W4", "with timeouts, retries, breakers", 100_000,
    rate_rps=211.8, work_s=0.010, services=3, replicas=3, workers=4, network_s=0.001,
    timeouts_s=(0.400, 0.100, 0.040), max_attempts=4, backoff_base_s=0.010, backoff_cap_s=1.0,
    breaker_failures=5, breaker_open_s=1.0,
    # by_hand.cpp, 40 million requests; the other program, 10 million: 41.14 ms, 106.4 ms, 3.026, 0.024. No breaker ever opens.
    expected={
        "mean_s": Expected(0.04117, 1.3, 0.001), "p99_s": Expected(0.10655, 2.9, 0.001),
        "attempts": Expected(3.0256, 0.06, 0.0005), "timeouts": Expected(0.02425, 6.4, 0.005),
    },
)  # fmt: skip
W5 = Workload(
    "W5", "Online Boutique, calibrated", 20_000,
    # nobody else can say: nine runs of `sim` itself, so this notices a change and proves nothing
    expected={
        "mean_s": Expected(0.2198, 3.6, 0.01), "p99_s": Expected(1.403, 6.6, 0.02), "attempts": Expected(12.14, 0.35, 0.001),
    },
)  # fmt: skip

WORKLOADS = {workload.name: workload for workload in (W1, W2, W3, W4, W5)}
