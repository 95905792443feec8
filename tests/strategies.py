"""Random systems for the property tests: topologies without circles, loads, faults."""

from hypothesis import strategies as st
from policy_strategies import (
    adaptive,
    caches,
    connections,
    disciplines,
    guarded_policies,
    laws,
    plain_policies,
    rates,
    sheddings,
    some,
    without_breakers_of_endpoints,
)

from sim.scenario.model import Scenario

ENTRY = "s0.op0"

lines = st.one_of(
    st.sampled_from(["unbounded", 0, 2, {"capacity": 5, "max_wait": 0.3}, {"max_wait": 0.05}]),
    st.fixed_dictionaries(
        {"discipline": disciplines},
        optional={"capacity": st.just(5), "max_wait": st.sampled_from([0.05, {"exponential": 0.1}])},
    ),
)

defences = st.one_of(
    st.just({}),
    some(sharing=st.just("processor"), rate_limit=rates, shedding=sheddings, adaptive_concurrency=adaptive).map(
        lambda service: {k: v for k, v in service.items() if k != "rate_limit" or "max_wait" not in v}
    ),
)

operations = some(cache=caches, priority=st.integers(0, 2))


@st.composite
def steps(draw, service, services, queues, depth=0, callee="op0"):
    kinds = ["work"] * 3 + ["fail"] + ["call"] * (service + 1 < services) * 4 + ["publish"] * 3 * bool(queues)
    kinds += ["parallel", "repeat", "saga"] * (depth == 0)
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
                    "required": draw(st.sampled_from([True, True, False])),
                }
            )
        elif kind == "publish":
            result.append({"publish": draw(st.sampled_from(queues))})
        elif kind == "repeat":
            rounds = draw(steps(service, services, queues, depth + 1, callee))
            result.append({"repeat": rounds, "count": draw(st.sampled_from([0, 1, 2, {1: 1, 3: 1}]))})
        elif kind == "saga":
            some_steps = steps(service, services, queues, depth + 1, callee)
            parts = draw(
                st.lists(st.fixed_dictionaries({"do": some_steps}, optional={"undo": some_steps}), min_size=1, max_size=3)
            )
            result.append({"saga": parts, "undo_failed": draw(st.sampled_from(["never", "unknown", "always"]))})
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
    kinds = ["crash"] if crash_only else ["crash", "slow", "pause", "errors", "link"] + ["outage"] * bool(queues)
    match draw(st.sampled_from(kinds)):
        case "crash":
            replica = draw(st.sampled_from(["all", 0] + ["each"] * ("mtbf" in window)))
            return {"crash": service, "replica": replica, "silent": draw(st.booleans()), **window}
        case "slow":
            return {"slow": service, "factor": draw(st.floats(0.5, 20)), **window}
        case "pause":
            return {"pause": service, "replica": draw(st.sampled_from(["all", 0])), **window}
        case "errors":
            return {"errors": service, "ratio": draw(st.floats(0, 1)), "same_requests": draw(st.booleans()), **window}
        case "link":
            hurt = draw(st.sampled_from([{"latency": 0.2}, {"loss": 0.5}, {"partition": True}]))
            return {"link": service, **hurt, **window}
        case _:
            return {"outage": draw(st.sampled_from(queues)), **window}


#: How replicas are found: a registry, what a process learns from it, and how that is checked.
registries = st.one_of(
    some(nodes=st.integers(1, 2), lookup_time=st.sampled_from([0.0, 0.01]), response_cache=st.sampled_from([0.0, 1.0])).map(
        lambda registry: {"heartbeat_interval": 0.5, "lease_duration": 1.5, **registry}
    ),
    st.just({"heartbeat_interval": 0.5, "lease_duration": 1.5, "eviction_interval": 1, "max_eviction_percent": 50}),
    some(nodes=st.integers(1, 2), publish_delay=st.sampled_from([0.0, {"exponential": 0.3}])).map(
        lambda registry: {"heartbeat_interval": None, "crash_delay": {"uniform": {"low": 0, "high": 1}}, **registry}
    ),
)

discoveries = st.one_of(
    some(refresh_interval=st.sampled_from([0.5, 2.0]), cache=st.sampled_from([0.0, 1.0])),
    st.just({"mode": "push", "push_delay": {"exponential": 0.2}}),
    st.just({"mode": "dns", "ttl": 1, "on_failure": "empty"}),
)

checks = {"interval": 0.5, "timeout": 0.2, "unhealthy_threshold": 2}


@st.composite
def searches(draw):
    """Scenarios in which replicas are in a registry, and some calls take the way through a proxy."""
    data = draw(scenarios(guarded=draw(st.booleans()))).as_data()
    names = [name for name in data["services"] if name != "last"]
    book = draw(registries)
    data["registries"] = {"book": book}
    data["calls"]["default"]["discovery"] = draw(discoveries)
    for name in names:
        if draw(st.booleans()) or name == names[0]:
            data["services"][name]["registry"] = "book"
            if book["heartbeat_interval"] is None and draw(st.booleans()):
                data["services"][name]["readiness"] = checks
    if draw(st.booleans()):
        data["proxies"] = {"edge": draw(some(replicas=st.just(3), work=st.just(0.002), cores=st.just(1)))}
        if draw(st.booleans()):
            data["proxies"] = {"edge": {"placement": "sidecar", "workers": 2, "queue": 5}}
        data["calls"][draw(st.sampled_from(["default", "client -> s0", names[-1]]))] = {
            **data["calls"].get("default", {}),
            "via": "edge",
        }
        of_proxies = {"discovery": draw(discoveries), **draw(some(health_check=st.just(checks)))}
        if draw(st.booleans()):
            data["calls"]["edge -> default"] = {"timeout": 1, **of_proxies}
        else:  # a balancer of connections
            data["proxies"] = {"edge": {"layer": 4, **draw(some(replicas=st.just(3), work=st.just(0.002)))}}
            data["calls"]["edge -> default"] = of_proxies
            for policy in data["calls"].values():
                if policy.get("via") is not None:
                    policy["connections"] = draw(connections)
            data["calls"] = without_breakers_of_endpoints(data["calls"])
    replica = draw(st.sampled_from(["all", 0]))
    stop = {"stop": names[-1], "replica": replica, "at": 4.0, "for": 2.0, **draw(some(drain=st.just(1.0), grace=st.just(0.5)))}
    more = draw(st.lists(st.sampled_from([stop, {"outage": "book", "at": 3.0, "for": 2.0}]), max_size=2, unique_by=str))
    data["faults"] = [*(fault for fault in data.get("faults", []) if "flush" not in fault), *more]  # the cache may be gone
    rollout = st.builds(
        lambda extra: {"rollout": names[-1], "at": 3.0, "drain": 0.5, **extra},
        some(max_surge=st.just(2), max_unavailable=st.just(1)),
    )
    scale = st.sampled_from([0, 1, 5]).map(lambda number: {"scale": names[-1], "at": 5.0, "replicas": number, "grace": 0.5})
    data["deployments"] = draw(st.lists(st.one_of(rollout, scale), max_size=2))
    if data["deployments"]:
        data["services"][names[-1]] |= draw(some(start_up=st.just({"exponential": 0.5})))
    return Scenario.model_validate(data)


zone_faults = st.sampled_from(
    [
        {"zone": "y", "at": 2.0, "for": 3.0},
        {"zone": "x", "at": 4.0, "for": 0.5, "silent": False},
        {"zone": "z", "mtbf": 5.0, "mttr": 1.0},
        {"partition": [["x"], ["y", "z"]], "at": 3.0, "for": 3.0},
        {"partition": [["x"], ["z"]], "mtbf": 3.0, "mttr": 1.0},
    ]
)
placements = st.sampled_from([["x", "y"], ["z"], {"x": 2, "z": 1}, {"z": 1, "y": 3, "x": 1}])


@st.composite
def zoned(draw, calm=False):
    """Scenarios with three zones, in which all kinds of things are; `calm` ones without faults and deployments, their clients
    in all zones."""
    data = draw(searches()).as_data()
    data["zones"] = ["x", "y", "z"]
    data["zone_links"] = draw(some(default=st.sampled_from([0.002, {"exponential": 0.02}])))
    if draw(st.booleans()):
        data["zone_links"]["x -> y"] = {"latency": 0.01, "loss": 0.1}
    for name in ("default", "client -> s0"):
        if draw(st.booleans()):
            data["calls"].setdefault(name, {})["zone_routing"] = draw(
                st.sampled_from(["same_zone_first", "zone_aware", {"kind": "zone_aware", "min_cluster_size": 2}])
            )
    if calm:
        data |= {"faults": [], "deployments": [], "proxies": {}}
        data["calls"] = {name: {k: v for k, v in policy.items() if k != "via"} for name, policy in data["calls"].items()}
        data["calls"].pop("edge -> default", None)
        return Scenario.model_validate(data)
    for things in (data["services"], data["registries"], data.get("proxies", {})):
        for spec in things.values():
            if spec.get("placement") != "sidecar" and draw(st.booleans()):
                spec["zones"] = draw(placements)
    for queue in data.get("queues", {}).values():
        queue |= draw(some(zone=st.sampled_from(["x", "y", "z"])))
    data["load"] |= draw(some(zones=placements))
    data["faults"] = [*data.get("faults", []), *draw(st.lists(zone_faults, max_size=2))]
    return Scenario.model_validate(data)


@st.composite
def scenarios(draw, crash_only=False, guarded=True):
    """A system of one to four services in which calls lead to higher numbers only, up to two queues, and up to three faults.

    With `guarded` callers have any of the policies; without, only what a plain caller knows.
    """
    kind = guarded_policies() if guarded else plain_policies
    count = draw(st.sampled_from([1, 2, 2, 3, 4]))
    queues = [f"q{i}" for i in range(draw(st.sampled_from([0, 1, 1, 2])))]
    services = {}
    for i in range(count):
        services[f"s{i}"] = {
            "replicas": draw(st.integers(1, 3)),
            "workers": draw(st.sampled_from([1, 1, 2, 4, "unlimited"])),
            "queue": draw(lines),
            **draw(defences),
            "discovery_delay": draw(st.sampled_from([0.0, 0.5, 3.0])),
            "operations": {
                "op0": {"steps": draw(steps(i, count, queues)), "effect": draw(st.booleans()), **draw(operations)},
                # What consumes a queue publishes to none, not even through what it calls, or messages would breed messages.
                "consume": draw(steps(i, count, [], callee="quiet")),
                "quiet": draw(steps(i, count, [], callee="quiet")),
            },
        }
    services["last"] = {"workers": 1, "queue": 2, "operations": {"resort": [{"work": 0.01}, {"fail": 0.1}]}}
    calls = without_breakers_of_endpoints({"default": draw(kind), "client -> s0": draw(kind), "last": {"fallback": None}})
    hurt = draw(st.lists(faults(count, queues, crash_only), min_size=int(crash_only), max_size=3))
    cached = any("cache" in policy for policy in calls.values()) or any(
        "cache" in s["operations"]["op0"] for s in services.values() if "op0" in s["operations"]
    )
    if cached and not crash_only:
        hurt += draw(st.sampled_from([[], [{"flush": "default", "at": 3.0}]]))
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
        calls=calls,
        load=draw(
            st.one_of(
                st.sampled_from([5, 15, 40]).map(lambda rate: {"rate": rate, "mix": ENTRY, "clients": 2}),
                st.sampled_from([2, 6]).map(lambda users: {"kind": "closed", "users": users, "think": 0.3, "mix": ENTRY}),
            )
        ),
        faults=hurt,
        run={"duration": 10, "warmup": draw(st.sampled_from([0.0, 2.0])), "drain": draw(st.sampled_from([0.0, 40.0, 40.0]))},
    )


@st.composite
def connected(draw):
    """A random system in which all calls go over connections, some through a balancer of connections."""
    data = draw(st.one_of(scenarios(), searches())).as_data()
    data["calls"]["default"]["connections"] = draw(connections)
    data["calls"] = without_breakers_of_endpoints(data["calls"])
    return Scenario.model_validate(data)
