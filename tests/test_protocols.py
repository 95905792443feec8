"""Calls with a protocol: round trips, windows, losses, bytes and processor time, in stories with times."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim import theory
from sim.policies.codecs import Compression
from sim.policies.payloads import Size
from sim.scenario.model import Scenario
from sim.scenario.profiles import COMPRESSIONS, PROFILES
from sim.scenario.protocols import Protocol
from sim.single import run

FREE = {"encode_per_message": 0.0, "encode_per_kb": 0.0, "decode_per_message": 0.0, "decode_per_kb": 0.0}
NO_CPU = {"client_cpu": 0.0, "server_cpu": 0.0, "resumed_client_cpu": 0.0, "resumed_server_cpu": 0.0}


def scenario(protocol, *, link=None, request=0, response=2, work=0.0, times=(1.0, 1.2), calls=None, service=None, **more):
    """One client that asks one service at given times; a round trip takes 20 ms."""
    get = {"request": request, "response": response, "steps": [{"work": work}]}
    gaps = [times[0], *(b - a for a, b in zip(times, times[1:], strict=False))]
    load = {"mix": "s.get", **(more.pop("load", None) or {"kind": "trace", "gaps": gaps})}
    return Scenario.model_validate(
        {
            "services": {"s": {"workers": 10, "operations": {"get": get}, **(service or {})}},
            "links": {"default": {"latency": 0.01, **(link or {})}},
            "calls": {"default": {"protocol": protocol, **(calls or {})}},
            "load": load,
            "run": {"duration": 60.0, "warmup": 0.0},
            **more,
        }
    )


def latencies_s(case, seed=1):
    found = run(case, seed=seed).requests
    return (found.ended_s - found.arrived_s).tolist()


def bare(**more):
    """Without processor time, so that times are round trips."""
    return {"profile": "rest-json", "codec": FREE, "handshake": NO_CPU, "security": "none", **more}
