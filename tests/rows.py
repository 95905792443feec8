"""All rows of a run, down to the last bit."""

from hashlib import sha256

import numpy as np

from sim.records import PARTS


def fingerprint(result):
    """A hash of every column of every table of a run: equal if and only if the rows are, bit for bit."""
    return {
        f"{table}.{name}": sha256(values.dtype.str.encode() + values.tobytes()).hexdigest()
        for table, columns in result.arrays.items()
        for name, values in columns.items()
    }


def require_whole(result):
    """Every request is there once, all of its attempts are, and the parts of its latency add up to it."""
    requests = result.requests
    assert requests.request.tolist() == list(range(len(requests)))
    from_queues = result.effects[result.effects.queue.notna()]
    assert requests.attempts.sum() == len(result.attempts) + from_queues.deliveries.sum()
    ended = requests[requests.outcome != "in_flight"]
    assert (ended[list(PARTS)] >= -1e-12).all().all(), "a part is negative"
    left_s = ended.ended_s - ended.arrived_s - ended[list(PARTS)].sum(axis=1)
    assert np.allclose(left_s, 0, rtol=0, atol=1e-9), f"up to {abs(left_s).max()} s are nowhere"
