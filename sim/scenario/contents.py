"""What is sent: a message, so many bytes, or a stream of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from sim.laws import Constant
from sim.values import Content, LawSpec, Spec


class Streamed(Spec):
    """Many messages in the place of one: `response: {stream: price, count: 50, every: 20ms}`.

    ::

        request streamed    caller  m m m m ->  worker reads each; then the steps; one answer      (client streaming)
        response streamed   caller  request ->  the steps; then m m m m back, read by the caller   (server streaming)
        both                caller  request ->  the steps; then both at the same time              (bidirectional)

    A message goes out when it is there (`every`), is written, and the windows have room: that of the connection's congestion,
    and the `stream_window` and `connection_window` of the protocol, which its reader fills again. A reader that is busy with
    the message before (`reading`) leaves the stream's window empty, and the sender waits: back-pressure. The callee's worker is
    held from the first message to the last one sent, the call ends when the last one is read. One replica has the whole stream.
    The table `traffic` has the messages, and when the first of a streamed answer was read.

    A subscription is an answer of many messages on a connection that stays: with `to_all` they are events, which all streams of
    the operation get at the same moments (fan-out); writing them takes the callee's processor for each of them.

    Not for downloads of one large answer: that is a `response` of so many bytes. The latency is drawn once for each stream; a CPU
    limit or shared processor stretches what the callee writes, not what it reads.
    """

    stream: Content = Field(description="each message: one of `messages`, or a size")
    count: Annotated[int, Field(ge=1, le=10**6)] | Literal["each_request"] = Field(
        description="how many; each_request: one for each message of the streamed request, once it is read"
    )
    every: LawSpec = Field(Constant(0.0), description="time from one to the next, as its sender has them, a law")
    to_all: bool = Field(False, description="whether all streams have them at the same moments, from one to the next `every`")
    reading: LawSpec = Field(
        Constant(0.0), description="what its reader does with each before it takes the next, beside decoding it, a law"
    )

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Streamed:
        if self.count == "each_request" and (self.to_all or self.every != Constant(0.0)):
            raise ValueError("count = each_request answers when a message is read; leave out every and to_all")
        if self.to_all and self.every == Constant(0.0):
            raise ValueError("to_all: events need a time from one to the next; write every: 1s")
        return self


def _kind(value: Any) -> str:
    return "stream" if isinstance(value, dict | Streamed) else "whole"


#: What a request or an answer is.
Body = Annotated[Annotated[Content, Tag("whole")] | Annotated[Streamed, Tag("stream")], Discriminator(_kind)]


def message_of(body: str | float | Streamed | None) -> str | float | None:
    """The one message, or each of many."""
    return body.stream if isinstance(body, Streamed) else body


def messages_in(body: str | float | Streamed | None, request: str | float | Streamed | None) -> int:
    """How many messages a body is, where it may answer each one of a request."""
    if not isinstance(body, Streamed):
        return 1
    return body.count if isinstance(body.count, int) else messages_in(request, None)


def streams_s(request: str | float | Streamed | None, response: str | float | Streamed | None) -> tuple[float, float]:
    """How long the messages of a call take in the mean, in seconds, if nothing holds them up.

    At the callee, whose worker sends and reads them; and for the caller, who reads them as well.

    >>> streams_s(None, Streamed(stream=100, count=20, every="1s", reading="2s"))
    (19.0, 40.0)
    """
    held_s = lasts_s = 0.0
    for body in (request, response):
        if isinstance(body, Streamed):
            count = messages_in(body, request)
            sent_s, read_s = (count - 1) * body.every.mean, count * body.reading.mean
            held_s = max(held_s, sent_s, read_s if body is request else 0.0)
            lasts_s = max(lasts_s, sent_s, read_s)
    return held_s, lasts_s
