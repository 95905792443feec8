"""Which protocol for a product page, for whom: all of them in all places, and where the answer flips.

    python experiments/protocols/flips.py        # one minute; results/protocols: matrix.csv, flips.csv, flips.png

The page is that of product_page.yaml, whose head has its parts. What is added here: compression and caches, small and large
pages, and other distances. All numbers of the shop are assumed; those of the protocols are `sim protocols`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

import sim
from sim.plots import looks, metric_over_setting
from sim.plots.style import INK, legend_below, plain, set_title, themed
from sim.units import format_duration

HERE = Path(__file__).parent
GZIP = {"algorithm": "gzip", "minimum_size": "1 kB"}
#: Two hundred products, asked for as the web asks (zipf 0.9): good for 30 s, and after that usually unchanged.
CACHE = {"max_age": "30s", "keys": 200, "zipf": 0.9, "changed_after": "10min"}

#: Candidate: the candidate of product_page.yaml that it is, what its protocol says besides, whether HTTP caches help.
CANDIDATES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "REST": ("REST", {"http": "http/2"}, False),
    "REST, gzip": ("REST", {"http": "http/2", "compression": GZIP}, False),
    "REST, gzip, cached": ("REST", {"http": "http/2", "compression": GZIP}, True),
    "gRPC": ("gRPC", {}, False),
    "gRPC, gzip": ("gRPC", {"compression": GZIP}, False),
    "GraphQL": ("GraphQL", {"compression": None}, False),
    "GraphQL, gzip": ("GraphQL", {}, False),
    "GraphQL, gzip, persisted, cached": ("GraphQL", {"persisted_queries": {"kept_by": "registered"}}, True),
}
#: Place: one-way latency, bandwidth, loss.
PLACES = {"phones": (0.040, "4 Mbit/s", "1 %"), "beside": (0.0005, "10 Gbit/s", "0 %")}
#: Page: reviews that there are, and that it shows.
PAGES = {"small": (4, 2), "large": (40, 40)}
_BASE = sim.load(HERE / "product_page.yaml")


def page(
    candidate: str, place: str, warm: bool = True, reviews: tuple[int, int] = PAGES["small"], latency_s: float | None = None
) -> sim.Scenario:
    """The scenario of a candidate, at a place or some other distance, on warm connections or a new one for each page."""
    name, spoken, cached = CANDIDATES[candidate]
    data = _BASE.candidates[name]["phones, warm"].as_data()
    there_s, bandwidth, loss = PLACES[place]
    data["links"]["screen -> shop"] = {"latency": latency_s or there_s, "bandwidth": bandwidth, "loss": loss}
    (call,) = (policy for selector, policy in data["calls"].items() if selector == "screen -> shop")
    call["protocol"] = {**({"profile": call["protocol"]} if isinstance(call["protocol"], str) else call["protocol"]), **spoken}
    call.pop("connections", None)
    if not warm:
        call["connections"] = {"idle_timeout": "100ms"}
    if cached:
        _with_caches(data, call, place)
    data["messages"]["reviews"]["fields"]["items"]["count"] = reviews[0]
    data["messages"]["page"]["fields"]["reviews"]["count"] = reviews[1]
    data["services"]["screen"]["replicas"] = 20 if place == "phones" else 4
    data["load"]["rate"] = 10.0
    data["run"] = {"warmup": 10.0, "duration": 30.0, "seed": 1}
    return sim.Scenario.model_validate(data)


def _with_caches(data: dict[str, Any], call: dict[str, Any], place: str) -> None:
    """Beside: one in each process that asks. For phones: one that they share, three quarters of the way to them from the shop."""
    if place == "beside":
        call["cache"] = CACHE
        return
    link = data["links"]["screen -> shop"]
    data["proxies"] = {"cdn": {"replicas": 1, "workers": "unlimited", "work": "0.1ms"}}
    data["links"] |= {"screen -> cdn": {**link, "latency": 0.75 * link["latency"]}, "cdn -> shop": 0.25 * link["latency"]}
    call["via"] = "cdn"
    data["calls"]["cdn -> shop"] = {"protocol": call["protocol"], "cache": CACHE}


def measured(scenario: sim.Scenario, seeds: int) -> dict[str, float]:
    """Means over seeds: latency of a page in seconds, its bytes on links, processor time, connections."""
    rows = []
    for seed in range(1, seeds + 1):
        result = sim.run(scenario, seed)
        asked = result.requests[result.requests.arrived_s >= scenario.run.warmup]
        spent = result.traffic[result.traffic.caller == "screen"].sum(numeric_only=True)
        rows.append(
            {
                "mean_s": (asked.ended_s - asked.arrived_s).mean(),
                "p99_s": (asked.ended_s - asked.arrived_s).quantile(0.99),
                "bytes": (spent.request_bytes + spent.response_bytes) / len(asked),
                "cpu_s": (spent.caller_cpu_s + spent.target_cpu_s) / len(asked),
                "connections": spent.connections / len(asked),
            }
        )
    return pd.DataFrame(rows).mean().to_dict()


def matrix(seeds: int = 3) -> pd.DataFrame:
    """Every candidate at every place, cold and warm, with small and large pages; one row for each."""
    return pd.DataFrame(
        {"place": place, "connections are": "warm" if warm else "cold", "page": size, "candidate": candidate}
        | measured(page(candidate, place, warm, reviews), seeds)
        for place in PLACES
        for warm in (False, True)
        for size, reviews in PAGES.items()
        for candidate in CANDIDATES
    )


#: What is varied: a scenario of a candidate at a value of it.
Varied = Callable[[str, float], sim.Scenario]


def by_distance(candidate: str, rtt_s: float) -> sim.Scenario:
    """A small page over a wide link, at any round-trip time."""
    return page(candidate, "beside", latency_s=rtt_s / 2)


def by_size(candidate: str, shown: float) -> sim.Scenario:
    """A page with so many reviews for a phone."""
    return page(candidate, "phones", reviews=(max(4, round(shown)), round(shown)))


def flip(one: str, other: str, varied: Varied, low: float, high: float, seeds: int = 3) -> float | None:
    """Where one is no longer faster than the other, found by halving, with the same seeds for both; None: nowhere."""

    def ahead(value: float) -> bool:
        return measured(varied(one, value), seeds)["mean_s"] <= measured(varied(other, value), seeds)["mean_s"]

    at_low = ahead(low)
    if ahead(high) == at_low:
        return None
    while high / low > 1.05:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if ahead(middle) == at_low else (low, middle)
    return math.sqrt(low * high)


#: One, other, what is varied, from, to, how the value is told.
FLIPS = (
    ("REST", "GraphQL", by_distance, 0.0002, 0.1, "round-trip time"),
    ("REST", "gRPC", by_distance, 0.0002, 0.1, "round-trip time"),
    ("gRPC", "GraphQL, gzip", by_size, 2, 200, "reviews shown"),
    ("gRPC", "REST, gzip", by_size, 2, 200, "reviews shown"),
)


def flips(seeds: int = 3) -> pd.DataFrame:
    """Where the answer flips, one row for each pair, with the size of the page there in JSON; NaN where it does not."""
    rows = []
    for one, other, varied, low, high, told in FLIPS:
        at = flip(one, other, varied, low, high, seeds)
        size = math.nan if at is None else varied(one, at).payloads.size("page", "json").bytes
        rows.append((one, other, told, at, size))
    return pd.DataFrame(rows, columns=["faster before", "faster after", "varied", "flips at", "bytes of the page"])


def curves(varied: Varied, values: list[float], candidates: list[str], seeds: int = 3) -> pd.DataFrame:
    """Mean latency by candidate (columns) at each value (rows)."""
    return pd.DataFrame(
        {name: [measured(varied(name, value), seeds)["mean_s"] for value in values] for name in candidates}, index=values
    )


#: Panels of the chart: what is varied (as `FLIPS` tells it), its unit, and for whom.
PANELS = (
    ("round-trip time", "s", "Small page, wide link, warm connections"),
    ("reviews shown", "", "Phones (80 ms, 4 Mbit/s, 1 % lost), warm connections"),
)


def chart(distances: pd.DataFrame, sizes: pd.DataFrame, found: pd.DataFrame) -> plt.Figure:
    """Mean latency by distance and by size, with the places where the order changes."""
    look = looks([*distances, *sizes])
    with themed():
        figure, axes = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
        for ax, table, (varied, unit, title) in zip(axes, (distances, sizes), PANELS, strict=True):
            rows = table.rename_axis(index=varied, columns="candidate").stack().rename("mean").reset_index()
            rows = rows.assign(condition="", metric="mean_s", of="all", low=math.nan, high=math.nan)
            metric_over_setting(rows, ax, setting=varied, metric="mean_s", units={varied: unit}, looks=look, legend=False)
            set_title(ax, title, "", pad=24)
            legend_below(ax)
            for value in found[found.varied == varied]["flips at"].dropna():
                ax.axvline(value, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
                rounded = float(f"{value:.2g}")
                text = format_duration(rounded) if unit else plain(rounded)
                ax.annotate(text, (value, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    return figure


DISTANCES = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
SIZES = [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]


def main() -> None:
    """Write everything to results/protocols, and tell the flips."""
    out = Path("results/protocols")
    out.mkdir(parents=True, exist_ok=True)
    table, found = matrix(), flips()
    table.to_csv(out / "matrix.csv", index=False)
    found.to_csv(out / "flips.csv", index=False)
    near = curves(by_distance, DISTANCES, ["REST", "gRPC", "GraphQL"])
    large = curves(by_size, SIZES, ["REST", "REST, gzip", "gRPC", "gRPC, gzip", "GraphQL, gzip"])
    chart(near, large, found).savefig(out / "flips.png", dpi=150)
    print(table.round(4).to_string(index=False))
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
