"""Random systems with messages for the property tests: queues, topics, brokers, and what goes wrong with them."""

from hypothesis import strategies as st
from strategies import laws, plain_policies, some

from sim.scenario.model import Scenario

#: What a queue may do with its messages; together only where the rules allow it.
queue_rules = st.one_of(
    some(
        prefetch=st.sampled_from([1, 3]),
        requeue=st.just("head"),
        capacity=st.sampled_from([2, 20]),
        overflow=st.sampled_from(["reject", "drop_head", "reject_dead_letter"]),
        time_to_live=st.sampled_from([1.0, 5.0]),
        delay=st.sampled_from([0.0, 0.5]),
        order=st.just("priority"),
        max_deliveries=st.integers(1, 3),
        acknowledge=st.just("before"),
        single_active_consumer=st.booleans(),
        max_unacknowledged=st.just(2),
        deduplicate=st.just({"window": 5.0}),
        visibility_timeout=st.sampled_from([0.3, 3.0]),
    ),
    some(receive_batch=st.sampled_from([1, 4]), max_deliveries=st.integers(1, 3), order=st.just("per_key")).map(
        lambda queue: {"delivery": "poll", "receive_wait": 2.0, "visibility_timeout": 2.0, "notices_crash": False, **queue}
    ),
    st.sampled_from(["rabbitmq@4/classic", "rabbitmq@4/quorum", "sqs@standard", "sqs@fifo", "nats-jetstream@2"]).map(
        lambda preset: {"preset": preset}
    ),
)

broker_machines = st.one_of(
    some(workers=st.just(1), write=st.sampled_from([0.01, {"exponential": 0.05}]), deliver=st.just(0.01)),
    some(
        confirm=st.sampled_from(["one", "majority", "all"]),
        replicate=st.sampled_from([0.02, {"exponential": 0.2}]),
        failover=st.sampled_from([0.0, 1.0]),
        write=st.just(0.01),
    ).map(lambda broker: {"nodes": 3, "copies": 3, **broker}),
)


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
                confirm=st.booleans(),
                poison=st.just(0.1),
            )
        ),
    }
    outages = [{"outage": "q1"}] if machine is None else [{"outage": "rabbit"}, {"outage": "rabbit", "node": 0}]
    broken = (
        hurt
        if hurt is not None
        else st.sampled_from([{"crash": "worker"}, {"crash": "worker", "replica": 0}, *outages, {"link": "worker", "loss": 0.3}])
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
