"""Spans for tests: written by hand, or made from a simulated run whose scenario is the known answer."""

import pandas as pd

from sim.interop.spans import COLUMNS
from sim.single import RunResult

ORIGIN_NS = 1_661_273_974_000_000_000


def frame(rows):
    """Rows of (trace, span, parent, pod, operation, start in ms, end in ms) as a recording."""
    return pd.DataFrame(
        [(t, s, p, pod, op, ORIGIN_NS + round(a * 1e6), ORIGIN_NS + round(b * 1e6)) for t, s, p, pod, op, a, b in rows],
        columns=list(COLUMNS),
    )


def pod(service):
    return f"{service}-668d5f85fb-jhwx9"


class Trace:
    """Builds one trace: `root`, then `call` below it, with the callee's clock ahead by `skew_ms`."""

    def __init__(self, name, begin_ms, skew_ms=0.0):
        self.name = name
        self.begin_ms = begin_ms
        self.skew_ms = skew_ms
        self.rows = []

    def add(self, parent, service, operation, start_ms, end_ms):
        span = f"{self.name}-{len(self.rows)}"
        start_ms, end_ms = self.begin_ms + start_ms, self.begin_ms + end_ms
        self.rows.append((self.name, span, parent, pod(service), operation, start_ms, end_ms))
        return span

    def call(self, parent, caller, callee, operation, start_ms, end_ms, network_ms=2.0):
        """A client span and the server span below it, which is shorter by the network; returns the server span."""
        client = self.add(parent, caller, f"Client/{operation}", start_ms, end_ms)
        half = network_ms / 2 - self.skew_ms
        return self.add(client, callee, f"/rpc.Server/{operation}", start_ms + half, end_ms - network_ms + half)


def spans_of_run(result: RunResult, link_s: float):
    """What tracing would have recorded of a run on links of constant latency: a client and a server span for each attempt.

    A handler begins when a worker takes the request: at once, or where there is one worker, when it is done with the one before.
    (The row's `queue_s` would not do: under a CPU limit it also holds what the handler stood still.)
    """
    rows, free_s = [], {}
    for a in result.attempts.sort_values("started_s").itertuples():
        service, operation = str(a.target).split(".")
        at_client = a.parent == -1
        arrived_s = a.started_s + (0 if at_client else link_s)
        ended_s = a.ended_s - (0 if at_client else link_s)
        begin, end = 1e3 * max(arrived_s, free_s.get(service, 0.0)), 1e3 * ended_s
        if result.scenario.services[service].workers == 1:
            free_s[service] = ended_s
        client = f"c{a.attempt}"
        if not at_client:
            rows.append(
                (
                    f"t{a.request}",
                    client,
                    f"s{a.parent}",
                    pod(a.caller),
                    f"Client/{operation}",
                    1e3 * a.started_s,
                    1e3 * a.ended_s,
                )
            )
        rows.append(
            (f"t{a.request}", f"s{a.attempt}", "root" if at_client else client, pod(service), f"Server/{operation}", begin, end)
        )
    return frame(rows)
