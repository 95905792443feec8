"""Messages on their way: what a publish carries, what becomes of it, and topics, which copy it to several queues."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Reply, Steps, Task
from sim.laws import Lognormal, Sampler, sampler
from sim.policies.backlog_lines import Item
from sim.policies.popularity import Popularity
from sim.records import FATE_DONE, FATE_DUPLICATE, FATE_FAILED, OK, UNREACHABLE
from sim.runtime.visit import Endpoint, Target, View, Visit
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.queue import MessageQueue
    from sim.runtime.visit import Edge
    from sim.runtime.world import World
    from sim.scenario.services import Payload as PayloadSpec
    from sim.scenario.services import Publish

_KEY, _POISON, _SUBSCRIPTION, _DEAD_LETTER, _SIZE = (
    salt("message", name) for name in ("key", "poison", "subscription", "dead letter", "size")
)


class Payload:
    """How large messages are: each as one draw."""

    __slots__ = ("_law", "bytes", "reference", "store")

    def __init__(self, spec: PayloadSpec, store: Any) -> None:
        self.bytes = spec.size
        self._law: Sampler | None = sampler(Lognormal(spec.size, spec.cv)) if spec.cv > 0 else None
        self.store = store  # that it goes through, if it does
        self.reference = spec.reference

    def draw(self, bits: cython.ulonglong) -> float:
        """The size of one, in bytes, from the bits of its message."""
        law = self._law
        return self.bytes if law is None else law.draw(child(bits, _SIZE))


class Stamp:
    """What a step puts on each message that it publishes."""

    __slots__ = (
        "_by_process",
        "_step",
        "bits",
        "confirmed",
        "correlation",
        "payload",
        "poison",
        "popularity",
        "priority",
        "process",
    )

    def __init__(
        self, step: Publish, process: int = -1, popularity: Popularity | None = None, payload: Payload | None = None
    ) -> None:
        self._step = step
        self.payload = payload
        self.process = process  # that publishes, where the mailbox wants to know
        self.bits = 0  # of the entry in an outbox that is published, however often; 0: the publish speaks for itself
        self._by_process: dict[int, Stamp] = {}
        self.popularity = popularity or (None if step.key is None else Popularity(step.key.keys, step.key.zipf))
        self.priority = step.priority
        self.poison = step.poison
        self.confirmed = step.confirm
        self.correlation: Any = None  # of a request: who waits for its reply; of a reply: what it tells whom

    def of(self, process: cython.long) -> Stamp:
        """The same, with the name of the process that publishes."""
        stamp = self._by_process.get(process)
        if stamp is None:
            stamp = self._by_process[process] = Stamp(self._step, process, self.popularity, self.payload)
        return stamp

    def entry(self, bits: cython.ulonglong, process: cython.long) -> Stamp:
        """The same for an entry in an outbox, which stays the same message however often it is published."""
        stamp = Stamp(self._step, process, self.popularity, self.payload)
        stamp.bits = bits
        return stamp

    def correlated(self, correlation: Any) -> Stamp:
        """The same for a request or a reply, with what it belongs to."""
        stamp = Stamp(self._step, self.process, self.popularity)
        stamp.correlation = correlation
        return stamp


class Message(Item):
    """One message in one queue: what it asks for and what has become of it."""

    __slots__ = (
        "acked_s", "arrived_s", "at_work", "bits", "bytes", "copied_s", "correlation", "dead_letter_of", "done_s", "entry",
        "failed", "fate", "id", "partition", "payload_bytes", "poisoned", "published_s", "request", "started_s", "store",
        "times_done", "waited_s", "way_s", "write_bits", "wrote_s",
    )  # fmt: skip

    def __init__(self, request: int, arrived_s: float, entry: int, bits: int, published_s: float) -> None:
        Item.__init__(self)
        self.request = request  # number of the request that asks for it
        self.arrived_s = arrived_s  # when that arrived at its origin
        self.entry = entry  # and what it asked for there
        self.bits = bits  # its draws derive from them: those of the call that a synchronous design would make here
        self.write_bits = bits  # the draws of writing it, of this attempt to publish it
        self.id = bits  # the same for a publish that is sent again
        self.published_s = published_s
        self.acked_s = nan
        self.started_s = nan
        self.done_s = nan
        self.times_done = 0
        self.dead_letter_of = -1
        self.at_work = 0  # deliveries of which a consumer still thinks that they are its
        self.fate = -1  # once it has ended
        self.poisoned = False
        self.failed = False  # whether a consumer has failed, and said so in its reply
        self.correlation: Any = None  # of a request: who waits for its reply; of a reply: what it tells whom
        self.way_s = 0.0  # of its way to the latest consumer; of a reply, of that to its queue
        self.bytes = 0.0  # its size
        self.store: Any = None  # that has its payload, if it is not in the message
        self.payload_bytes = 0.0
        self.partition = -1  # of a log
        self.copied_s = inf  # when a second node had it
        self.waited_s = 0.0  # for a worker of the broker
        self.wrote_s = 0.0  # from then until it was confirmed

    def settled_as(self) -> cython.int:
        """The fate of a message that its consumer has acknowledged."""
        if self.times_done:
            return FATE_DONE
        return FATE_FAILED if self.failed else FATE_DUPLICATE


def message_of(visit: Visit, subscription: cython.long = -1) -> Message:
    """The message that a publish brings; of a topic, the one for a subscription."""
    # The key is that of the call, not of the publish attempt, so a repeated publish asks for the same work.
    bits = visit.call_key
    if isinstance(visit.stamp, Stamp) and visit.stamp.bits:
        bits = visit.stamp.bits
    own = bits if subscription < 0 else child(child(bits, _SUBSCRIPTION), subscription)
    message = Message(visit.request, visit.arrived_s, visit.entry, own, visit.sent_s)
    message.write_bits = visit.key if subscription < 0 else child(visit.key, subscription)
    if isinstance(visit.stamp, Stamp):
        stamp: Stamp = visit.stamp
        message.rank = stamp.priority
        message.correlation = stamp.correlation
        if stamp.popularity is not None:
            message.group = stamp.popularity.key_of(uniform(child(bits, _KEY)))
        if stamp.payload is not None:
            _weigh(message, stamp.payload, bits)
        if stamp.poison > 0:
            message.poisoned = uniform(child(bits, _POISON)) < stamp.poison
    return message


def _weigh(message: Message, payload: Payload, bits: cython.ulonglong) -> None:
    message.bytes = payload.draw(bits)
    if payload.store is not None:
        message.payload_bytes = message.bytes
        message.bytes = payload.reference
        message.store = payload.store


def dead_letter(message: Message, queue: cython.int, now_s: float) -> Message:
    """A message that one queue has given up, for the next one. It is no request any more: who reads it answers nobody."""
    bits = child(message.bits, _DEAD_LETTER)
    letter = Message(message.request, message.arrived_s, message.entry, bits, now_s)
    letter.id = message.id
    letter.group = message.group
    letter.rank = message.rank
    letter.poisoned = message.poisoned
    letter.bytes, letter.payload_bytes, letter.store = message.bytes, message.payload_bytes, message.store
    letter.dead_letter_of = queue
    letter.copied_s = -inf  # it moves at once, to all nodes that keep the queue: none takes it along
    return letter


class Mailbox(Endpoint):
    """What publishers send to: a queue, a topic or a log."""

    __slots__ = ("by_process", "target", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.by_process = False  # whether it wants to know which process publishes
        self.target = Target([self], View([0]))  # of the edges of its publishers

    @property
    def up(self) -> bool:
        """Whether it takes messages."""
        raise NotImplementedError

    @property
    def zone(self) -> int:
        """In which zone it is, where there are zones."""
        raise NotImplementedError

    def check(self, timeout_s: float, bits: int) -> Steps:
        """Whether it answers."""
        return OK if self.up else UNREACHABLE
        yield  # a generator that waits for nothing

    def receive(self, visit: Visit) -> None:
        """Take a message from a publisher: make it safe, then answer OK."""
        visit.task = self.world.tasks.start(self._take(visit))

    def _take(self, visit: Visit) -> Steps:
        raise NotImplementedError

    def never_came(self, visit: Visit) -> None:
        """A publish that nobody confirms has failed, and nobody knows: its message is lost."""
        raise NotImplementedError


def mailbox_of(edge: Edge) -> Mailbox:
    """Where the publishes of an edge lead."""
    mailbox = edge.target.endpoints[0]
    assert isinstance(mailbox, Mailbox)
    return mailbox


def wants_no_confirm(visit: Visit) -> cython.bint:
    """Whether the publisher does not care what becomes of it."""
    if not isinstance(visit.stamp, Stamp):
        return False
    stamp: Stamp = visit.stamp
    return not stamp.confirmed


def account(visit: Visit, message: Message) -> None:
    """Tell a publish where its time went at the broker."""
    visit.own_queue_s = message.waited_s
    visit.queue_s += message.waited_s
    visit.service_s += message.wrote_s
    visit.own_s += message.wrote_s


class Topic(Mailbox):
    """Copies each message to its queues; answers when all have it, or have refused it."""

    __slots__ = ("_queues",)

    def __init__(self, world: World, queues: list[MessageQueue]) -> None:
        Mailbox.__init__(self, world)
        self._queues = queues

    @property
    def up(self) -> bool:
        """Whether any of its queues takes messages."""
        return any(queue.up for queue in self._queues)

    @property
    def zone(self) -> int:
        """That of its first queue, whose links it has as well."""
        return self._queues[0].zone

    def _take(self, visit: Visit) -> Steps:
        tasks = self.world.tasks
        messages = [message_of(visit, i) for i in range(len(self._queues))]
        finished = Reply(tasks)
        left, last, worst = len(messages), messages[0], OK

        def store(queue: MessageQueue, message: Message) -> Steps:
            nonlocal left, last, worst
            outcome = yield from queue.store(message, wants_no_confirm(visit))
            worst = worst if outcome == OK else outcome
            last = message
            left -= 1
            if not left:
                finished.settle(None)

        started: list[Task] = [tasks.start(store(*pair)) for pair in zip(self._queues, messages, strict=True)]
        try:
            if left:
                yield finished
        finally:
            for task in started:
                task.kill()  # only those still running: the publisher has given up and said so
        account(visit, last)
        visit.answer(worst)

    def never_came(self, visit: Visit) -> None:
        """Lost for all of its queues."""
        for i, queue in enumerate(self._queues):
            queue.record_lost(message_of(visit, i))
