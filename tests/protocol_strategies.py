"""Random systems whose calls have protocols, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import connected

from sim.scenario.model import Scenario

sizes = st.sampled_from(["0 B", "1 B", "300 B", "20 kB", "200 kB"])


@st.composite
def bodies(draw, streams):
    """A request or an answer: so many bytes, or where there may be some, a stream of them."""
    size = draw(sizes)
    if not streams or draw(st.booleans()):
        return size
    every = draw(st.sampled_from([0, "5ms", {"exponential": "20ms"}]))
    return {"stream": size, "count": draw(st.integers(1, 6)), "every": every, "reading": draw(st.sampled_from([0, "10ms"]))}


@st.composite
def spoken(draw):
    """A random system whose calls have a protocol."""
    data = draw(connected()).as_data()
    streams = not data.get("proxies") and draw(st.booleans())  # proxies pass none on
    for service in data["services"].values():
        for name, operation in service["operations"].items():
            steps = operation if isinstance(operation, dict) else {"steps": operation}
            service["operations"][name] = {
                **steps, "request": draw(bodies(streams)), "response": draw(bodies(streams and "cache" not in steps)),
            }  # fmt: skip
        if draw(st.booleans()):
            service["max_connections"] = draw(st.integers(1, 4))
    http = draw(st.sampled_from(["http/1.1", "http/2", "http/3"]))
    security = None if http == "http/3" else draw(st.sampled_from(["none", "tls-1.2", "tls-1.3"]))
    protocol = {
        "profile": draw(st.sampled_from(["rest-json", "rest-xml", "grpc", "graphql"])),
        "http": http,
        "security": security,
    }
    if draw(st.booleans()):
        protocol["compression"] = {"algorithm": draw(st.sampled_from(["gzip", "zstd", "brotli"]))}
    data["calls"]["default"]["protocol"] = protocol
    data["links"] = {**data.get("links", {})}
    own = data["links"].get("default", {})
    own = own if isinstance(own, dict) and set(own) <= {"latency", "loss"} else {"latency": own}
    broad = draw(st.sampled_from([None, "1 Mbit/s", "1 Gbit/s"]))
    data["links"]["default"] = {**own, "loss": draw(st.sampled_from([0, 0.02, 0.3])), "bandwidth": broad}
    return Scenario.model_validate(data)
