"""All rows of a run, down to the last bit."""

from hashlib import sha256

import numpy as np


def fingerprint(result):
    """A hash of every column of every table of a run: equal if and only if the rows are, bit for bit."""
    return {
        f"{table}.{name}": sha256(values.dtype.str.encode() + values.tobytes()).hexdigest()
        for table, columns in result.arrays.items()
        for name, values in columns.items()
    }


def records(result, table):
    """A table of a run as one structured array, for masks over whole rows."""
    columns = result.arrays[table]
    rows = np.empty(len(next(iter(columns.values()))), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows
