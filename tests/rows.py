"""All rows of a run, down to the last bit."""

from hashlib import sha256

import numpy as np

from sim.records import TABLES


def fingerprint(result):
    """A hash of every column of every table of a run: equal if and only if the rows are, bit for bit."""
    return {
        f"{table}.{name}": sha256(values.dtype.str.encode() + values.tobytes()).hexdigest()
        for table, columns in result.arrays.items()
        for name, values in columns.items()
    }


def records(result, table):
    """A table of a run as one structured array, for masks over whole rows; with the numbers of rows that are numbered."""
    columns = dict(result.arrays[table])
    for number in (one.number for one in TABLES if one.name == table and one.number):
        columns[number] = np.arange(len(next(iter(columns.values()))))
    rows = np.empty(len(next(iter(columns.values()))), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows
