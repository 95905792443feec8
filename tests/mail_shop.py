"""A shop that publishes to a queue of mails, and what to read of it: for stories about messages."""

from __future__ import annotations

from sim.scenario.model import Scenario
from sim.single import run


def simulate(queue, *, times=(0.0,), work=1.0, send=(), steps=None, duration=60.0, processes=(), mail=(), queues=(), **rest):
    """A shop publishes to `mails` at these times; one mail process with enough workers sends them, `work` seconds each."""
    publish = {"publish": "mails", **dict(send)}
    send_steps = [{"work": work}] if steps is None else steps
    scenario = Scenario(
        services={
            "shop": {"workers": "unlimited", "operations": {"buy": [publish]}},
            "mail": {
                "workers": "unlimited",
                "operations": {"send": {"steps": send_steps, **dict(mail)}, "look": []},
                **rest.pop("process", {}),
            },
        },
        queues={"mails": {"consumer": "mail.send", **queue}, **dict(queues)},
        load={"kind": "replay", "times": tuple(times), "mix": "shop.buy"},
        run={"duration": duration, **rest.pop("run", {})},
        **rest,
    )
    return run(scenario, processes=processes)


def rows(result, queue="mails"):
    """Messages in the order in which the queue took them."""
    effects = result.effects[result.effects.queue == queue]
    return effects.sort_values(["number", "request"]).reset_index(drop=True)


def done(result, queue="mails"):
    return rows(result, queue).done_s.round(9).tolist()


def fates(result, queue="mails"):
    return rows(result, queue).fate.tolist()
