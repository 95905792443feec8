"""Charts of effects: times and differences of many effects on one page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from chart_tables import CANDIDATES, CONDITIONS, effect_differences_table, summary_table
from matplotlib.axes import Axes

from sim import plots
from sim.plots.files import charts, small_multiples


def texts(ax: Axes) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


def test_effect_times_show_the_table_and_how_many_happened() -> None:
    ax = plots.effect_times(summary_table(), condition="normal")
    marks = [tuple(np.round(found.get_xdata(), 12)) for found in ax.lines]
    assert (0.1, 0.5) in marks  # sync: effect only
    assert (0.2, 1.0) in marks
    assert marks.count((0.004, 0.02)) == 2
    assert texts(ax).count("99 %") == 3, "the share that happened, where not all did"
    filled = {tuple(np.round(found.get_xdata(), 12)): found.get_markerfacecolor() for found in ax.lines}
    assert filled[0.004, 0.02] == "white"  # hollow: acknowledged
    assert filled[0.2, 1.0] == plots.looks(CANDIDATES)["queue"].colour


def test_effect_times_of_one_effect_show_all_conditions_a_row_for_each_candidate() -> None:
    table = summary_table()
    late = (table["of"] == "email.send") & (table["condition"] == "crash") & (table["candidate"] == "queue")
    table.loc[late & (table["metric"] == "effect_p99_s"), "mean"] = 7.0
    table.loc[table["metric"] == "completeness", "mean"] = 1.0
    table.loc[late & (table["metric"] == "completeness"), "mean"] = 0.5
    ax = plots.effect_times(table, of="email.send")
    assert [written.get_text() for written in ax.get_yticklabels()] == list(CONDITIONS)
    [slow] = [found for found in ax.lines if list(found.get_xdata()) == [0.2, 7.0]]
    [share] = [text for text in ax.texts if text.get_text() == "50 %"]
    assert share.get_position()[1] == slow.get_ydata()[0]
    # Three candidates and 0.9 rows between two conditions: the second one of the crash is at 1 + 3.9.
    assert slow.get_ydata()[0] == pytest.approx(1.0 + 3.9 * CONDITIONS.index("crash"))


def test_differences_of_an_effect_stand_in_blocks_of_conditions() -> None:
    ax = plots.effect_differences(effect_differences_table(), of="email.send")
    assert [written.get_text() for written in ax.get_yticklabels()] == list(CONDITIONS)
    marks = {float(found.get_xdata()[0]): found for found in ax.lines if len(found.get_xdata()) == 1}
    # Two candidates beside the baseline and 0.9 rows between two conditions: the crash begins at 2.9.
    assert marks[4.0].get_ydata() == pytest.approx([2.9 * CONDITIONS.index("crash")])
    assert marks[0.5].get_ydata() == pytest.approx([2.9 * CONDITIONS.index("crash") + 1.0])
    assert marks[4.0].get_markerfacecolor() == plots.looks(CANDIDATES)["queue"].colour  # told from zero: full
    assert marks[0.5].get_markerfacecolor() == "white"
    assert "+4 s [+3 s, +5 s]" in texts(ax)


def test_a_condition_in_which_no_candidate_differs_says_so_once() -> None:
    ax = plots.effect_differences(effect_differences_table(), of="email.send")
    [identical] = [text for text in ax.texts if text.get_text() == "identical"]
    assert identical.get_position()[1] == pytest.approx(2.9 * CONDITIONS.index("normal") + 0.5)  # the middle of its block


def test_effects_that_differ_nowhere_have_no_panel(tmp_path) -> None:
    table = effect_differences_table()
    ship = table.assign(of="ship.order", difference=0.0, low=0.0, high=0.0, verdict="no detectable difference")
    both = pd.concat([table, ship], ignore_index=True)
    small = small_multiples(plots.effect_differences, both, over="of", share=False)
    assert [ax.get_title(loc="left") for ax in small.axes] == ["email.send", "ship.order"]
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.plots.files.save", lambda figure, stem, formats: drawn.append((stem.name, figure)) or [stem])
        charts({"differences": both}, tmp_path)
    [(name, figure)] = drawn
    assert (name, [ax.get_title(loc="left") for ax in figure.axes]) == ("difference_effect_p99_s", ["email.send"])


def test_many_effects_fit_a_page() -> None:
    table = effect_differences_table()
    many = pd.concat([table.assign(of=f"effect {i}") for i in range(6)], ignore_index=True)
    with pytest.MonkeyPatch.context() as patch:
        drawn = []
        patch.setattr("sim.plots.files.save", lambda figure, stem, formats: drawn.append(figure) or [stem])
        charts({"differences": many}, "nowhere")
    assert drawn[0].get_figheight() < 1.5 * drawn[0].get_figwidth()
