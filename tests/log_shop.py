"""A shop that publishes to a log of mails, and what to read of it: for stories about partitions and groups."""

from __future__ import annotations

from sim.scenario.model import Scenario
from sim.single import run


def shop(
    *, times=(0.0,), work=1.0, send=(), steps=None, duration=60.0, log=(), consuming=(), producer=(), groups=None, process=(),
    mail=(), shop=(), **rest,
):  # fmt: skip
    """A shop publishes to `mails` at these times; one mail process with enough workers sends them, `work` seconds each."""
    publish = {"publish": "mails", **dict(send)}
    send_steps = [{"work": work}] if steps is None else steps
    mails = {"groups": {"senders": {"consumer": "mail.send"}} if groups is None else groups, **dict(log)}
    if consuming:
        mails["consuming"] = dict(consuming)
    if producer:
        mails["producer"] = dict(producer)
    return Scenario(
        services={
            "shop": {"workers": "unlimited", "operations": {"buy": [publish]}, **dict(shop)},
            "mail": {
                "workers": "unlimited",
                "operations": {"send": {"steps": send_steps, **dict(mail)}, "look": []},
                **dict(process),
            },
        },
        logs={"mails": mails},
        load=rest.pop("load", {"kind": "replay", "times": tuple(times), "mix": "shop.buy"}),
        run={"duration": duration, **rest.pop("run", {})},
        **rest,
    )


def simulate(*, seed=None, processes=(), **settings):
    return run(shop(**settings), seed, processes=processes)


def rows(result, group="mails.senders"):
    """Messages in the order in which they were published."""
    effects = result.effects[result.effects.queue == group]
    return effects.sort_values(["number", "request", "published_s"]).reset_index(drop=True)


def done(result, group="mails.senders"):
    return rows(result, group).done_s.round(6).tolist()


def fates(result, group="mails.senders"):
    return rows(result, group).fate.tolist()
