"""The map of regret: candidates by conditions, the darker the farther from the best, with the numbers in the cells."""

from __future__ import annotations

import math
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.metrics import is_ratio
from sim.plots import style, words
from sim.units import format_duration

#: The darkest grey is not black, so that a cell keeps its edge.
_DARKEST: Final = 0.85


def regret_map(
    table: pd.DataFrame, totals: pd.DataFrame, ax: Axes | None = None, *, metric: str, title: str | None = None
) -> Axes:
    """Regret of each candidate (rows, the smallest worst case at the top) under each condition, in the worst case, and expected.

    Args:
        table: candidate, condition, regret (`sim.analysis.Regret.table`).
        totals: candidate, worst, expected, in the order of the rows.
        ax: where to draw; None makes a new figure.
        metric: in what regret is counted.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing.
    """
    style.need(table, ("candidate", "condition", "regret"), "regret_map")
    style.need(totals, ("candidate", "worst", "expected"), "regret_map")
    names, conditions = list(totals["candidate"]), list(dict.fromkeys(table["condition"]))
    cells = table.pivot(index="candidate", columns="condition", values="regret").loc[names, conditions].to_numpy(dtype=float)
    cells = np.column_stack([cells, totals["worst"], totals["expected"]])
    finite = cells[np.isfinite(cells)]
    most = float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    with style.themed():
        ax = style.new_axes(ax, (3.0 + 1.5 * cells.shape[1], 1.6 + 0.6 * len(names)))
        shades = np.where(np.isfinite(cells), cells / most, 1.0) * _DARKEST
        ax.imshow(shades, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
        for (i, j), value in np.ndenumerate(cells):
            colour = mpl.colors.to_hex(mpl.colormaps["Greys"](float(shades[i, j])))
            ink = "white" if style.lightness(colour) < 60 else "black"
            weight = "bold" if j == len(conditions) and i == 0 else "normal"
            ax.text(j, i, _figure(metric, float(value)), ha="center", va="center", color=ink, fontsize=11, fontweight=weight)
        ax.axvline(len(conditions) - 0.5, color="white", linewidth=6)
        ax.set_xticks(range(cells.shape[1]), [style.wrap(name, 14) for name in (*conditions, "worst case", "expected")])
        ax.set_yticks(range(len(names)), [style.wrap(name, 24) for name in names])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        word = words.of_metric(metric)
        unit = " (percentage points)" if is_ratio(metric) else f" ({word.unit})" if word.kind == "number" else ""
        style.set_title(ax, title, f"How far from the best of each condition: {word.text}{unit}", pad=14)
    return ax


def _figure(metric: str, regret: float) -> str:
    if math.isinf(regret):
        return "∞"
    if is_ratio(metric):
        return f"{100 * regret:.3g}"
    return format_duration(regret) if metric.endswith("_s") else f"{regret:.3g}"
