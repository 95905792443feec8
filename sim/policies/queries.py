"""GraphQL's queries: what they may ask for, and how they are known by their hash."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sim.values import Size, Spec

#: What goes in the place of a query's text: the SHA-256 of it in hexadecimal, as JSON.
_HASH: Final = '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":""}}}'
_HASH_BYTES: Final = float(len(_HASH) + 64)
#: What a server answers that does not know the hash, as JSON.
NOT_FOUND_BYTES: Final = float(
    len('{"errors":[{"message":"PersistedQueryNotFound","extensions":{"code":"PERSISTED_QUERY_NOT_FOUND"}}]}')
)


class QueryLimits(Spec):
    """What a query may ask for at most: `query_limits: {depth: 7, objects: 5000}`. Looked at before any step is done.

    Depth counts levels of fields in braces; objects are all messages of the answer, those in lists included: what a resolver is
    called for. Both follow from the operation's `response`, a message: an abusive query is an operation with a large one.

    Source: GitHub's GraphQL limits (500,000 nodes), Shopify's calculated query cost (an object costs 1), graphql-depth-limit.
    """

    depth: Annotated[int, Field(ge=1)] | None = Field(None, description="levels of fields; absent: no limit")
    objects: Annotated[int, Field(ge=1)] | None = Field(None, description="messages in the answer; absent: no limit")

    def refuses(self, asked: tuple[int, int]) -> bool:
        """Whether a query that goes so deep, for so many objects, asks for too much.

        >>> QueryLimits(depth=2).refuses((3, 10)), QueryLimits(objects=100).refuses((3, 10))
        (True, False)
        """
        depth, objects = asked
        return (self.depth is not None and depth > self.depth) or (self.objects is not None and objects > self.objects)


class PersistedQueries(Spec):
    """Requests carry the hash of a query instead of its text. `persisted_queries: {}`; the text is the operation's `request`.

    ::

        known      hash (127 B) ->  answer
        not yet    hash ->  not found;  hash and text ->  answer      (automatic persisted queries: once for each who keeps them)

    A replica that has died knows nothing any more. Queries that are registered when a client is built are known from the
    beginning, and a server may refuse all others. A hash can be asked for by GET, which HTTP caches keep; a query by POST they
    do not: `sim check` says so of a `cache` on a way through proxies. Not for gains in time where texts fit into the first
    window: then it saves bytes only.

    Source: Apollo Server, Automatic persisted queries (protocol, PersistedQueryNotFound); GraphQL over HTTP (GET, POST).
    """

    kept_by: Literal["replica", "all", "registered"] = Field(
        "replica", description="who remembers a text: each replica; all together (a store behind them); registered: known at once"
    )
    hash: Annotated[Size, Field(gt=0)] = Field(_HASH_BYTES, description="bytes of a request without its text and variables")
    variables: Size = Field(0.0, description="bytes of a query's variables, which are sent each time")

    @property
    def request(self) -> float:
        """Bytes of a request without the text."""
        return self.hash + self.variables
