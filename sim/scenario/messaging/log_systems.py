"""Presets of logs: Kafka's rules and numbers, each with its source."""

from __future__ import annotations

from typing import Final

from sim.scenario.preset import Preset, Settings, fact, preset


def _kafka(version: str, linger_s: float, consuming: Settings) -> Settings:
    producer, consumer = f"kafka@{version} ProducerConfig", f"kafka@{version} ConsumerConfig"
    return {
        "min_insync": fact(1, f"kafka@{version} ServerLogConfigs: min.insync.replicas"),
        "producer": {
            "acks": fact("all", f"{producer}: acks"),
            "idempotent": fact(True, f"{producer}: enable.idempotence"),
            "linger": fact(linger_s, f"{producer}: linger.ms"),
            "batch_size": fact(16, f"{producer}: batch.size 16 KiB, of messages of 1 KiB"),
            "max_in_flight": fact(5, f"{producer}: max.in.flight.requests.per.connection"),
            "request_timeout": fact(30.0, f"{producer}: request.timeout.ms"),
            "delivery_timeout": fact(120.0, f"{producer}: delivery.timeout.ms"),
            "buffer": fact(32768, f"{producer}: buffer.memory, 32 MiB, in messages of 1 KiB as batch_size is"),
            "max_block": fact(60.0, f"{producer}: max.block.ms"),
            "retry_backoff": fact(0.1, f"{producer}: retry.backoff.ms"),
            "retry_backoff_max": fact(1.0, f"{producer}: retry.backoff.max.ms"),
        },
        "retention": {
            "time": fact(604800.0, f"kafka@{version} broker: log.retention.hours 168"),
            "check_interval": fact(300.0, f"kafka@{version} broker: log.retention.check.interval.ms"),
        },
        "consuming": {
            "max_poll_records": fact(500, f"{consumer}: max.poll.records"),
            "fetch_wait": fact(0.5, f"{consumer}: fetch.max.wait.ms"),
            "commit": fact("interval", f"{consumer}: enable.auto.commit"),
            "commit_interval": fact(5.0, f"{consumer}: auto.commit.interval.ms"),
            "offset_reset": fact("latest", f"{consumer}: auto.offset.reset"),
            "max_poll_interval": fact(300.0, f"{consumer}: max.poll.interval.ms"),
            **consuming,
        },
    }


def _classic(version: str) -> Settings:
    consumer = f"kafka@{version} ConsumerConfig"
    assignors = f"{consumer}: partition.assignment.strategy, range before cooperative-sticky: range is used, and is eager"
    return {
        "protocol": fact("eager", assignors),
        "assignor": fact("range", assignors),
        "session_timeout": fact(45.0, f"{consumer}: session.timeout.ms"),
        "heartbeat_interval": fact(3.0, f"{consumer}: heartbeat.interval.ms"),
        "initial_rebalance_delay": fact(3.0, f"kafka@{version} GroupCoordinatorConfig: group.initial.rebalance.delay.ms"),
    }


_NOTES: Final = (
    "A failed message is the application's business: the client has no word for it. Here it is tried again for ever; Spring "
    "Kafka tries 10 times in a row and then passes over it (max_deliveries: 10, redelivery_delay: 0s).",
    "A copy that dies is missed for up to 9 s (broker.session.timeout.ms) before acks: all does without it; here at once.",
    "auto.offset.reset is also about groups without a commit; here a group begins where the log does.",
    "Fetch sizes and transactions are not modelled.",
)

#: What a log does, by name and version: settings of `sim.scenario.messaging.logs.Log`.
LOGS: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        preset("kafka@3", "Apache Kafka 3.9, clients as they are", _kafka("3", 0.0, _classic("3")), {}, _NOTES),
        preset(
            "kafka@4",
            "Apache Kafka 4, clients as they are: still the classic group protocol",
            _kafka("4", 0.005, _classic("4")),
            {},
            _NOTES,
        ),
        preset(
            "kafka@4/consumer",
            "Apache Kafka 4 with group.protocol=consumer (KIP-848)",
            _kafka(
                "4",
                0.005,
                {
                    "protocol": fact("server", "KIP-848; kafka@4 docs, consumer rebalance protocol"),
                    "assignor": fact("sticky", "kafka@4 GroupCoordinatorConfig: group.consumer.assignors, uniform first"),
                    "session_timeout": fact(45.0, "kafka@4 GroupCoordinatorConfig: group.consumer.session.timeout.ms"),
                    "heartbeat_interval": fact(5.0, "kafka@4 GroupCoordinatorConfig: group.consumer.heartbeat.interval.ms"),
                },
            ),
            {},
            _NOTES,
        ),
    )
}
