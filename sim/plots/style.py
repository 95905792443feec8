"""How everything looks: one look per candidate in every chart, axes with units, legends beside the data.

Colours are those of Okabe and Ito ("Color universal design", 2008), in an order, and one of them darkened, that keeps the
first five apart in grey too; line style, marker and hatch repeat the distinction for whoever sees neither.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from sim.errors import ScenarioError
from sim.units import format_duration

#: Settings under which every chart is drawn and saved; the salt makes SVG repeatable.
THEME: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.title_fontsize": 11,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 2.2,
    "hatch.linewidth": 0.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "sim",
    "svg.fonttype": "path",
}
SHADE: Final = "#8C8C8C"
INK: Final = "#333333"


@dataclass(frozen=True)
class Look:
    """What tells one thing from another: colour, line style and marker in line charts, hatch in bars."""

    colour: str
    line: Any = "-"
    marker: str = ""
    hatch: str = ""


_COLOURS: Final = ("#0072B2", "#E69F00", "#000000", "#009E73", "#5E2750", "#D55E00", "#56B4E9")
_LINES: Final = ("-", (0, (5, 2)), (0, (7, 2, 1.5, 2)), (0, (1.5, 1.5)), (0, (9, 2, 2, 2, 2, 2)))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p", "d", "8")
_HATCHES: Final = ("", "//", "..", "xx", "\\\\", "oo", "--", "++", "||", "**", "\\\\..", "//..", "xx..")
#: How much white the colours of the second seven are mixed with, of the third, and so on: another lightness each time.
_MIXED: Final = (0.0, 0.45, 0.25, 0.6)

#: Looks of the parts of a latency; neighbours in a stack differ in lightness or hatch.
PART_LOOKS: Final[Mapping[str, Look]] = {
    "queue_s": Look("#E8B04A", hatch="--"),
    "service_s": Look("#2F4B7C", hatch="//"),
    "network_s": Look("#A5C8E8"),
    "handshake_s": Look("#6C8EBF", hatch="\\\\"),
    "backoff_s": Look("#EDEDED", hatch=".."),
    "lost_s": Look("#A63D40", hatch="xx"),
}
PART_NAMES: Final[Mapping[str, str]] = {
    "queue_s": "waiting (worker, connection, batch)",
    "service_s": "being worked on",
    "network_s": "on the network",
    "handshake_s": "making connections",
    "backoff_s": "waiting to retry",
    "lost_s": "waiting for answers that never came",
}
#: Looks of the outcomes of a request; `ok` stays quiet so that trouble stands out.
OUTCOME_LOOKS: Final[Mapping[str, Look]] = {
    "ok": Look("#DCE9F5"),
    "degraded": Look("#8FB8DE", hatch="//"),
    "error": Look("#A63D40"),
    "timeout": Look("#E8B04A", hatch=".."),
    "rejected": Look("#2F4B7C"),
    "short_circuited": Look("#C3B1E1", hatch="\\\\"),
    "unreachable": Look("#4D4D4D", hatch="xx"),
    "in_flight": Look("#F5F5F5", hatch="--"),
}


def looks(candidates: Iterable[str]) -> dict[str, Look]:
    """Give every candidate its look, by position: the first is always blue, solid, round.

    Pass the result as `looks=` to several charts when they do not show the same candidates. The first five differ in
    lightness by at least 10 L* (of 100); later ones are told apart by line style, marker and hatch, and from the eighth on
    the colours come again, paler.

    >>> looks(["sync", "queue"])["queue"].colour
    '#E69F00'
    """
    return {
        name: Look(_colour(i), _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)], _HATCHES[i % len(_HATCHES)])
        for i, name in enumerate(dict.fromkeys(candidates))
    }


def _colour(place: int) -> str:
    """The colour of a candidate by its position: seven, and then the same ones paler.

    Each round begins one colour later: the paler blue would be next to the light blue that ends the first one.
    """
    again, at = divmod(place, len(_COLOURS))
    white = _MIXED[again % len(_MIXED)]
    red, green, blue = (part + white * (1 - part) for part in to_rgb(_COLOURS[(at + again) % len(_COLOURS)]))
    return to_hex((red, green, blue)).upper()


def lightness(colour: str) -> float:
    """How light a colour is in grey: CIE L*, 0 (black) to 100 (white).

    >>> round(lightness("#000000")), round(lightness("#ffffff"))
    (0, 100)
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 216 / 24389 else luminance * 24389 / 27


def names_in(table: pd.DataFrame, column: str) -> list[str]:
    """The names in a column, in the order of its categories if it has any, else of first appearance."""
    values = table[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        present = set(values.dropna())
        return [str(name) for name in values.cat.categories if name in present]
    return [str(name) for name in values.dropna().unique()]


def candidates_in(*tables: pd.DataFrame) -> list[str]:
    """All candidates of the tables in order; a baseline comes before what is compared with it."""
    found: list[str] = []
    for table in tables:
        for column in ("baseline", "candidate"):
            if column in table:
                found += names_in(table, column)
    return list(dict.fromkeys(found))


@contextmanager
def themed() -> Iterator[None]:
    """Draw and save under `THEME`; the caller's matplotlib settings are back afterwards."""
    with mpl.rc_context(cast(Any, THEME)):
        try:
            yield
        finally:
            interactive = mpl.is_interactive()
    # A notebook's backend wakes up with the first figure and turns this on; taken back, no later cell would show its figure.
    mpl.interactive(interactive)


def new_axes(ax: Axes | None, size: tuple[float, float] = (8.0, 4.8)) -> Axes:
    """Return the given axes, or those of a new pyplot figure of `size` inches that makes room for its legend."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, created = plt.subplots(figsize=size, layout="constrained")
    return created


def need(table: pd.DataFrame, columns: Sequence[str], chart: str) -> None:
    """Refuse a table that cannot be drawn.

    Raises:
        ScenarioError: columns are missing, or there is no row.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise ScenarioError(
            f"{chart}: the table has no column {', '.join(map(repr, missing))}; it needs {', '.join(columns)} "
            f"and has {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise ScenarioError(f"{chart}: the table has no rows; has the run produced any measured request?")


def one_of(table: pd.DataFrame, column: str, wanted: str | None, chart: str) -> tuple[str, pd.DataFrame]:
    """Choose the rows of one condition (or group, or metric); without a wish there must be only one.

    Raises:
        ScenarioError: several to choose from, or the wanted one is not there.
    """
    known = names_in(table, column)
    if wanted is None and len(known) == 1:
        wanted = known[0]
    if wanted is None:
        raise ScenarioError(
            f"{chart}: the table holds several of {column}: {', '.join(known)}; choose with {column}={known[0]!r}, "
            f"or draw all with small_multiples({chart}, table, over={column!r})"
        )
    if wanted not in known:
        raise ScenarioError(f"{chart}: no {column} {wanted!r} in the table; it has {', '.join(known)}")
    # Tables put together with `pd.concat` have the same labels again and again.
    return wanted, table[table[column].astype(str) == wanted].reset_index(drop=True)


def shown(
    table: pd.DataFrame, columns: Sequence[str], chart: str, condition: str | None, looks_: Mapping[str, Look] | None = None
) -> tuple[str, pd.DataFrame, Mapping[str, Look]]:
    """What a chart of one condition begins with: the condition's name, its rows, and the looks of the whole table's candidates.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    need(table, ("candidate", "condition", *columns), chart)
    name, rows = one_of(table, "condition", condition, chart)
    return name, rows, looks_ or looks(candidates_in(table))


def width_in(ax: Axes) -> float:
    """How wide the axes are, in inches, as laid out so far."""
    figure = ax.get_figure(root=True)
    return ax.get_window_extent().width / (mpl.rcParams["figure.dpi"] if figure is None else figure.dpi)


def wrap(name: str, width: int = 24) -> str:
    """Break a long name into lines, also at `.` and `/`, none wider than `width` characters; at `_` and `-` only what is long.

    >>> wrap("outbox_with_relay_and_retries", 16)
    'outbox_with_\\nrelay_and_\\nretries'
    >>> wrap("calls.shop -> payment.retry.max_attempts = 3", 32)
    'calls.shop -> payment.retry.\\nmax_attempts = 3'
    """
    pieces = re.sub(r"([./])", "\\1\u200b", name)  # a zero-width space: a place where a line may end
    pieces = re.sub(rf"[^ \u200b]{{{width},}}", lambda long: re.sub(r"([_-])", "\\1\u200b", long[0]), pieces)
    words = pieces.replace("\u200b", " \u200b").split(" ")
    lines, line = [], ""
    for word in words:
        glued = word.startswith("\u200b")
        text = word.lstrip("\u200b")
        joined = line + ("" if glued or not line else " ") + text
        if len(joined) <= width or not line:
            line = joined
        else:
            lines.append(line)
            line = text
    return "\n".join(piece for whole in [*lines, line] for piece in textwrap.wrap(whole, width) or [""])


def wrap_evenly(text: str, width: int) -> str:
    """Break a title into as few lines as `wrap` would, but equally long ones: no last line of a single word.

    >>> wrap_evenly("who calls whom, attempts per second, and how many fail", 50)
    'who calls whom, attempts per\\nsecond, and how many fail'
    """
    lines = wrap(text, width).count("\n")
    if not lines:
        return text
    narrowest = next(each for each in range(len(text) // (lines + 1), width + 1) if wrap(text, each).count("\n") == lines)
    return wrap(text, narrowest)


def shorten(text: str, width: int) -> str:
    """Cut a text in the middle, where names differ least.

    >>> shorten("crash of payment, replica 0", 15)
    'crash o…plica 0'
    """
    if len(text) <= width:
        return text
    return text[: width // 2] + "…" + text[len(text) - (width - width // 2 - 1) :]


def time_unit(largest_s: float) -> tuple[str, float]:
    """The unit a reader would choose for values up to `largest_s` seconds, and its length in seconds.

    >>> time_unit(0.3), time_unit(20), time_unit(3000)
    (('ms', 0.001), ('s', 1.0), ('min', 60.0))
    """
    for unit, seconds in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if largest_s >= {"h": 4 * 3600.0, "min": 1200.0}.get(unit, seconds):
            return unit, seconds
    return "µs", 1e-6


def plain(value: float, _position: int | None = None) -> str:
    """A number with thousands separated and a true minus, also as a tick formatter.

    >>> plain(-12000.0)
    '−12,000'
    """
    return f"{value:,.6g}".replace("-", "−")


def finite(values: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The finite numbers among the values."""
    array: np.ndarray[Any, np.dtype[np.float64]] = np.asarray(list(values), dtype=float)
    return np.extract(np.isfinite(array), array)


def is_wide(values: Iterable[Any]) -> bool:
    """Whether positive values spread over so much that only a logarithmic axis shows the small ones."""
    numbers = finite(values)
    positive = numbers[numbers > 0]
    return bool(len(positive) and positive.max() > 20 * positive.min())


def set_time_axis(axis: Axis, quantity: str, values_s: Iterable[Any], *, log: bool | None = None) -> None:
    """Label an axis of seconds for people: linear in one unit from zero, or logarithmic with the unit at every tick.

    Args:
        axis: the x or y axis; its data are in seconds.
        quantity: what is shown, for example ``latency``; the unit is added.
        values_s: all values that belong on this axis, also those of sibling panels.
        log: None lets the spread of the values decide.
    """
    numbers = finite(values_s)
    if is_wide(numbers) if log is None else log:
        lying = isinstance(axis, XAxis)
        set_scale = axis.axes.set_xscale if lying else axis.axes.set_yscale
        set_scale("log", nonpositive="clip")
        positive = numbers[numbers > 0]
        decades = np.log10(positive.max() / positive.min()) if len(positive) else 1.0
        # Labels side by side need more room.
        subs = (1.0, 2.0, 5.0) if decades < (1.2 if lying else 2.2) else (1.0, 3.0) if decades < 2.2 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=6 if lying else 9))
        axis.set_minor_locator(LogLocator(subs=[float(i) for i in range(2, 10)], numticks=20))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value) if value < 1e4 else f"{value:,.0f} s"))
        units = [format_duration(end).split()[-1] for end in (positive.min(), positive.max())] if len(positive) else ["s"]
        axis.set_label_text(f"{quantity} ({' to '.join(dict.fromkeys(units))}, log scale)")
        return
    unit, length_s = time_unit(float(np.abs(numbers).max()) if len(numbers) else 1.0)
    axis.set_major_locator(_SteppedLocator(length_s))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value / length_s)))
    axis.set_label_text(f"{quantity} ({unit})")


def fit_time_axis(axis: Axis, values_s: Iterable[Any], highs_s: Iterable[Any]) -> None:
    """Set the limits of a time axis around the values, from zero unless it is logarithmic, with room for their intervals.

    An interval that reaches far beyond all values is cut: two replications of a far percentile may leave nearly
    everything possible, and would squeeze the curves themselves into a corner.
    """
    numbers = finite(values_s)
    numbers = numbers[numbers > 0]
    least, most = (float(numbers.min()), float(numbers.max())) if len(numbers) else (1.0, 1.0)
    most = max(most, min(float(np.max(finite(highs_s), initial=0.0)), 1.5 * most))
    if axis.get_scale() == "log":
        margin = max(1.1, (most / least) ** 0.04)
        limits = (least / margin, most * margin)
    else:
        limits = (0.0, 1.05 * most)
    if isinstance(axis, XAxis):
        axis.axes.set_xlim(*limits)
    else:
        axis.axes.set_ylim(*limits)


class _SteppedLocator(MaxNLocator):
    """Round ticks in a unit of its own length: with minutes 0, 5, 10 min and not 0, 250, 500 s."""

    def __init__(self, length: float) -> None:
        super().__init__(nbins=6, steps=[1, 2, 2.5, 5, 10])
        self._length = length

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks between the limits, as `MaxNLocator` places them in the unit."""
        return np.asarray(super().tick_values(vmin / self._length, vmax / self._length)) * self._length


def set_ratio_axis(axis: Axis, quantity: str) -> None:
    """Label an axis of ratios between 0 and 1 in percent."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))
    axis.set_label_text(f"{quantity} (%)")


def set_number_axis(axis: Axis, label: str) -> None:
    """Label an axis of plain numbers, with thousands separated and no hidden offset."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_label_text(label)


def set_title(ax: Axes, title: str | None, own: str, pad: float = 10.0) -> None:
    """Write the wanted title, or the chart's own where None is wanted, `pad` points above the axes."""
    ax.set_title(wrap_evenly(own, 60) if title is None else title, pad=pad)


def legend_beside(ax: Axes, title: str | None = None) -> None:
    """Put the legend to the right of the axes, where it covers no data; none when nothing has a label."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, title=title, alignment="left")


def legend_below(ax: Axes, title: str | None = None, handles: Sequence[Artist] = ()) -> None:
    """Put the legend under the axes and their label, where rows have figures beside them; none when nothing has a label.

    Args:
        ax: of which.
        title: above it.
        handles: what it names; by default everything in the axes that has a label.
    """
    handles = handles or ax.get_legend_handles_labels()[0]
    labels = [str(handle.get_label()) for handle in handles]
    if handles:
        under = ax.transAxes + ScaledTranslation(0.0, -48 / 72, ax.figure.dpi_scale_trans)
        ax.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=under, borderaxespad=0.0, title=title,
            alignment="left", ncols=max(1, min(3, len(handles), int(70 / max(map(len, labels))))),
        )  # fmt: skip


def line_with_band(
    ax: Axes,
    x: pd.Series[Any],
    y: pd.Series[Any],
    look: Look,
    label: str,
    *,
    band: tuple[pd.Series[Any], pd.Series[Any], pd.Series[Any]],
    steps: bool = False,
    sideways: bool = False,
    marked: Sequence[bool] | None = None,
) -> None:
    """Draw numbers as a line with some markers, and their interval as a band where it is known and has a width.

    Args:
        ax: where.
        x: numbers along the axis.
        y: numbers across, NaN for gaps.
        look: of the candidate.
        label: its name in the legend.
        band: where on the free axis, lower ends, upper ends.
        steps: hold each value until the next, as bins do.
        sideways: the interval is one of x, so the band runs along it.
        marked: which points get a marker; by default about ten, staggered between candidates.
    """
    at, low, high = band
    if (high > low).any():
        fill: Any = ax.fill_betweenx if sideways else ax.fill_between
        fill(at, low, high, color=look.colour, alpha=0.2, linewidth=0, step="post" if steps else None, zorder=1.5)
    offset = _MARKERS.index(look.marker) if look.marker in _MARKERS else 0
    spots = _marked((x * y).to_numpy(dtype=float), offset) if marked is None else [int(i) for i in np.flatnonzero(marked)]
    ax.plot(
        x, y, color=look.colour, linestyle=look.line, marker=look.marker, markersize=7, label=wrap(label, 32),
        markevery=spots, markeredgecolor="white", markeredgewidth=0.7,
        drawstyle="steps-post" if steps else "default", zorder=2.5,
    )  # fmt: skip


def _marked(values: np.ndarray[Any, Any], offset: int) -> list[int]:
    # About ten markers per line, staggered so that equal lines show all of theirs; a point alone has no line and needs one.
    there = np.isfinite(values)
    every = max(1, len(values) // 10)
    alone = there & ~np.append(there[1:], False) & ~np.insert(there[:-1], 0, False)
    spread = np.arange(len(values)) % every == (offset * every // 4) % every
    return [int(i) for i in np.flatnonzero(alone | spread)]


def note_missing(ax: Axes, missing: Sequence[str], why: str) -> None:
    """Say inside the axes which candidates have nothing to show, so that absence is not read as equality."""
    if missing:
        ax.text(
            0.02, 0.03, wrap(f"{why}: {', '.join(missing)}", 40), transform=ax.transAxes, fontsize=10, color=INK, style="italic",
            va="bottom", zorder=5, bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2},
        )  # fmt: skip


def swatch(ax: Axes, y: float, look: Look) -> None:
    """Put a candidate's marker beside its row, to tie a chart of rows to the charts of lines."""
    aside = ScaledTranslation(-10 / 72, 0, ax.figure.dpi_scale_trans)
    ax.add_line(
        Line2D(
            [0], [y], transform=ax.get_yaxis_transform() + aside, marker=look.marker, color=look.colour, markersize=7,
            linestyle="none", clip_on=False,
        )
    )  # fmt: skip
