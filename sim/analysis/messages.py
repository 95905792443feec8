"""Reading what became of messages: per queue, over time, out of order, and how busy their brokers were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.records import FATES

#: Columns of `messages_by_queue` beside one for each fate.
_NUMBERS: Final = (
    "messages", "dead_letters", "megabytes", "deliveries_per_message", "redelivered", "repeated_effects", "out_of_order",
    "ack_p50_s", "ack_p99_s", "effect_p50_s", "effect_p99_s",
)  # fmt: skip


def times_done(effects: pd.DataFrame) -> pd.Series[int]:
    """How often each effect happened; tables from before that was recorded know once or never."""
    return effects["times_done"].astype(int) if "times_done" in effects else effects["done_s"].notna().astype(int)


def was_published(effects: pd.DataFrame) -> pd.Series[bool]:
    """Whether a row is of something that was published or called: no dead letter of another queue."""
    return effects["dead_letter_of"].isna() if "dead_letter_of" in effects else pd.Series(True, index=effects.index)


def late_replies(effects: pd.DataFrame, requests: Any) -> float | None:
    """How many replies to these requests came when nobody waited for them any more; None where none came through a queue."""
    if not len(effects):
        return None
    # Nobody consumes a queue of replies, so they are no effect.
    replies = effects[effects["effect"].isna() & effects["fate"].isin(["done", "late"])]
    return float(((replies["fate"] == "late") & replies["request"].isin(requests)).sum()) if len(replies) else None


def out_of_order(effects: pd.DataFrame) -> pd.Series[bool]:
    """Effects that happened although that of a later message with the same key, in the same queue, was there before.

    ::

        number of the message   1  2  3  4         done in the order 1 3 2 4: the effect of 2 is out of order

    Messages without a key, and effects that never happened, are in order.
    """
    late = pd.Series(False, index=effects.index)
    if "key" not in effects:
        return late
    keyed = effects[(effects["key"] >= 0) & effects["done_s"].notna() & effects["queue"].notna()]
    if keyed.empty:
        return late
    keyed = keyed.assign(queue=keyed["queue"].astype(str)).sort_values(["queue", "key", "number"], ascending=False)
    # From the latest message backwards: was any of those after it done before it?
    first_after = keyed.groupby(["queue", "key"], sort=False)["done_s"].transform(lambda done_s: done_s.cummin().shift())
    late.loc[keyed.index] = keyed["done_s"] > first_after
    return late


def messages_by_queue(effects: pd.DataFrame, start_s: float = -math.inf, end_s: float = math.inf) -> pd.DataFrame:
    """One row per queue: what became of the messages of the requests that arrived in [start_s, end_s).

    Columns: `messages`, one for each fate (`done`, `dead`, ...; see `sim.records.FATES`), `dead_letters` (of the messages, those
    that another queue had given up), `megabytes` (of 10^6 bytes, as they were published, without copies),
    `deliveries_per_message`, `redelivered` (messages delivered more than once),
    `repeated_effects` (effects that happened beyond the first of their message), `out_of_order` (see there), and percentiles in
    seconds: from the publish to its acknowledgement, and from the request's arrival to the effect (NaN without any).
    """
    inside = (effects["arrived_s"] >= start_s) & (effects["arrived_s"] < end_s) & effects["queue"].notna()
    rows = effects[inside]
    late, done, published = out_of_order(effects)[inside], times_done(rows), was_published(rows)
    found = []
    names = rows["queue"].astype(str)
    for name in sorted(names.unique()):
        mine = names == name
        fates = rows.loc[mine, "fate"].astype(str).value_counts()
        deliveries = rows.loc[mine, "deliveries"]
        ack_s = (rows["acked_s"] - rows["published_s"])[mine & published].dropna()
        effect_s = (rows["done_s"] - rows["arrived_s"])[mine].dropna()
        numbers = [
            int(mine.sum()), int((mine & ~published).sum()), _megabytes(rows[mine & published]),
            float(deliveries.mean()), int((deliveries > 1).sum()),
            int((done[mine] - 1).clip(lower=0).sum()), int(late[mine].sum()), *_percentiles(ack_s), *_percentiles(effect_s),
        ]  # fmt: skip
        found.append({"queue": name, **dict(zip(_NUMBERS, numbers, strict=True)), **{f: int(fates.get(f, 0)) for f in FATES}})
    return pd.DataFrame(found, columns=["queue", *_NUMBERS, *FATES])


def _megabytes(rows: pd.DataFrame) -> float:
    return float(rows["bytes"].sum()) / 1e6 if "bytes" in rows else 0.0


def broker_storage(
    effects: pd.DataFrame, copies: Mapping[str, int], kept_s: Mapping[str, float] = MappingProxyType({})
) -> pd.DataFrame:
    """What a broker stores over time, all copies of its messages together: one row per change, `time_s`, `messages` and `bytes`
    (0 where publishes have no payload).

    ::

        broker_storage(effects, {"mails": 3, "orders.bills": 3}, {"orders.bills": 3600.0})
                                 a queue     a log, by one of its groups       its retention.time; math.inf: for ever

    A message of a queue counts from its acknowledgement to its effect (`done_s`); without one, until the end: what was given up
    counts for too long. One of a log counts for its retention, read or not.

    Args:
        effects: the table of `sim.records`, of one replication.
        copies: by queue, or one group of each log, how many nodes have its messages (`copies` of the broker).
        kept_s: by group of a log, how long it keeps them, in seconds.
    """
    names = effects["queue"].astype(str)
    changes = []
    for name, number in copies.items():
        mine = effects[(names == name) & effects["acked_s"].notna()]
        gone_s = mine["acked_s"] + kept_s[name] if name in kept_s else mine["done_s"]
        size = mine["bytes"] if "bytes" in mine else pd.Series(0.0, index=mine.index)
        changes.append(pd.DataFrame({"time_s": mine["acked_s"], "messages": number, "bytes": number * size}))
        changes.append(pd.DataFrame({"time_s": gone_s, "messages": -number, "bytes": -number * size}))
    found = pd.concat(changes) if changes else pd.DataFrame(columns=["time_s", "messages", "bytes"], dtype=float)
    found = found[found["time_s"] < math.inf].sort_values("time_s", kind="stable", ignore_index=True)
    return found.assign(messages=found["messages"].cumsum(), bytes=found["bytes"].cumsum())


def _percentiles(durations_s: pd.Series[float]) -> list[float]:
    if durations_s.empty:
        return [math.nan, math.nan]
    return [float(value) for value in np.quantile(durations_s.to_numpy(dtype=float), [0.5, 0.99])]


def backlog(gauges: pd.DataFrame, queues: Sequence[str]) -> pd.DataFrame:
    """Samples of queues over time: time_s, queue, messages `waiting` (ready, or delayed) and `unacknowledged`, and `up`."""
    names = gauges["name"].astype(str)
    rows = gauges[names.isin(list(queues))]
    return pd.DataFrame(
        {
            "time_s": rows["time_s"].to_numpy(),
            "queue": names[rows.index].to_numpy(),
            "waiting": rows["queued"].to_numpy(),
            "unacknowledged": rows["busy"].to_numpy(),
            "up": rows["alive"].to_numpy() > 0,
        }
    )


def drain_s(effects: pd.DataFrame, queue: str, since_s: float) -> float:
    """From a clock time until a message finds no backlog: seconds until the first one is acknowledged after `since_s` that is
    begun at once (within 1 ms of what the way to the consumer takes at least); NaN if none is.

    Exact, where gauges are as coarse as their interval.
    """
    mine = effects[(effects["queue"].astype(str) == queue) & effects["started_s"].notna()]
    waited_s = mine["started_s"] - mine["acked_s"]
    if waited_s.empty:
        return math.nan
    at_once = mine[(mine["acked_s"] > since_s) & (waited_s <= waited_s.min() + 1e-3)]
    return float(at_once["acked_s"].min() - since_s) if len(at_once) else math.nan


def broker_load(totals: pd.DataFrame, gauges: pd.DataFrame, brokers: Sequence[str], window_s: float) -> pd.DataFrame:
    """One row per broker: `busy_workers` in the mean over a window of `window_s` seconds (what `totals` integrate), writes and
    deliveries per second, and the longest line that a gauge has seen."""
    names, sampled = totals["name"].astype(str), gauges["name"].astype(str)
    found = []
    for name in brokers:
        mine = totals[names == name]
        longest = gauges.loc[sampled == name, "queued"].max()
        found.append((name, mine["busy_worker_s"].sum() / window_s, mine["served"].sum() / window_s, longest))
    return pd.DataFrame(found, columns=["broker", "busy_workers", "served_rps", "longest_line"])
