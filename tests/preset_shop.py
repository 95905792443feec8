"""A shop whose calls and publishes have settings: what the tests of presets read."""

from __future__ import annotations

from sim.scenario.calls import CallPolicy
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads


def policy(calls: str, target: str = "stock.get", replicas: int = 2) -> CallPolicy:
    """The policy of a shop's calls to its stock (or to the queue `mails`) under some settings of `calls`."""
    return scenario(calls, replicas).policy("shop", target)


def scenario(calls: str, replicas: int = 2) -> Scenario:
    found = loads(f"""
services:
  shop: {{workers: 4, operations: {{buy: [{{call: stock.get}}, {{publish: mails}}]}}}}
  stock: {{workers: 4, replicas: {replicas}, operations: {{get: [{{work: 1ms}}], send: [{{work: 1ms}}]}}}}
queues: {{mails: {{consumer: stock.send}}}}
load: {{rate: 1/s, mix: shop.buy}}
calls: {{{calls}}}
""")
    assert isinstance(found, Scenario)
    return found
