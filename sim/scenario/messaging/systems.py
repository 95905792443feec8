"""Presets of queues: real systems' rules and numbers, each with its source.

They lie below what is written: ``queues: {mails: {preset: sqs@fifo, consumer: mail.send}}``. Machines have no presets: how fast
a broker writes is a matter of its disks.
"""

from __future__ import annotations

from typing import Final

from sim.scenario.preset import Fact, Preset, Settings, fact, preset

_RABBIT: Final = "RabbitMQ 4.3 docs"
_SQS: Final = "Amazon SQS Developer Guide"
_API: Final = "Amazon SQS API Reference"
_NATS: Final = "nats-server@2 server/consumer.go"

_RABBIT_NOTES: Final = (
    "A consumer without a prefetch gets all there is: RabbitMQ has no limit by default. Here it gets what `prefetch` says, also "
    "with acknowledge: before, where RabbitMQ ignores it. Spring AMQP takes 250.",
    "Priorities count the other way: RabbitMQ serves the highest first, here 0 goes first.",
    "A nack with requeue is delivered again at once; the shortest pause here is 1 ms. Delayed retries (quorum, 4.3): write "
    "redelivery_delay; that theirs grow with each delivery is not modelled.",
    "A message expires here when its time has come, and in RabbitMQ when it is at the head.",
)


def _rabbit(**other: Fact) -> Settings:
    return {
        "delivery": fact("push", f"{_RABBIT}, consumers: basic.consume"),
        "overflow": fact("drop_head", f"{_RABBIT}, maxlength: drop-head, once there is a limit (capacity)"),
        "requeue": fact("head", f"{_RABBIT}, confirms: to its original position, if possible, else closer to the head"),
        "redelivery_delay": fact(0.001, f"{_RABBIT}, confirms: requeued at once; 1 ms is the shortest here"),
        **other,
    }


def _sqs(**other: Fact | Settings) -> Settings:
    return {
        "delivery": fact("poll", f"{_API}, ReceiveMessage"),
        "receive_batch": fact(10, f"{_API}, ReceiveMessage: MaxNumberOfMessages, at most 10 (1 if nothing is said)"),
        "receive_wait": fact(20.0, f"{_SQS}, quotas: long polling, at most 20 s (0 if nothing is said)"),
        "visibility_timeout": fact(30.0, f"{_API}, ChangeMessageVisibility: 30 s by default, 12 h at most"),
        "redelivery_delay": fact("visibility_timeout", f"{_SQS}, visibility timeout: what is not deleted becomes visible again"),
        "late_acknowledge": fact("ignored", f"{_API}, DeleteMessage: with an older receipt handle it might not be deleted"),
        "notices_crash": fact(False, f"{_SQS}, visibility timeout: SQS knows of no consumers"),
        "time_to_live": fact(345_600.0, f"{_API}, SetQueueAttributes: MessageRetentionPeriod, 4 days by default"),
        "max_unacknowledged": fact(120_000, f"{_SQS}, quotas: messages in flight"),
        **other,
    }


_SQS_NOTES: Final = (
    "A consumer that does not delete a message says nothing: it comes back when its visibility timeout ends, also after a crash.",
    "Receives count, also those whose answer is lost: max_deliveries is maxReceiveCount of a redrive policy; there is none by "
    "default.",
    "Messages of a batch are worked on one after the other, so visibility_timeout must cover the whole batch.",
    "SQS is no machine of yours: its own latency is a law of the link or `persist`. Requests are not counted in money.",
)

#: What a queue does, by name and version: settings of `sim.scenario.messaging.queues.Queue`.
QUEUES: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        preset(
            "rabbitmq@4/classic",
            "RabbitMQ 4.3, a classic queue",
            _rabbit(),
            {},
            (
                *_RABBIT_NOTES,
                "No delivery limit and no consumer timeout: both are for quorum queues only (since 4.3). A message that always "
                "fails comes back for ever.",
            ),
        ),
        preset(
            "rabbitmq@4/quorum",
            "RabbitMQ 4.3, a quorum queue",
            _rabbit(
                max_deliveries=fact(21, f"{_RABBIT}, quorum-queues: delivery-limit 20 since 4.0, of redeliveries"),
                visibility_timeout=fact(1800.0, f"{_RABBIT}, consumers: consumer_timeout, 30 minutes"),
            ),
            {},
            (
                *_RABBIT_NOTES,
                "Put it on a broker with copies: 3 and confirm: majority.",
                "Since 4.3 a nack does not count against the delivery limit, but a reject, and a dead consumer, do; here all "
                "count. Without a dead_letter what is over the limit is gone.",
                "consumer_timeout is looked at once a minute, and takes back all that the consumer holds; here it is exact and "
                "about the message alone.",
                "overflow: reject_dead_letter is for classic queues only.",
            ),
        ),
        preset(
            "sqs@standard",
            "Amazon SQS, a standard queue",
            _sqs(),
            {},
            (
                *_SQS_NOTES,
                "Its order is best effort: here messages leave in the order of arrival, unless they come back. Rare second "
                "deliveries without a cause are not modelled.",
            ),
        ),
        preset(
            "sqs@fifo",
            "Amazon SQS, a FIFO queue",
            _sqs(
                order=fact("per_key", f"{_SQS}, FIFO delivery logic: what is in flight blocks its message group"),
                deduplicate={"window": fact(300.0, f"{_SQS}, FIFO key terms: deduplication interval, 5 minutes")},
            ),
            {},
            (
                *_SQS_NOTES,
                "The key of the publish is the MessageGroupId; without one every message is its own group.",
                "A receive takes as many messages of one group as it can. After a failure the consumer leaves the rest of that "
                "group alone, as a Lambda consumer does.",
                "300 calls a second per API action (more in high throughput mode), and that only the first 120,000 messages are "
                "searched for a free group: not modelled.",
            ),
        ),
        preset(
            "nats-jetstream@2",
            "NATS JetStream, a pull consumer of a work-queue stream",
            {
                "delivery": fact("push", "NATS docs, pull consumers: consume() keeps asking ahead, as a push"),
                "visibility_timeout": fact(30.0, f"{_NATS}: JsAckWaitDefault"),
                "late_acknowledge": fact("accepted", f"{_NATS}: processAckMsg; nats-server issue 4786"),
                "max_unacknowledged": fact(1000, f"{_NATS}: JsDefaultMaxAckPending"),
                "max_deliveries": fact("unlimited", f"{_NATS}: MaxDeliver -1"),
                "redelivery_delay": fact(
                    0.001, f"{_NATS}: a nak without a delay is delivered again at once; 1 ms is the shortest here"
                ),
                "requeue": fact("head", f"{_NATS}: what is to be delivered again goes before what is new"),
                "notices_crash": fact(False, f"{_NATS}: AckWait decides"),
                "deduplicate": {
                    "window": fact(120.0, "nats-server@2 server/stream.go: StreamDefaultDuplicatesWindow, 2 minutes")
                },
            },
            {},
            (
                "A message that has used up max_deliveries stays in the stream and is delivered no more: here it is dead.",
                "backoff replaces AckWait, for timeouts only: not modelled. Nor are acknowledgements of work in progress.",
                "Deduplication needs a Nats-Msg-Id at the publisher. Without it, write deduplicate: null.",
                "Priorities are not those of JetStream's priority groups.",
            ),
        ),
    )
}
