"""Calls that go together: what a caller gathers before it asks, and what the target does for each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.laws import Constant
from sim.values import Duration, LawSpec, Spec


class CallBatch(Spec):
    """Calls to one operation go together, as one request: `batch: {size: 100, wait: 5ms, each_further: 0.2ms}`.

    ::

        c1 c2 --- wait ---> one request (c1, c2) --> one answer, split       c1 c2 ... at `size` at once

    With `wait: 0s` those go together that are made at the same moment: the resolvers of one level of a GraphQL query, which a
    DataLoader gathers (N + 1 calls become 1 + 1). The target is called once: one place in its line, one worker, its steps as
    for one call, and `each_further` more for every call beyond the first. Bodies are lists of `request` and `response`; headers,
    frames and round trips are saved. So n calls of work W take W + (n - 1) · `each_further` in the place of n · W.

    What stands outside of it in `order` is each call's own: its fallback, cache and deadline; a call that has given up gets no
    answer, and the others still do. What stands inside is the whole batch's: retries, hedges, breaker, limits. The batch fails
    as a whole, and is tried again as a whole; its attempts have a row each, of the call that came first. A step `fail` draws for
    each call. If one fails, all do; with `on_failure: each` the answer says which (an Error in DataLoader's list, an entry under
    Failed of AWS, an item's status in Elasticsearch's bulk), and `order: [retry, batch]` tries those again, in another batch.

    In gathering for W seconds at λ calls/s a batch has 1 + λW calls on average, and they wait W (1 + λW / 2) / (1 + λW). Not
    where calls are few: they wait for company. Where they are the same call again: `cache.request_collapsing`.

    Source: graphql/dataloader@2.2 (batchScheduleFn, maxBatchSize; one loader per request); Hystrix 1.5, HystrixCollapser (10 ms,
    scope REQUEST or GLOBAL); Apollo Client 3, BatchHttpLink (10 calls or 10 ms from the first). Envoy and gRPC have none.
    """

    size: Annotated[int, Field(ge=1, le=100_000)] | Literal["unlimited"] = Field(
        "unlimited", description="calls that go together at most"
    )
    wait: Duration = Field(0.0, description="how long the first one waits for more; 0: for those of the same moment")
    scope: Literal["request", "process"] = Field(
        "request", description="whose calls: those that serve one request at this process, or all of the process"
    )
    each_further: LawSpec = Field(
        Constant(0.0), description="work of the target for every call beyond the first, besides that of its steps, a law"
    )
    on_failure: Literal["all", "each"] = Field("all", description="who fails: all calls, or those at which a step `fail` does")
