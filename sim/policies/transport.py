"""The numbers of a transport: windows and repairs of TCP and QUIC, which `sim.policies.flow` applies."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sim.values import Duration, PositiveSize, Ratio, Size, Spec

#: Later segments whose acks tell that one is lost (RFC 5681, RFC 9002: packet threshold 3).
REORDERED: Final = 3


class Transport(Spec):
    """Windows and repairs of a connection. Each profile has its own numbers; what is written here goes over them.

    What is lost is repaired when acks of what was sent after it say so, be it of the same message or of others on the connection:
    so the connections of HTTP/2 that many calls share are held up for little more than a round trip, and one whose call is alone
    waits for a timeout.

    Not for what decides within a round trip: pacing, delayed acknowledgements, the CPU of the network stack. Messages
    that are under way together share the windows of their connection and take turns, segment by segment. But when a message is
    there is known as soon as it is sent, and those that come later and take turns with it hold it up no more. So a large one is
    there too early where others follow while it is under way, by as long as these take. Beside a large message streams have a
    window of their own. Two directions know nothing of each other.
    A window is told to be free as soon as it is (grpc-go: a quarter of it at a time). What follows a loss shows it even if it is
    lost, too.

    Source: RFC 9113, 5.2 (flow control), grpc-go internal/transport/flowcontrol.go and bdp_estimator.go, gRPC C-core
    bdp_estimator.cc (doubled when more than two thirds came within a round trip); RFC 6928 (initial window of 10), RFC 5681 (slow
    start, restart after idling), RFC 9438 (CUBIC: decrease to 0.7), RFC 8985 (RACK-TLP: a probe after two round trips, 200 ms
    later if one segment is out), RFC 6298 and Linux' TCP_RTO_MIN (200 ms); RFC 9002 (QUIC: probe after a round trip, at least
    1 ms and the largest delay of acknowledgements).
    """

    kind: Literal["tcp", "quic"] = Field("tcp", description="whose repairs; tcp delivers in order, also across streams")
    initial_window: Annotated[int, Field(ge=1, le=1000)] = Field(10, description="segments that may be sent before the first ack")
    segment: PositiveSize = Field(1460.0, description="bytes of payload in one segment")
    segment_overhead: Size = Field(40.0, description="bytes of headers around each: IP and TCP, or IP, UDP and QUIC")
    max_window: PositiveSize = Field(6291456.0, description="bytes that are on the way at most, for the receiver's sake")
    stream_window: PositiveSize | None = Field(
        None, description="the same for each request, answer or stream (HTTP/2's flow control); absent: no limit of its own"
    )
    connection_window: PositiveSize | None = Field(
        None, description="the same for all streams of a connection together; absent: no limit of its own"
    )
    window_estimation: bool = Field(
        False, description="whether both double every second round trip while they hold a sender up, to 16 MiB (gRPC)"
    )
    slow_start_limit: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="window, in segments, at which slow start ends without a loss: CUBIC's HyStart leaves early where it sees "
        "delays grow; absent: it ends with the first loss",
    )
    decrease: Ratio = Field(0.7, description="what is left of the window after a loss")
    idle_restart: bool = Field(True, description="whether the window falls back to the initial one after an idle time")
    min_rto: Duration = Field(0.2, description="shortest time after a round trip until TCP sends again unasked")
    max_ack_delay: Duration = Field(0.025, description="longest delay of an acknowledgement that QUIC waits for")

    @property
    def ordered(self) -> bool:
        """Whether what is lost holds up all that was sent after it, on whatever stream (head-of-line blocking)."""
        return self.kind == "tcp"

    def rto_s(self, rtt_s: float) -> float:
        """Time until a segment is sent again for which nothing asks, in seconds, at a steady round-trip time."""
        return rtt_s + (self.min_rto if self.kind == "tcp" else 0.001 + self.max_ack_delay)

    def repaired_s(self, rtt_s: float, later: int, alone: bool) -> float:
        """How much later a lost segment arrives, in seconds: `later` segments were sent after it, or it was `alone`.

        >>> [round(Transport().repaired_s(0.08, later, later == 0), 3) for later in (5, 1, 0)]
        [0.08, 0.1, 0.28]
        """
        if later >= REORDERED:
            return rtt_s
        if later > 0:
            return rtt_s * (1.25 if self.kind == "tcp" else 1.125)
        if self.kind == "tcp" and not alone:
            return min(2 * rtt_s, self.rto_s(rtt_s))
        return self.rto_s(rtt_s)
