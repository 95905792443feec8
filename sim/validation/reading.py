"""What is read from a run: the measured rows, their times, what each request found, and how lucky the run was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.records import TABLES
from sim.single import RunResult

Rows = np.ndarray[Any, Any]
Column = np.ndarray[Any, Any]


def records(result: RunResult, table: str) -> Rows:
    """A table of a run as one structured array, for masks over whole rows; with the numbers of rows that are numbered."""
    columns = dict(result.arrays[table])
    for number in (one.number for one in TABLES if one.name == table and one.number):
        columns[number] = np.arange(len(next(iter(columns.values()))))
    rows = np.empty(len(next(iter(columns.values()))), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def measured(result: RunResult) -> Rows:
    """Rows of the requests that arrived in the measured window."""
    rows, settings = records(result, "requests"), result.scenario.run
    found: Rows = rows[(rows["arrived_s"] >= settings.warmup) & (rows["arrived_s"] < settings.end)]
    return found


def visits(result: RunResult, address: str, rows: Rows) -> Rows:
    """Attempt rows of one target for these requests; one visit per request, in order of arrival."""
    attempts = records(result, "attempts")
    here = attempts[attempts["target"] == result.names.index(address)]
    found: Rows = here[(here["request"] >= rows["request"][0]) & (here["request"] <= rows["request"][-1])]
    return found


def times(rows: Rows) -> Column:
    """Time from arrival to answer of each row, in seconds."""
    found: Column = rows["ended_s"] - rows["arrived_s"]
    return found


def found_in_line(rows: Rows) -> Column:
    """How many are there when each arrives, whatever becomes of them."""
    return np.arange(len(rows)) - np.searchsorted(np.sort(rows["ended_s"]), rows["arrived_s"], side="right")


def found_in_system(rows: Rows) -> Column:
    """How many of those that were let in each request finds; who leaves at that very moment has left."""
    entered = rows["outcome"] == 1
    before = np.concatenate(([0], np.cumsum(entered)[:-1]))
    return before - np.searchsorted(np.sort(rows["ended_s"][entered]), rows["arrived_s"], side="right")


def luck_of_arrivals(rows: Rows, rate_rps: float, states: Mapping[str, Column]) -> dict[str, float]:
    """How far gaps were from their mean, plainly and weighted with what is known when the gap begins (`states`, by request)."""
    gaps = np.diff(rows["arrived_s"]) - 1 / rate_rps
    return {"gap": gaps.mean()} | {f"gap × {name}": (gaps * state[:-1]).mean() for name, state in states.items()}


def luck_of_work(work_s: Column, mean_s: float, states: Mapping[str, Column]) -> dict[str, float]:
    """How far work was from its mean, plainly and weighted with what is known when the work is drawn."""
    excess = work_s - mean_s
    return {"work": excess.mean()} | {f"work × {name}": (excess * state).mean() for name, state in states.items()}


def luck_of_line(rows: Rows, rate_rps: float, mean_s: float = 1.0) -> dict[str, float]:
    """Both for a FIFO line in which everyone is served: gaps against times in system before, work against the wait."""
    wait_s, time_s = rows["queue_s"], times(rows)
    return luck_of_arrivals(rows, rate_rps, {"time": time_s}) | luck_of_work(rows["service_s"], mean_s, {"wait": wait_s})


def luck_of_stations(result: RunResult, stations: Mapping[str, Any], rows: Rows, rate_rps: float) -> dict[str, float]:
    """The luck of arrivals and of the work at several FIFO lines that every request visits once."""
    luck = luck_of_arrivals(rows, rate_rps, {"time": times(rows)})
    for name in stations:
        here = visits(result, f"{name}.do", rows)
        own = luck_of_work(here["service_s"], 1, {"wait": here["queue_s"]})
        luck |= {f"{name} {key}": value for key, value in own.items()}
    return luck
