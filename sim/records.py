"""The measurement contract: outcomes, and the columns of every table that a run writes.

Tables are written into typed columns and read as numpy arrays. The columns outlive every class: analysis and plots know these
names only, and work on last month's Parquet file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np


#: Outcome of a logical request, seen from its origin; the position is the stored code.
OUTCOMES: Final = (
    "in_flight",  # not answered when the run ended
    "ok",  # answered
    "degraded",  # a fallback answered
    "error",  # answered with a failure
    "timeout",  # the origin stopped waiting
    "rejected",  # refused: queue full, waited too long in the queue, bulkhead, rate limit, shed
    "short_circuited",  # an open breaker refused before anything was sent
    "unreachable",  # no living endpoint, connection refused or reset
)
IN_FLIGHT, OK, DEGRADED, ERROR, TIMEOUT, REJECTED, SHORT_CIRCUITED, UNREACHABLE = range(len(OUTCOMES))
#: Outcomes that answer the user; and as they stand in decoded tables.
GOOD: Final = (OK, DEGRADED)
GOOD_OUTCOMES: Final = tuple(OUTCOMES[code] for code in GOOD)

#: Where the time of a request or an attempt went, in seconds; the parts add up to its latency.
PARTS: Final = (
    "queue_s",  # waiting for a worker, or in a broker for a place to be written
    "service_s",  # being worked on (a broker's persistence included)
    "network_s",  # on links, both directions
    "backoff_s",  # waiting before a retry
    "lost_s",  # waiting for answers that never came: attempts that timed out or whose server died
)

#: What became of a message or of an effect.
FATES: Final = (
    "in_flight",  # still in the broker or being worked on when the run ended
    "done",  # the effect happened and was acknowledged
    "dead",  # gave up after the delivery limit (dead-lettered)
    "dropped",  # lost or discarded: no room, a node of the broker, or acknowledged before work that then failed
    "expired",  # its time to live ended first
    "duplicate",  # without an effect, for it had happened already (an idempotent consumer), or a second reply
    "kept",  # lies in a queue that nobody consumes
    "late",  # a reply for which nobody waited any more
    "failed",  # a request whose consumer failed, and said so in its reply
)
(
    FATE_IN_FLIGHT, FATE_DONE, FATE_DEAD, FATE_DROPPED, FATE_EXPIRED, FATE_DUPLICATE, FATE_KEPT, FATE_LATE, FATE_FAILED,
) = range(len(FATES))  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Name and columns of one table: pairs of column name and struct/numpy type code."""

    name: str
    columns: tuple[tuple[str, str], ...]
    number: str = ""  # the column, if any, that counts the rows from 0

    @property
    def dtypes(self) -> list[tuple[str, np.dtype[Any]]]:
        """Name and numpy type of each column."""
        import numpy as np  # here: who only reads names needs no numpy, and the policies do

        return [(name, np.dtype(_NUMPY[code])) for name, code in self.columns]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Packed little-endian numpy type of a row."""
        import numpy as np

        return np.dtype([(name, "<" + _NUMPY[code]) for name, code in self.columns])

    @property
    def packer(self) -> struct.Struct:
        """The same row for `struct.pack`."""
        return struct.Struct("<" + "".join(code for _, code in self.columns))


_NUMPY = {"q": "i8", "i": "i4", "h": "i2", "b": "i1", "d": "f8", "f": "f4"}

#: One row per logical request, at its origin.
REQUESTS = Table(
    "requests",
    (
        ("request", "q"),  # number in order of arrival, from 0, over the whole run, warm-up included
        ("entry", "i"),  # code of the entry operation, "service.operation"
        ("arrived_s", "d"),  # clock time; the measured window starts at run.warmup
        ("ended_s", "d"),  # NaN while in flight
        ("outcome", "b"),  # code into OUTCOMES
        ("attempts", "i"),  # calls issued on its behalf in all tiers, first tries and publishes included
        *((part, "d") for part in PARTS),
    ),
    number="request",
)

#: One row per call attempt on any edge, at its caller; the tree of a request follows `parent`.
ATTEMPTS = Table(
    "attempts",
    (
        ("attempt", "q"),  # number in order of issue
        ("parent", "i"),  # attempt inside which this one was made, -1 at the origin
        ("request", "i"),
        ("caller", "i"),  # code of the calling service ("client" at the origin)
        ("target", "i"),  # code of the called operation, or of the queue that was published to
        ("replica", "i"),  # index of the replica that was chosen, -1 when none could be
        ("number", "i"),  # 1 for the first try
        ("started_s", "d"),
        ("ended_s", "d"),  # NaN while in flight
        ("outcome", "b"),
        ("queue_s", "d"),  # waiting for a worker of the target
        ("service_s", "d"),  # the target's own work, without what it called
        ("network_s", "d"),  # on this edge only
    ),
    number="attempt",
)

#: One row per effect: a message through a queue, or a synchronous run of an operation marked `effect`.
EFFECTS = Table(
    "effects",
    (
        ("effect", "i"),  # code of the operation that is the effect; -1 for a message in a queue without a consumer
        ("request", "q"),  # the request that asked for it
        ("queue", "i"),  # code of the queue, or of the group of a log (LOG.GROUP); -1 for a synchronous effect
        ("arrived_s", "d"),  # when its request arrived at the origin
        ("published_s", "d"),  # when the publisher sent it; for a synchronous effect, when the server received the call
        ("acked_s", "d"),  # when the broker had it safely; NaN for a synchronous effect
        ("started_s", "d"),  # when the work that completed it began; NaN if none did
        ("done_s", "d"),  # when the effect was there; NaN if it never was
        ("deliveries", "i"),  # how often a consumer received it
        ("fate", "b"),  # code into FATES
        ("times_done", "i"),  # how often the effect happened; `done_s` is the first time
        ("key", "q"),  # what the message is about; -1 if it has no key
        ("number", "q"),  # of the message, in the order in which its queue (of a log: its producers) took them; -1: none did
        ("dead_letter_of", "i"),  # code of the queue that gave it up; -1 for what was published
        ("partition", "i"),  # of the log; -1 for what is in none
        ("bytes", "q"),  # size of the message, or of what says where its payload is; 0 where sizes play no part
    ),
)

#: One row per sample of a service or queue.
GAUGES = Table(
    "gauges",
    (
        ("time_s", "d"),
        ("name", "i"),  # code of the service, queue, group of a log (LOG.GROUP), partition (LOG.GROUP/0), or broker
        ("busy", "i"),  # workers held, over all replicas or nodes; for a queue, messages that are unacknowledged (uncommitted)
        ("queued", "i"),  # waiting for a worker; for a queue, messages that are at no consumer: ready, or delayed
        ("alive", "i"),  # replicas or nodes that are up
    ),
)

#: One row per service, registry and broker: exact integrals over the measured window and the drain.
TOTALS = Table(
    "totals",
    (
        ("name", "i"),  # code of the service
        ("busy_worker_s", "d"),  # integral of workers held: what the work cost, abandoned work included
        ("served", "q"),  # visits that got a worker
    ),
)

#: What can change: a caller's circuit breaker, what it knows of an endpoint, and the endpoint itself.
STATES: Final = (
    "closed",  # the breaker lets calls through
    "open",  # it refuses them
    "half_open",  # it lets probes through
    "ejected",  # outlier detection leaves the endpoint out
    "returned",  # and uses it again
    "listed",  # the process learned from a registry that the endpoint is there
    "unlisted",  # and that it is not
    "down",  # the replica itself stopped answering; the caller is its own service
    "up",  # and began to
    "connected",  # a connection of the process to the endpoint was made
    "draining",  # it takes no new calls
    "disconnected",  # it is over
    "blocked",  # a broker lets nobody publish
    "unblocked",  # and does again
)

#: One row per change of a breaker's or endpoint's state, at each caller process, in services with a registry also of replicas;
#: closed, used, and listed as in the first row, until then. Where calls go over connections, one row per change of each of them.
CHANGES = Table(
    "changes",
    (
        ("time_s", "d"),
        ("caller", "i"),  # code of the calling service ("client" at the origin)
        ("process", "i"),  # index of its replica or client
        ("target", "i"),  # code of the called operation; of the service, where it is about all of its operations
        ("endpoint", "i"),  # index of the replica; -1 for a breaker over all of them
        ("state", "b"),  # code into STATES
    ),
)

#: One row per edge and pair of zones: attempts that began in the measured window, where the scenario has zones.
ZONE_CALLS: Final = Table(
    "zone_calls",
    (
        ("caller", "i"),  # code of the calling service ("client" at the origin)
        ("target", "i"),  # code of the called operation, or of the queue that was published to
        ("from_zone", "h"),  # number of the caller process's zone; -1 outside of all
        ("to_zone", "h"),  # number of the endpoint's zone; -1 where none could be chosen
        ("troubled", "b"),  # 1 for those that began while a zone was down or cut off, 0 for the others
        ("attempts", "q"),
        ("good", "q"),  # of them, answered ok or degraded
    ),
)

#: One row per edge whose calls have a protocol: what they cost in the measured window.
TRAFFIC: Final = Table(
    "traffic",
    (
        ("caller", "i"),  # code of the calling service ("client" at the origin)
        ("target", "i"),  # code of the called operation
        ("calls", "q"),  # requests that arrived at a replica or proxy
        ("request_bytes", "q"),  # on the link towards it: bodies, headers, frames, segments, repeated ones
        ("response_bytes", "q"),  # on the link back
        ("caller_cpu_s", "d"),  # writing requests, reading answers, agreeing on keys: at the callers
        ("target_cpu_s", "d"),  # reading requests, writing answers, agreeing on keys: at the target
        ("connections", "q"),  # that were begun
    ),
)

#: What is sketched of requests where their rows are not kept (`run.record_requests` is false).
SKETCHED: Final = ("latency_s", *PARTS)

#: In place of the rows of requests: one row per entry and outcome; only requests that arrived in the measured window count.
OUTCOME_SUMS = Table(
    "outcomes",
    (
        ("entry", "i"),
        ("outcome", "b"),
        ("measured", "q"),  # requests
        ("ended", "q"),  # requests, the warm-up's included, that ended inside the measured window
        *((part, "d") for part in SKETCHED),  # sums over the measured ones
    ),
)

#: In place of the rows of requests: one row per entry.
ENTRY_SUMS = Table("entries", (("entry", "i"), ("attempts", "q")))  # attempts on behalf of measured requests

#: In place of the rows of requests: one row per bucket (see `sim.sketch`) that holds a measured request.
SKETCHES = Table("sketches", (("entry", "i"), ("outcome", "b"), ("part", "b"), ("bucket", "i"), ("count", "q")))

TABLES: Final = (REQUESTS, ATTEMPTS, EFFECTS, GAUGES, TOTALS, CHANGES, ZONE_CALLS, TRAFFIC)
