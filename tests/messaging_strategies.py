"""Random systems with messages for the property tests: queues, topics, brokers, and what goes wrong with them."""

from hypothesis import strategies as st
from policy_strategies import laws, plain_policies, some

from sim.scenario.model import Scenario

#: One call for several messages.
batches = some(wait=st.sampled_from([0.0, 0.1]), each=st.just(0.01), on_failure=st.sampled_from(["all", "each"])).map(
    lambda batch: {"size": 3, **batch}
)


def fitting(queue):
    """With what belongs together, and without what says nothing."""
    if queue.get("overflow") != "block":
        queue = {key: value for key, value in queue.items() if key != "max_block"}
    return {**queue, "prefetch": 3} if "batch" in queue else queue


#: What a queue may do with its messages; together only where the rules allow it.
queue_rules = st.one_of(
    some(
        prefetch=st.sampled_from([1, 3]),
        requeue=st.just("head"),
        capacity=st.sampled_from([2, 20]),
        overflow=st.sampled_from(["reject", "drop_head", "reject_dead_letter", "block"]),
        max_block=st.sampled_from([0.5, 5.0]),
        batch=batches,
        time_to_live=st.sampled_from([1.0, 5.0]),
        delay=st.sampled_from([0.0, 0.5]),
        order=st.just("priority"),
        max_deliveries=st.integers(1, 3),
        acknowledge=st.just("before"),
        single_active_consumer=st.booleans(),
        max_unacknowledged=st.just(2),
        deduplicate=st.just({"window": 5.0}),
        visibility_timeout=st.sampled_from([0.3, 3.0]),
    ).map(fitting),
    some(receive_batch=st.sampled_from([1, 4]), max_deliveries=st.integers(1, 3), order=st.just("per_key")).map(
        lambda queue: {"delivery": "poll", "receive_wait": 2.0, "visibility_timeout": 2.0, "notices_crash": False, **queue}
    ),
    st.sampled_from(["rabbitmq@4/classic", "rabbitmq@4/quorum", "sqs@standard", "sqs@fifo", "nats-jetstream@2"]).map(
        lambda preset: {"preset": preset}
    ),
)

broker_machines = st.one_of(
    some(low_watermark=st.just(1), max_block=st.sampled_from([0.5, 5.0])).map(lambda broker: {"high_watermark": 4, **broker}),
    some(workers=st.just(1), bandwidth=st.just(1e6), write=st.sampled_from([0.01, {"exponential": 0.05}]), deliver=st.just(0.01)),
    some(
        confirm=st.sampled_from(["one", "majority", "all"]),
        replicate=st.sampled_from([0.02, {"exponential": 0.2}]),
        failover=st.sampled_from([0.0, 1.0]),
        write=st.just(0.01),
    ).map(lambda broker: {"nodes": 3, "copies": 3, **broker}),
)


def _flat(found):
    """With the keys of `way` among the others."""
    return {key: value for key, value in found.items() if key != "way"} | found.get("way", {})


@st.composite
def messagings(draw, queue=queue_rules, broker=broker_machines, hurt=None, publish=None, **rest):
    """A shop that publishes to a queue or topic, consumers that fail and die, a broker that may lose a node.

    The rules of the queues, the machine, the faults and the publish can be given.
    """
    rules = [draw(queue) for _ in range(2)]
    for one in rules:
        one |= {"consumers": draw(st.integers(1, 3)), "dead_letter": "dead"}
    queues = {
        "q0": {"consumer": "worker.a", **rules[0]},
        "q1": {"consumer": "worker.b", **rules[1]},
        "dead": draw(some(capacity=st.just(3))),
    }
    machine = draw(st.one_of(st.none(), broker))
    if machine is not None:
        for one in queues.values():
            one["broker"] = "rabbit"
    step = {
        "publish": draw(st.sampled_from(["q0", "both"])),
        **draw(
            publish
            if publish is not None
            else some(
                key=st.just({"keys": 3, "zipf": 1.0}),
                poison=st.just(0.1),
                way=st.sampled_from([{"confirm": False}, {"outbox": 0.7}]),
                payload=st.sampled_from([1e4, {"size": 1e4, "cv": 0.5, "claim_check": "blobs"}]),
            ).map(_flat)
        ),
    }
    checked = isinstance(step.get("payload"), dict)
    if checked:
        for name in ("q0", "q1"):
            queues[name].pop("batch", None)  # which gets no payloads
    outages = [{"outage": "q1"}] if machine is None else [{"outage": "rabbit"}, {"outage": "rabbit", "node": 0}]
    broken = (
        hurt
        if hurt is not None
        else st.sampled_from(
            [{"crash": "worker"}, {"crash": "worker", "replica": 0}, {"crash": "shop"}, *outages, {"link": "worker", "loss": 0.3}]
        )
    )
    window = st.fixed_dictionaries({"at": st.sampled_from([0.0, 1.0, 3.03]), "for": st.sampled_from([0.2, 2.0])})
    steps = [[{"work": draw(laws)}, {"fail": draw(st.sampled_from([0.0, 0.2]))}] for _ in range(2)]
    return Scenario.model_validate(
        {
            "services": {
                "shop": {"workers": "unlimited", "operations": {"buy": [{"work": draw(laws)}, step]}},
                "worker": {
                    "replicas": draw(st.integers(1, 2)),
                    "workers": draw(st.sampled_from([1, "unlimited"])),
                    "operations": {
                        "a": {"steps": steps[0], **draw(some(deduplicate=st.sampled_from([{}, {"window": 2.0, "work": 0.01}])))},
                        "b": steps[1],
                    },
                },
            },
            "queues": queues,
            "topics": {"both": ["q0", "q1"]},
            "stores": {"blobs": {"put": 0.01, "get": 0.01, "bandwidth": 1e6}} if checked else {},
            "brokers": {} if machine is None else {"rabbit": machine},
            # A request that is tried again as a whole asks for another message; here only publishes are.
            "calls": {"default": draw(plain_policies), "client -> shop": {"retry": {"max_attempts": 1}}},
            "links": {"default": draw(st.sampled_from([0.0, 0.01, {"exponential": 0.05}]))},
            "load": {"rate": draw(st.sampled_from([3, 10])), "mix": "shop.buy"},
            "faults": [{**draw(broken), **draw(window)} for _ in range(draw(st.integers(0, 2)))],
            "run": {"duration": 8, "drain": 60},
            **rest,
        }
    )


@st.composite
def asking(draw, **rest):
    """The same, but the shop asks `q0`, or both, by message and waits for the reply, which comes through a queue or a log."""
    data = draw(messagings(**rest)).as_data()
    timeout, broker = draw(st.sampled_from([0.3, 2.0, 20.0])), data["queues"]["q0"].get("broker")
    steps = data["services"]["shop"]["operations"]["buy"]["steps"]
    key = {"key": steps[-1]["key"]} if "key" in steps[-1] else {}
    steps[-1] = {
        "request": draw(st.sampled_from(["q0", "both"])),
        "replies": "answers",
        "timeout": timeout,
        "reply_failures": draw(st.booleans()),
        **key,
    }
    answers = {"persist": 0.01} if broker is None else {"broker": broker}
    if draw(st.booleans()):
        data["queues"]["answers"] = answers
    else:
        data["logs"] = {"answers": {"producer": {"request_timeout": 1.0, "delivery_timeout": 20.0}, "partitions": 2, **answers}}
    if broker is None:
        data["faults"] = [*data.get("faults", []), *draw(st.sampled_from([[], [{"outage": "answers", "at": 1.0, "for": 2.0}]]))]
    return Scenario.model_validate(data)


#: How those who publish to a log do it; the last ones may lose or turn round what is sent again.
producers = some(
    linger=st.sampled_from([0.0, 0.05]),
    batch_size=st.sampled_from([1, 3]),
    max_in_flight=st.sampled_from([1, 5]),
    request_timeout=st.sampled_from([0.5, 2.0]),
    delivery_timeout=st.sampled_from([3.0, 100.0]),
    buffer=st.just(4),
).map(lambda producer: {"batch_size": 3, **producer} if "buffer" in producer else producer)
#: How groups read.
readers = st.builds(
    lambda protocol, rest: {**protocol, "session_timeout": 6.0, "heartbeat_interval": 1.0, **rest},
    st.sampled_from(
        [{"protocol": "eager", "assignor": "range"}, {"protocol": "eager", "assignor": "round_robin"}, {}, {"protocol": "server"}]
    ),
    some(
        consumers=st.sampled_from([1, 3]),
        max_poll_records=st.sampled_from([1, 4]),
        commit=st.sampled_from(["interval", "each", "batch"]),
        commit_interval=st.just(1.0),
        max_deliveries=st.integers(1, 3),
        max_poll_interval=st.sampled_from([2.0, 50.0]),
        initial_rebalance_delay=st.sampled_from([0.0, 1.0]),
        batch=st.sampled_from([{"size": 3, "on_failure": "each"}, {"size": 2, "each": 0.05}]),
    ),
)
anyhow = st.sampled_from([{}, {"acks": 1, "idempotent": False}, {"acks": 0, "idempotent": False}, {"idempotent": False}])


@st.composite
def logs(draw, safety=anyhow, reading=readers, outage=True, forgetful=True, **publish):
    """A shop that publishes to a log, read by one or two groups of consumers that fail and die; a broker that may lose a node."""
    machine = draw(st.one_of(st.none(), broker_machines))
    groups = {"a": {"consumer": "worker.a"}, "b": {"consumer": "worker.b", **draw(some(commit=st.just("each")))}}
    log = {
        "partitions": draw(st.integers(1, 4)),
        "producer": {"request_timeout": 2.0, **draw(producers), **draw(safety)},
        "consuming": draw(reading),
        "groups": {name: groups[name] for name in draw(st.sampled_from(["a", "ab"]))},
        **({} if machine is None else {"broker": "kafka"}),
    }
    replays = [{"replay": "orders.a", "at": 4.0}]
    if forgetful:
        log |= draw(
            some(retention=st.sampled_from([{"messages": 2, "check_interval": 1.0}, {"time": 2.0, "check_interval": 0.5}]))
        )
        log["producer"] |= draw(some(max_block=st.just(0.5)))
        log["consuming"] = {**log["consuming"], **draw(some(offset_reset=st.sampled_from(["earliest", "none"])))}
        replays += [{"replay": "orders.a", "at": 4.0, "to": "latest"}, {"replay": "orders.a", "at": 3.0, "since": 1.5}]
    again = draw(st.sampled_from([[], *([each] for each in replays)]))
    if machine is None:
        log |= draw(some(persist=st.sampled_from([0.01, {"exponential": 0.1}])))
    outages = [{"outage": "orders"}] if machine is None else [{"outage": "kafka"}, {"outage": "kafka", "node": 0}]
    lossy = [{"link": "worker", "loss": 0.3}, {"link": "shop -> orders" if machine is None else "shop -> kafka", "loss": 0.3}]
    hurt = [{"crash": "worker"}, {"crash": "worker", "replica": 0}, {"stop": "worker"}, *lossy, {"crash": "shop"}, *outages]
    window = st.fixed_dictionaries({"at": st.sampled_from([0.0, 1.0, 3.03]), "for": st.sampled_from([0.2, 2.0])})
    faults = st.lists(st.tuples(st.sampled_from(hurt if outage else hurt[:5]), window), max_size=2)
    steps = [{"work": draw(laws)}, {"fail": draw(st.sampled_from([0.0, 0.2]))}]
    return Scenario.model_validate(
        {
            "services": {
                "shop": {
                    "workers": "unlimited",
                    "operations": {"buy": [{"work": draw(laws)}, {"publish": "orders", "key": {"keys": 4}, **publish}]},
                },
                "worker": {
                    "replicas": draw(st.integers(1, 2)),
                    "workers": draw(st.sampled_from([1, "unlimited"])),
                    "operations": {"a": {"steps": steps, **draw(some(deduplicate=st.just({})))}, "b": steps},
                },
            },
            "logs": {"orders": log},
            "brokers": {} if machine is None else {"kafka": machine},
            "calls": {"client -> shop": {"timeout": 300.0}},
            "links": {"default": draw(st.sampled_from([0.0, 0.01, {"exponential": 0.05}]))},
            "load": {"rate": draw(st.sampled_from([3, 10])), "mix": "shop.buy"},
            "faults": [*({**fault, **when} for fault, when in draw(faults)), *again],
            "run": {"duration": 8, "drain": 400},
        }
    )
