"""Caches: which answers are kept, for how long they are good, and who fetches them anew."""

from __future__ import annotations

from collections import OrderedDict
from math import exp
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from sim.laws import Constant
from sim.policies.popularity import Popularity
from sim.values import Duration, LawSpec, PositiveDuration, Spec

if TYPE_CHECKING:
    import cython

#: What `CacheGate.look` answers.
HIT: Final = 0  # a fresh answer is there
STALE: Final = 1  # a stale answer may be given; it is being fetched already
STALE_REVALIDATE: Final = 2  # a stale answer may be given; fetch it in the background
MISS: Final = 3  # nothing may be given: fetch it
COLLAPSE: Final = 4  # nothing may be given, and it is being fetched: wait for that

_NO_TIME: Final = Constant(0.0)


class Cache(Spec):
    """Keeps answers by key for `max_age`; at most `capacity` of them, the least recently used one goes first.

    ::

        age   0 ------- max_age ------- + stale_while_revalidate ----- + stale_if_error (from max_age as well) -->
              HIT       STALE, and one fetch in the background         MISS; if that fails, the stale answer

    A hit does not make an answer younger. For one key with calls at rate λ the hit ratio is λT / (1 + λT) with T = `max_age`.
    When an answer expires that takes R to fetch, 1 + λR calls fetch it at the same time (a stampede), but one with
    `request_collapsing`. With a `capacity` the hit ratio depends on how popular the keys are: key k of `keys` is asked for
    with probability ∝ 1 / k^zipf (0: all alike; web traffic: 0.6 to 1).

    With `changed_after` an answer that is too old is not forgotten but validated (If-None-Match): after an age A it has not
    changed with probability exp(-A / changed_after), and the target says so, 304 without a body. That saves bytes, not the round
    trip; and work only where the called operation has `revalidate`. Caches in a row (browser, CDN) each count an answer's age
    from its coming to them: no Age header.

    One cache per caller process on a call, per replica on an operation: each is cold by itself, and empty after a restart.
    Not for answers that must be the latest. A cache hides load from its origin: what happens when it is flushed is the question
    to simulate.

    Source: RFC 9111 (freshness, validation), RFC 9110, 13 and 15.4.5 (ETag, 304), RFC 5861 (stale). Collapsing is nginx's
    `proxy_cache_lock`, off by default there as well.

    >>> gate = CacheGate(Cache(max_age="10s"))
    >>> gate.look(0, now_s=0.0) == MISS
    True
    >>> gate.store(0, now_s=0.5)
    >>> gate.look(0, now_s=10.4) == HIT, gate.look(0, now_s=10.5) == MISS
    (True, True)
    """

    max_age: PositiveDuration = Field(description="how long an answer is fresh")
    capacity: Annotated[int, Field(ge=1)] | Literal["unbounded"] = Field("unbounded", description="answers that it holds, LRU")
    keys: Annotated[int, Field(ge=1, le=1_000_000)] = Field(1, description="how many different things are asked for")
    zipf: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="exponent of their popularity; 0: all alike")
    request_collapsing: bool = Field(False, description="whether calls wait for a fetch of their key that is under way")
    stale_while_revalidate: Duration = Field(0.0, description="how long after max_age it is given while it is fetched anew")
    stale_if_error: Duration = Field(0.0, description="how long after max_age it is given when fetching it has failed")
    hit_time: LawSpec = Field(_NO_TIME, description="how long an answer from the cache takes")
    changed_after: PositiveDuration | None = Field(
        None,
        description="mean time after which what was fetched has changed, exponential: an answer that is too old is validated "
        "(ETag), and kept for another max_age if it has not; absent: it is fetched anew. On calls only",
    )


class CacheGate:
    """One cache. Every MISS and every STALE_REVALIDATE is followed by one of `store`, `failed` and `abandoned`."""

    __slots__ = (
        "_born_s", "_capacity", "_changed_after_s", "_collapsing", "_fetching", "_keys", "_max_age_s", "_on_error_s", "_serve_s",
    )  # fmt: skip

    def __init__(self, spec: Cache) -> None:
        self._max_age_s = spec.max_age
        self._serve_s = spec.max_age + spec.stale_while_revalidate
        self._on_error_s = spec.max_age + spec.stale_if_error
        self._capacity = 2**62 if spec.capacity == "unbounded" else spec.capacity
        self._changed_after_s = spec.changed_after
        self._collapsing = spec.request_collapsing
        self._keys = Popularity(spec.keys, spec.zipf)
        self._born_s: OrderedDict[int, float] = OrderedDict()  # the least recently used first
        self._fetching: dict[int, int] = {}  # fetches under way

    def __len__(self) -> int:
        """Answers that it holds, stale ones included."""
        return len(self._born_s)

    def key_of(self, u: float) -> int:
        """Which key a call asks for, from a uniform number; 0 is the most popular one."""
        return self._keys.key_of(u)

    def look(self, key: int, now_s: float) -> cython.int:
        """A call asks for a key: HIT, STALE, STALE_REVALIDATE, MISS or COLLAPSE."""
        born_s = self._born_s.get(key)
        if born_s is not None:
            age_s = now_s - born_s
            self._born_s.move_to_end(key)
            if age_s < self._max_age_s:
                return HIT
            if age_s < self._serve_s:
                return STALE if key in self._fetching else self._fetch(key, STALE_REVALIDATE)
            if age_s >= self._on_error_s and self._changed_after_s is None:
                del self._born_s[key]
        if self._collapsing and key in self._fetching:
            return COLLAPSE
        return self._fetch(key, MISS)

    def unchanged(self, key: int, now_s: float, u: float) -> cython.bint:
        """Whether the answer that is held is still what the target has, from a uniform number; False if there is none."""
        born_s = self._born_s.get(key)
        if born_s is None or self._changed_after_s is None:
            return False
        return u < exp((born_s - now_s) / self._changed_after_s)

    def store(self, key: int, now_s: float, age_s: float = 0.0) -> None:
        """A fetch brought an answer that is `age_s` old: for HTTP, the time the fetch took and the age it came with."""
        self.abandoned(key)
        self._born_s[key] = now_s - age_s
        self._born_s.move_to_end(key)
        if len(self._born_s) > self._capacity:
            self._born_s.popitem(last=False)

    def failed(self, key: int, now_s: float) -> cython.bint:
        """A fetch failed; whether an answer that is held may be given instead."""
        self.abandoned(key)
        born_s = self._born_s.get(key)
        return born_s is not None and now_s - born_s < self._on_error_s

    def abandoned(self, key: int) -> None:
        """A fetch ended without a result: its caller gave up. If others wait for it, one of them has to `look` again."""
        left = self._fetching[key] - 1
        if left:
            self._fetching[key] = left
        else:
            del self._fetching[key]

    def flush(self) -> None:
        """Forget every answer. Fetches that are under way go on, and their answers are kept."""
        self._born_s.clear()

    def _fetch(self, key: int, answer: cython.int) -> cython.int:
        self._fetching[key] = self._fetching.get(key, 0) + 1
        return answer
