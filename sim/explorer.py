"""A scenario to play with in a notebook: sliders for load, failures and policy, and a chart that follows."""

from __future__ import annotations

from html import escape
from io import BytesIO
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from sim import plots
from sim.analysis.curves import latency_cdf_of_run
from sim.analysis.words import amount
from sim.errors import ScenarioError
from sim.plots import words
from sim.plots.style import themed
from sim.scenario.forecast import forecast
from sim.scenario.load import Closed, Ramp, Replay, Spike, Steps
from sim.scenario.model import Scenario
from sim.single import simulate
from sim.study.measure import measure

AS_WRITTEN, CHANGED = "as written", "changed"
#: Requests of a run: enough for a p99, few enough for a chart that follows.
_REQUESTS: Final = 10_000
#: What may be done about failures, as changes of every call.
POLICIES: Final[dict[str, dict[str, Any]]] = {
    "as written": {},
    "one try": {"retry": {"max_attempts": 1}},
    "three tries": {"retry": {"max_attempts": 3, "backoff": {"base": 0.02, "jitter": "full"}}},
    "three tries, breaker": {
        "retry": {"max_attempts": 3, "backoff": {"base": 0.02, "jitter": "full"}},
        "circuit_breaker": {"window_type": "count", "window_size": 50, "minimum_calls": 20, "open_duration": 2.0},
    },
}


def explore(scenario: Scenario) -> Explorer:
    """Sliders for the load, failures of a service and the policy of calls, and a chart of latency that follows within a second.

    For a feeling of what matters, in a notebook; a decision needs replications: `sim.compare`. Each chart is one run, shortened
    to some 10,000 requests, of the same seed: what changes is what the sliders did, not chance. With the drawing that is 0.2 to
    0.4 s of CPU for the calibrated shop of `experiments/capacity`; where nothing is compiled, some nine times the run's part.

    Needs ipywidgets (``pip install 'sim[notebook]'``).

    Raises:
        ScenarioError: the scenario has no load of a rate or of users that could be scaled, or ipywidgets is not installed.
    """
    return Explorer(scenario)


class Explorer:
    """The widgets of `explore`: `load`, `failing`, `share`, `policy`, and `box` with all of them and the chart."""

    def __init__(self, scenario: Scenario) -> None:
        try:
            import ipywidgets as widgets
        except ImportError:
            raise ScenarioError("explore needs ipywidgets; install it with pip install 'sim[notebook]'") from None
        self.scenario = _short(scenario)
        services = list(scenario.services)
        wide = {"description_width": "9em"}
        common: dict[str, Any] = {"continuous_update": False, "style": wide, "layout": widgets.Layout(width="32em")}
        self.load = widgets.FloatSlider(1.0, min=0.1, max=3.0, step=0.1, description="load, times", **common)
        self.share = widgets.FloatSlider(
            0.0, min=0.0, max=0.5, step=0.01, readout_format=".0%", description="failing share", **common
        )
        self.failing = widgets.Dropdown(options=services, value=services[-1], description="failing service", style=wide)
        self.policy = widgets.Dropdown(options=list(POLICIES), description="policy of calls", style=wide)
        self.told = widgets.HTML()
        self.chart = widgets.Image(format="png")
        for control in (self.load, self.share, self.failing, self.policy):
            control.observe(self._follow, names="value")
        self.box = widgets.VBox([self.load, self.failing, self.share, self.policy, self.told, self.chart])
        self._written = simulate(self.scenario)
        self._follow(None)

    def changed(self) -> Scenario:
        """The scenario as the sliders have it.

        Raises:
            ScenarioError: the settings do not fit together.
        """
        data = scaled(self.scenario, self.load.value).as_data()
        policy = POLICIES[self.policy.value]
        if policy:
            selectors = ["default", *(name for name in data.get("calls", {}) if name != "default")]
            data["calls"] = {name: {**data.get("calls", {}).get(name, {}), **policy} for name in selectors}
        if self.share.value > 0:
            fault = {"errors": self.failing.value, "ratio": self.share.value, "at": 0.0}
            data["faults"] = [*data.get("faults", []), fault]
        try:
            return Scenario.model_validate(data)
        except ValueError as error:
            raise ScenarioError(str(error)) from error

    def _follow(self, _change: object) -> None:
        """Simulate what the sliders say, and show it beside the scenario as written."""
        try:
            runs = {AS_WRITTEN: self._written, CHANGED: simulate(self.changed())}
        except ScenarioError as error:
            self.told.value = escape(str(error))
            return
        numbers = {
            name: measure(run, run.scenario).query("of == 'all'").set_index("metric")["value"] for name, run in runs.items()
        }
        self.told.value = "<br>".join(escape(f"{name}: {_sentence(found)}") for name, found in numbers.items())
        curves = [
            latency_cdf_of_run(run.requests, start_s=run.scenario.run.warmup, end_s=run.scenario.run.end).assign(candidate=name)
            for name, run in runs.items()
        ]
        self.chart.value = _picture(pd.concat(curves, ignore_index=True))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """The scenario under so many times its load: every rate, or the number of users.

    Raises:
        ScenarioError: recorded arrival times cannot be scaled.
    """
    load = scenario.load
    match load:
        case Replay():
            raise ScenarioError("recorded arrival times cannot be scaled; give the scenario a rate or users to explore it")
        case Closed():
            changed: dict[str, Any] = {"users": max(1, round(load.users * factor))}
        case Steps() | Ramp():
            changed = {"points": tuple(point.model_copy(update={"rate": point.rate * factor}) for point in load.points)}
        case Spike():
            changed = {"rate": load.rate * factor, "peak": load.peak * factor}
        case _:
            changed = {"rate": load.rate * factor}
    return scenario.model_copy(update={"load": load.model_copy(update=changed)})


def _short(scenario: Scenario) -> Scenario:
    """The scenario with so few requests that a chart can follow; faults that come later are gone with the time they were in."""
    scaled(scenario, 1.0)
    rate_rps = forecast(scenario).rate_rps or 100.0
    warmup_s, seconds = scenario.run.warmup, min(scenario.run.duration, max(1.0, _REQUESTS / rate_rps))
    faults = tuple(fault for fault in scenario.faults if fault.at is None or fault.at < warmup_s + seconds)
    run = scenario.run.model_copy(
        update={"duration": seconds, "warmup": min(warmup_s, seconds), "record_attempts": True, "record_requests": True}
    )
    return scenario.model_copy(update={"run": run, "faults": faults})


def _sentence(numbers: pd.Series[float]) -> str:
    metrics = [name for name in ("success", "p50_s", "p99_s", "attempts_per_request") if name in numbers]
    return ", ".join(f"{words.of_metric(name).text} {amount(name, float(numbers[name]))}" for name in metrics)


def _picture(curve: pd.DataFrame) -> bytes:
    """The latency by percentile of both, as PNG."""
    with themed():
        figure = Figure(figsize=(8.0, 4.2), layout="constrained")
        table = curve.assign(condition="one run each", low=float("nan"), high=float("nan"))
        plots.latency_percentiles(table, figure.subplots(), title="Latency of good answers by percentile, one run each")
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=80)
    return picture.getvalue()
