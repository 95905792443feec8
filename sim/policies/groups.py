"""Consumer groups: who is a member, who reads which partitions, and how that changes when members come and go."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Literal

from pydantic import Field, model_validator

from sim.policies.partitions import assign
from sim.values import Duration, PositiveDuration, Spec

#: What a heartbeat is answered: all is well; the group rebalances, join it again; you are no member.
WELL, REBALANCING, UNKNOWN = range(3)


class GroupRules(Spec):
    """How a consumer group shares the partitions of a log.

    ::

        eager        a member comes: all stop at their next poll, give all back, and wait for the slowest; then all begin anew
        cooperative  all go on; who has to give partitions away does, and a second round hands those out
        server       the coordinator decides; each learns of it with its heartbeat, gives away, and is given what has become free

    A member that dies without a word is noticed when `session_timeout` has passed since its last heartbeat; until then nobody
    reads its partitions. A member that is stopped says so. A member that does not ask for messages for longer than
    `max_poll_interval`, because its work takes too long, leaves; what it still does then is done again by others.

    Source: kafka@3 `ConsumerCoordinator`, `GroupCoordinator`; KIP-429 (cooperative), KIP-848 (server).
    """

    protocol: Literal["eager", "cooperative", "server"] = Field(
        "cooperative", description="how partitions change hands: all stop; only those that move; or told by the coordinator"
    )
    assignor: Literal["range", "round_robin", "sticky"] = Field(
        "sticky", description="who gets what: neighbours together, in turn, or as it was as far as it is even"
    )
    session_timeout: PositiveDuration = Field(45.0, description="without a heartbeat for so long a member is taken for dead")
    heartbeat_interval: PositiveDuration = Field(
        3.0, description="pause between heartbeats; with their answers members learn of a rebalance, at least 1ms"
    )
    max_poll_interval: PositiveDuration = Field(
        300.0, description="longest time between two polls of a consumer; also how long a rebalance waits for a member"
    )
    initial_rebalance_delay: Duration = Field(
        3.0, description="how long an empty group waits for more members before it shares the partitions; not for `server`"
    )

    @model_validator(mode="after")
    def _sticks(self) -> GroupRules:
        if self.protocol == "cooperative" and self.assignor != "sticky":
            raise ValueError(f"protocol: cooperative needs assignor: sticky, not {self.assignor}: others move what need not move")
        return self


class Member:
    """What the coordinator knows of a consumer."""

    __slots__ = ("asked_s", "granted", "heard_s", "owned", "waiting")

    def __init__(self, now_s: float) -> None:
        self.heard_s = now_s
        self.waiting = False  # at the barrier of a rebalance
        self.owned: tuple[int, ...] = ()  # what it says that it reads
        self.granted: tuple[int, ...] = ()  # what it was told to read
        self.asked_s = inf  # when it was told to give something away, until it has


class GroupGate:
    """The coordinator of one group, told the time. What members have to be told is in `news`, in order, until it is taken.

    With `eager` and `cooperative` a member joins, waits, and has news when the round is over. With `server` it has news with the
    answers to its heartbeats.
    """

    __slots__ = ("_deadline_s", "_not_before_s", "_partitions", "_preparing", "_spec", "_target", "era", "members", "news")

    def __init__(self, spec: GroupRules, partitions: int) -> None:
        self._spec = spec
        self._partitions = partitions
        self.members: dict[Any, Member] = {}  # in the order in which they came
        self.era = 0  # rounds so far
        self.news: list[tuple[Any, tuple[int, ...]]] = []
        self._preparing = False
        self._not_before_s = 0.0
        self._deadline_s = inf
        self._target: dict[Any, tuple[int, ...]] = {}  # `server`: what each shall read in the end

    # --- members come and go ------------------------------------------------------------------------------------------------

    def found(self, those: Iterable[Any], now_s: float) -> None:
        """A group that has been there for long: its members read what they should."""
        for who in those:
            self.members[who] = Member(now_s)
        self.era += 1
        self._target = assign(self._spec.assignor, list(self.members), self._partitions, {})
        for who, partitions in self._target.items():
            member = self.members[who]
            member.owned = member.granted = partitions
            self.news.append((who, partitions))

    def join(self, who: Any, owned: tuple[int, ...], now_s: float) -> None:
        """A consumer comes, or comes to the barrier of a rebalance with what it still reads."""
        member = self.members.get(who)
        fresh = member is None
        if member is None:
            member = self.members[who] = Member(now_s)
        member.heard_s = now_s
        member.owned = owned
        if self._spec.protocol == "server":
            if fresh:
                self._new_target()
            return
        member.waiting = True
        if not self._preparing:
            first = len(self.members) == 1
            self._prepare(now_s)
            if first:
                self._not_before_s = min(now_s + self._spec.initial_rebalance_delay, self._deadline_s)
        elif fresh and now_s < self._not_before_s:
            self._not_before_s = min(now_s + self._spec.initial_rebalance_delay, self._deadline_s)
        self._end_round(now_s)

    def leave(self, who: Any, now_s: float) -> None:
        """A member says that it goes; of one that is none, nothing."""
        if self.members.pop(who, None) is not None:
            self._fewer(now_s)

    def heartbeat(self, who: Any, owned: tuple[int, ...], now_s: float) -> int:
        """A member lives: what it is answered. `server`: it also says what it reads, and may have news."""
        member = self.members.get(who)
        if member is None:
            return UNKNOWN
        member.heard_s = now_s
        if self._spec.protocol == "server":
            member.owned = owned
            self._reconcile(who, member, now_s)
            return WELL
        return REBALANCING if self._preparing and not member.waiting else WELL

    def due(self, now_s: float) -> list[Any]:
        """Take out who was not heard of, or did not do as it was told; go on with a round that has waited. Return those."""
        spec = self._spec
        gone = [
            who
            for who, member in self.members.items()
            if (not member.waiting and now_s >= member.heard_s + spec.session_timeout)
            or now_s >= member.asked_s + spec.max_poll_interval
        ]
        if self._preparing and now_s >= self._deadline_s:
            gone += [who for who, member in self.members.items() if not member.waiting and who not in gone]
        for who in gone:
            del self.members[who]
        if gone:
            self._fewer(now_s)
        elif self._preparing:
            self._end_round(now_s)
        return gone

    def next_s(self) -> float:
        """When `due` has something to do at the earliest; infinite: never."""
        spec = self._spec
        times = [member.heard_s + spec.session_timeout for member in self.members.values() if not member.waiting]
        times += [member.asked_s + spec.max_poll_interval for member in self.members.values()]
        if self._preparing:
            times += [self._deadline_s]
            times += [self._not_before_s] if self._all_wait() else []
        return min(times, default=inf)

    def reader(self, partition: int) -> Any:
        """Who was told to read a partition; None: nobody."""
        for who, member in self.members.items():
            if partition in member.granted:
                return who
        return None

    # --- rounds: eager and cooperative -------------------------------------------------------------------------------------

    def _prepare(self, now_s: float) -> None:
        self._preparing = True
        self._not_before_s = now_s
        self._deadline_s = now_s + self._spec.max_poll_interval

    def _fewer(self, now_s: float) -> None:
        if self._spec.protocol == "server":
            self._new_target()
        elif not self.members:
            self._preparing = False
        elif not self._preparing:
            self._prepare(now_s)
        else:
            self._end_round(now_s)

    def _all_wait(self) -> bool:
        return all(member.waiting for member in self.members.values())

    def _end_round(self, now_s: float) -> None:
        if not self._preparing or now_s < self._not_before_s or not self._all_wait():
            return
        self._preparing = False
        self.era += 1
        owned = {who: member.owned for who, member in self.members.items()}
        wanted = assign(self._spec.assignor, list(self.members), self._partitions, owned)
        # What somebody still reads it must give away first: the next round hands it out. Eager ones read nothing by now.
        reader = {p: who for who, partitions in owned.items() for p in partitions}
        for who, member in self.members.items():
            member.waiting = False
            member.heard_s = now_s
            member.granted = tuple(p for p in wanted[who] if reader.get(p, who) is who)
            self.news.append((who, member.granted))

    # --- told by the coordinator: server -----------------------------------------------------------------------------------

    def _new_target(self) -> None:
        self.era += 1
        owned = {who: member.granted for who, member in self.members.items()}
        self._target = assign(self._spec.assignor, list(self.members), self._partitions, owned)

    def _reconcile(self, who: Any, member: Member, now_s: float) -> None:
        """Bring a member nearer to what it shall read: first it gives away, then it gets what nobody reads any more."""
        if set(member.owned) - set(member.granted):
            return  # it has not given away yet what it was told to
        member.asked_s = inf
        target = self._target.get(who, ())
        stays = tuple(p for p in member.granted if p in target)
        if stays != member.granted:
            member.granted = stays
            member.asked_s = now_s
        else:
            held = {p for other, one in self.members.items() if other is not who for p in (*one.owned, *one.granted)}
            member.granted = tuple(sorted({*stays, *(p for p in target if p not in held)}))
        if member.granted != member.owned:
            self.news.append((who, member.granted))
