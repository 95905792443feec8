"""Random systems for the property tests: topologies without circles, loads, policies, faults."""

from hypothesis import strategies as st

from sim.scenario.model import Scenario

ENTRY = "s0.op0"

laws = st.one_of(
    st.sampled_from([0.0, 0.02, 0.1]),
    st.sampled_from([0.01, 0.05, 0.2]).map(lambda mean: {"exponential": mean}),
    st.sampled_from([0.02, 0.1]).map(lambda mean: {"lognormal": {"mean": mean, "cv": 2.0}}),
    st.sampled_from([0.05, 0.2]).map(lambda mean: {"erlang": {"k": 3, "mean": mean}}),
)

policies = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from([0.3, 1.0, 3.0]),
        "per_try_timeout": st.sampled_from([0.05, 0.2, 1.0]),
        "cancellation": st.booleans(),
        "balancing": st.sampled_from(["round_robin", "random", "least_request", "two_choices"]),
        "retry": st.fixed_dictionaries(
            {"max_attempts": st.integers(1, 3)},
            optional={
                "backoff": st.fixed_dictionaries(
                    {"base": st.floats(0, 0.2), "jitter": st.sampled_from(["none", "full", "equal", "decorrelated"])},
                    optional={"kind": st.sampled_from(["constant", "linear", "exponential"]), "max": st.floats(0.1, 1)},
                ),
            },
        ),
    },
)


@st.composite
def steps(draw, service, services, queues, depth=0, callee="op0"):
    kinds = ["work"] * 3 + ["fail"] + ["call"] * (service + 1 < services) * 4 + ["publish"] * 3 * bool(queues)
    kinds += ["parallel", "repeat"] * (depth == 0)
    result = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
        if kind == "work":
            result.append({"work": draw(laws)})
        elif kind == "fail":
            result.append({"fail": draw(st.sampled_from([0.0, 0.1, 1.0])), "work": draw(laws)})
        elif kind == "call":
            target = draw(st.integers(service + 1, services - 1))
            result.append(
                {
                    "call": f"s{target}.{callee}",
                    "count": draw(st.sampled_from([0, 1, 1, 2, {0: 1, 2: 1}])),
                    "in_parallel": draw(st.booleans()),
                    "probability": draw(st.sampled_from([1.0, 0.5])),
                }
            )
        elif kind == "publish":
            result.append({"publish": draw(st.sampled_from(queues))})
        elif kind == "repeat":
            rounds = draw(steps(service, services, queues, depth + 1, callee))
            result.append({"repeat": rounds, "count": draw(st.sampled_from([0, 1, 2, {1: 1, 3: 1}]))})
        else:
            branches = draw(st.lists(steps(service, services, queues, depth + 1, callee), min_size=1, max_size=3))
            result.append({"parallel": branches})
    return result


@st.composite
def faults(draw, services, queues, crash_only=False):
    window = draw(
        st.one_of(
            st.fixed_dictionaries({"at": st.sampled_from([0.0, 2.0, 5.0]), "for": st.sampled_from([0.5, 3.0])}),
            st.fixed_dictionaries({"mtbf": st.sampled_from([2.0, 10.0]), "mttr": st.sampled_from([0.2, 2.0])}),
        )
    )
    service = f"s{draw(st.integers(0, services - 1))}"
    kinds = ["crash"] if crash_only else ["crash", "slow", "errors", "link"] + ["outage"] * bool(queues)
    match draw(st.sampled_from(kinds)):
        case "crash":
            replica = draw(st.sampled_from(["all", 0] + ["each"] * ("mtbf" in window)))
            return {"crash": service, "replica": replica, "silent": draw(st.booleans()), **window}
        case "slow":
            return {"slow": service, "factor": draw(st.floats(0.5, 20)), **window}
        case "errors":
            return {"errors": service, "ratio": draw(st.floats(0, 1)), **window}
        case "link":
            hurt = draw(st.sampled_from([{"latency": 0.2}, {"loss": 0.5}, {"partition": True}]))
            return {"link": service, **hurt, **window}
        case _:
            return {"outage": draw(st.sampled_from(queues)), **window}


@st.composite
def scenarios(draw, crash_only=False):
    """A system of one to four services in which calls lead to higher numbers only, up to two queues, and up to three faults."""
    count = draw(st.sampled_from([1, 2, 2, 3, 4]))
    queues = [f"q{i}" for i in range(draw(st.sampled_from([0, 1, 1, 2])))]
    services = {}
    for i in range(count):
        services[f"s{i}"] = {
            "replicas": draw(st.integers(1, 3)),
            "workers": draw(st.sampled_from([1, 1, 2, 4, "unlimited"])),
            "queue": draw(st.sampled_from(["unbounded", 0, 2, {"capacity": 5, "max_wait": 0.3}, {"max_wait": 0.05}])),
            "discovery_delay": draw(st.sampled_from([0.0, 0.5, 3.0])),
            "operations": {
                "op0": {"steps": draw(steps(i, count, queues)), "effect": draw(st.booleans())},
                # What consumes a queue publishes to none, not even through what it calls, or messages would breed messages.
                "consume": draw(steps(i, count, [], callee="quiet")),
                "quiet": draw(steps(i, count, [], callee="quiet")),
            },
        }
    return Scenario(
        services=services,
        queues={
            queue: {
                "consumer": f"s{draw(st.integers(0, count - 1))}.consume",
                "consumers": draw(st.integers(1, 3)),
                "persist": draw(laws),
                "capacity": draw(st.sampled_from(["unbounded", 1, 10])),
                "max_deliveries": draw(st.sampled_from([1, 3, "unlimited"])),
                "redelivery_delay": draw(st.sampled_from([0.01, 0.5])),
            }
            for queue in queues
        },
        links={
            "default": {
                "latency": draw(st.sampled_from([0.0, 0.001, 0.03])),
                "loss": draw(st.sampled_from([0.0, 0.0, 0.0, 0.05])),
            }
        },
        calls={"default": draw(policies), "client -> s0": draw(policies)},
        load=draw(
            st.one_of(
                st.sampled_from([5, 15, 40]).map(lambda rate: {"rate": rate, "mix": ENTRY, "clients": 2}),
                st.sampled_from([2, 6]).map(lambda users: {"kind": "closed", "users": users, "think": 0.3, "mix": ENTRY}),
            )
        ),
        faults=draw(st.lists(faults(count, queues, crash_only), min_size=int(crash_only), max_size=3)),
        run={"duration": 10, "warmup": draw(st.sampled_from([0.0, 2.0])), "drain": draw(st.sampled_from([0.0, 40.0, 40.0]))},
    )
