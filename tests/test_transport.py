"""Windows, repairs and head-of-line blocking of one direction of a connection, against closed forms and the RFCs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.policies.flow import Flow, Path
from sim.policies.transport import Transport

RTT_S = 0.02
PATH = Path(latency_s=RTT_S / 2, rtt_s=RTT_S)
QUIC = Transport(kind="quic", segment=1200)


def never(number):
    return 0.999999


def losing(*places):
    """Odds at a loss of one half with which just these segments are lost, and their repairs are not."""
    draws, before = [], 0
    for place in places:
        draws += [1 - 0.5 ** (place - before + 0.5), 0.9]  # so many pass; the repair passes
        before = place + 1
    draws.append(1 - 0.5**40)
    return lambda number: draws[number]


def arrives_s(size, spec=None, path=PATH, draw=never):
    return Flow(spec or Transport()).send(0.0, size, path, draw).arrives_s


@pytest.mark.parametrize(
    ("segments", "rounds"), [(1, 0), (10, 0), (11, 1), (30, 1), (31, 2), (70, 2), (71, 3), (150, 3), (151, 4)]
)
def test_slow_start_doubles_a_window_of_ten(segments, rounds):
    assert arrives_s(segments * 1460) == pytest.approx(0.01 + rounds * RTT_S)


@pytest.mark.parametrize("size", [500, 20_000, 100_000, 535_000, 3_000_000])
@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_a_transfer_agrees_with_the_closed_form(size, mbit):
    # Kurose and Ross, Computer Networking, 3rd ed., 3.7 (static window growth from w segments):
    # latency + O/R + sum over stalls of (S/R + RTT - w 2^k S/R), as long as that is positive.
    spec = Transport(initial_window=4, segment_overhead=0, max_window=1e9)
    rate, segment = mbit * 125_000, 1460
    count = math.ceil(size / segment)
    sent, window, stalls = 0, 4, 0.0
    while sent + window < count:
        stalls += max(0.0, segment / rate + RTT_S - window * segment / rate)
        sent, window = sent + window, 2 * window
    expected = RTT_S / 2 + size / rate + stalls
    assert arrives_s(size, spec, Path(RTT_S / 2, RTT_S, rate)) == pytest.approx(expected, rel=1e-9)


def test_a_window_that_filled_stays_and_falls_back_after_idling():
    flow = Flow(Transport())
    assert flow.send(0.0, 70 * 1460, PATH, never).arrives_s == pytest.approx(0.05)
    assert flow.send(0.1, 40 * 1460, PATH, never).arrives_s == pytest.approx(0.11)
    assert flow.window == 80
    assert flow.send(0.5, 40 * 1460, PATH, never).arrives_s == pytest.approx(0.55)  # 10, 20, 10
    warm = Flow(Transport(idle_restart=False))
    warm.send(0.0, 70 * 1460, PATH, never)
    assert warm.send(9.0, 40 * 1460, PATH, never).arrives_s == pytest.approx(9.01)


def test_flow_control_limits_what_is_on_the_way():
    # RFC 9113: 65,535 bytes per stream and round trip; 44 segments of 1,460 B.
    spec = Transport(initial_window=1000, stream_window=65_535)
    assert arrives_s(10 * 44 * 1460, spec) == pytest.approx(0.01 + 9 * RTT_S)


@pytest.mark.parametrize(
    ("lost", "later_s"),
    [
        (2, RTT_S),  # seven follow: their acks ask for it
        (6, RTT_S),  # three do
        (7, 1.25 * RTT_S),  # two: RACK waits for a quarter of a round trip
        (9, 2 * RTT_S),  # none: the tail loss probe
    ],
)
def test_a_lost_segment_is_there_later(lost, later_s):
    path = PATH._replace(loss=0.5)
    delivery = Flow(Transport()).send(0.0, 14_600, path, losing(lost))
    assert (delivery.segments, delivery.lost) == (10, 1)
    assert delivery.arrives_s == pytest.approx(0.01 + later_s)


def test_a_segment_that_is_alone_waits_for_its_timeout():
    path = PATH._replace(loss=0.5)
    assert arrives_s(100, path=path, draw=losing(0)) == pytest.approx(0.01 + RTT_S + 0.2)
    assert arrives_s(100, QUIC, path, losing(0)) == pytest.approx(0.01 + RTT_S + 0.026)


def test_a_repair_that_is_lost_doubles_the_wait():
    draws = [0.0, 0.1, 0.1, 0.9, 0.9]  # lost, its repair lost twice, then not
    path = PATH._replace(loss=0.5)
    assert arrives_s(100, path=path, draw=lambda n: draws[n]) == pytest.approx(0.01 + 0.22 + 0.22 + 0.44)


def test_a_loss_shrinks_the_window():
    flow = Flow(Transport())
    flow.send(0.0, 14_600, PATH._replace(loss=0.5), losing(2))
    assert flow.window == 7.0
    assert flow.send(0.1, 8 * 1460, PATH, never).arrives_s == pytest.approx(0.13)
    assert flow.window == 8.0  # one more per round trip from now on


def test_losses_come_as_often_as_they_should():
    rng = np.random.default_rng(1)
    flow, path = Flow(Transport(initial_window=100)), PATH._replace(loss=0.03)
    found = [flow.send(float(i), 100 * 1460, path, lambda n: rng.random()) for i in range(2000)]
    assert sum(delivery.lost for delivery in found) / (100 * 2000) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize(("spec", "blocks"), [(Transport(), True), (QUIC, False)])
def test_what_is_lost_holds_up_what_comes_after_it_in_tcp_only(spec, blocks):
    flow, lossy = Flow(spec), PATH._replace(loss=0.5)
    flow.send(0.0, 100, lossy, losing(0))
    there_s = flow.tail.until_s
    second = flow.send(0.005, 100, PATH, never).arrives_s
    assert flow.tail is None
    # The ack of the second is back after 25 ms, and the first is sent again: there 10 ms later.
    assert second == pytest.approx(0.035 if blocks else 0.015)
    assert flow.send(0.04, 100, PATH, never).arrives_s == pytest.approx(0.05)
    assert there_s > 0.05  # with nobody behind it, it would have waited for its timeout


def test_the_third_that_follows_shows_a_loss_at_once_and_one_alone_after_a_while():
    def there_s(*follow_s, spec=None):
        flow = Flow(spec or Transport())
        flow.send(0.0, 100, PATH._replace(loss=0.5), losing(0))
        hole = flow.tail
        for sent_s in follow_s:
            flow.send(sent_s, 100, PATH, never)
        return hole.until_s

    timeout_s = RTT_S + 0.2
    assert there_s() == pytest.approx(timeout_s + 0.01)
    assert there_s(0.001) == pytest.approx(1.25 * RTT_S + 0.01)  # its ack is back after 21 ms: it may only have come first
    assert there_s(0.001, 0.002) == pytest.approx(1.25 * RTT_S + 0.01)
    assert there_s(0.001, 0.002, 0.003) == pytest.approx(0.003 + RTT_S + 0.01)
    assert there_s(0.3) == pytest.approx(timeout_s + 0.01)  # too late to help
    assert there_s(0.001, spec=QUIC) == pytest.approx(1.125 * RTT_S + 0.01)


@pytest.mark.parametrize(("spec", "ordered"), [(Transport(), True), (QUIC, False)])
def test_head_of_line_blocking_agrees_with_its_closed_form(spec, ordered):
    # A message of one segment every d = 0.3 round trips; a share p is lost. The ack of the next one shows a loss, so a repair
    # takes D = d + a round trip. Where order is kept, a message is late by D - k d if the last loss is that of the k-th one
    # before it: on average by the sum of p (1 - p)^k (D - k d) over k; else only for k = 0.
    loss, count, every_s = 0.02, 100_000, 0.3 * RTT_S
    rng = np.random.default_rng(7)
    flow, path = Flow(spec), PATH._replace(loss=loss)
    sent_s, there_s, tails = np.arange(count) * every_s, np.empty(count), {}
    for place, now_s in enumerate(sent_s):
        there_s[place] = flow.send(now_s, 100, path, _once(rng)).arrives_s
        if flow.tail is not None:
            tails[place] = flow.tail
    for place, tail in tails.items():  # what was told when they were sent was a timeout
        there_s[place] = max(tail.until_s, tail.not_before_s)
    late_s = (there_s - sent_s - PATH.latency_s)[:-10]
    before = range(5 if ordered else 1)
    expected_s = sum(loss * (1 - loss) ** k * (every_s + RTT_S - k * every_s) for k in before)
    assert late_s.mean() == pytest.approx(expected_s, rel=0.05)
    assert (late_s > 1e-9).mean() == pytest.approx(1 - (1 - loss) ** len(before), rel=0.05)


# Messages that are under way together share the window of their connection.


def there_rounds(*sent, spec=None):
    """After how many round trips messages are there, of (round trip in which it is sent, segments) each."""
    flow = Flow(spec or Transport())
    found = [flow.send(at * RTT_S, segments * 1460, PATH, never).arrives_s for at, segments in sent]
    return [round((there_s - PATH.latency_s) / RTT_S, 6) for there_s in found]


def test_answers_that_are_under_way_together_take_as_long_as_one_of_the_size_of_all():
    # Rounds of 10, 20, 40, 80, 160 segments: 252 are there with the fifth, and each message with the round of its last segment.
    ends = np.searchsorted(np.cumsum([10, 20, 40, 80, 160]), 21 * np.arange(1, 13))
    assert there_rounds(*[(0, 21)] * 12) == list(ends)
    assert there_rounds((0, 252)) == [4]
    assert ends[-1] == 4


@pytest.mark.parametrize("mbit", [2, 8, 30, 100])
def test_so_they_do_over_a_narrow_link(mbit):
    flow, path = Flow(Transport(segment_overhead=0)), PATH._replace(bytes_per_s=mbit * 125_000)
    together = [flow.send(0.0, 21 * 1460, path, never).arrives_s for _ in range(12)]
    alone = Flow(Transport(segment_overhead=0)).send(0.0, 252 * 1460, path, never)
    assert together[-1] == pytest.approx(alone.arrives_s)
    assert together == sorted(together)


def test_a_stream_beside_a_large_message_has_room():
    flow = Flow(Transport())
    flow.send(0.0, 1270 * 1460, PATH, never)  # seven rounds, the last of which fills the window
    assert flow.room(1.25 * RTT_S) > 0
    assert flow.room(6.5 * RTT_S) == 0
    assert flow.room(7.5 * RTT_S) > 0


def test_a_message_that_comes_later_goes_on_where_the_window_is():
    # 10, 20, 40 and 30 of the first, whose window has room for 50 more by then; and 50 after that: 200 segments, in five rounds.
    assert there_rounds((0, 100), (1.25, 100)) == [3, 4]
    assert there_rounds((0, 200)) == [4]


def test_a_small_message_need_not_wait_for_a_large_one():
    # The window is full until acks are back after the second round; then they take turns.
    assert there_rounds((0, 1000), (1.25, 2))[1:] == [2]
    # Of 40 in the third round each has 20; of 80 in the fourth the first one has its other 50, the second its other 30.
    assert there_rounds((0, 100), (1.25, 50)) == [3, 3]
    # Where the server's turn has not come for the large one, the small one is there first.
    assert there_rounds((0, 10), (0, 1000), (0, 2))[2:] == [1]


def test_small_messages_take_their_bytes_of_the_window_and_no_whole_segments():
    small = [(0, 100 / 1460)] * 146  # a window of 14,600 bytes
    assert there_rounds(*small) == [0] * 146
    assert there_rounds(*small, (0, 100 / 1460))[-1] == 1
    assert there_rounds((0, 9.5), (0, 0.5), (0, 0.5)) == [0, 0, 1]


def test_a_window_of_a_stream_holds_up_no_other():
    narrow = Transport(initial_window=100, stream_window=10 * 1460)
    assert there_rounds((0, 40), (0, 10), spec=narrow) == [3, 0]


def test_what_is_lost_of_a_message_beside_a_large_one_is_repaired_after_a_round_trip():
    flow = Flow(Transport())
    flow.send(0.0, 1000 * 1460, PATH, never)
    small = flow.send(1.25 * RTT_S, 2 * 1460, PATH._replace(loss=0.5), losing(1))
    # It goes in the third round; what follows it of the large one shows the loss.
    assert small.arrives_s == pytest.approx(2 * RTT_S + PATH.latency_s + RTT_S)


def _once(rng):
    first = rng.random()
    return lambda number: first if number == 0 else 0.99
