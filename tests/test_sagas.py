"""Sagas: what is undone, in which order and when; told by times."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim.analysis import done_though_failed
from sim.scenario.model import Scenario
from sim.single import run

BOOK = {"do": {"call": "bank.charge"}, "undo": {"call": "bank.refund"}}
RESERVE = {"do": {"call": "stock.reserve"}, "undo": {"call": "stock.release"}}
SHIP = {"do": {"call": "post.ship"}}


def simulate(steps, *, times=(0.0,), ship=(), calls=None, services=(), duration=60.0, **rest):
    """An order of parts that take a second each, charge, reserve and ship; undoing takes two."""

    def op(*steps):
        return {"effect": True, "steps": [{"work": 1.0}, *steps]}

    undo = {"effect": True, "steps": [{"work": 2.0}]}
    return run(
        Scenario(
            services={
                "shop": {"workers": "unlimited", "operations": {"order": steps}},
                "bank": {"workers": "unlimited", "operations": {"charge": op(), "refund": undo}},
                "stock": {"workers": "unlimited", "operations": {"reserve": op(), "release": undo}},
                "post": {"workers": "unlimited", "operations": {"ship": op(*ship)}},
                **dict(services),
            },
            calls=calls or {},
            load={"kind": "replay", "times": tuple(times), "mix": "shop.order"},
            run={"duration": duration},
            **rest,
        )
    )


def told(result):
    """Every effect with the time at which it was there, in that order; and when the user had the answer."""
    rows = result.effects.dropna(subset="done_s").sort_values("done_s", kind="stable")
    effects = [(str(row.effect).split(".")[1], round(row.done_s, 6)) for row in rows.itertuples()]
    return effects, result.requests.outcome.tolist(), result.requests.ended_s.round(6).tolist()


def test_all_parts_in_order():
    effects, outcomes, ended_s = told(simulate([{"saga": [BOOK, RESERVE, SHIP]}]))
    assert effects == [("charge", 1.0), ("reserve", 2.0), ("ship", 3.0)]
    assert (outcomes, ended_s) == (["ok"], [3.0])


def test_what_was_done_before_a_failure_is_undone_from_the_last_to_the_first():
    result = simulate([{"saga": [BOOK, RESERVE, SHIP]}], ship=[{"fail": 1.0}])
    effects, outcomes, ended_s = told(result)
    assert effects == [("charge", 1.0), ("reserve", 2.0), ("release", 5.0), ("refund", 7.0)]
    assert (outcomes, ended_s) == (["error"], [7.0])
    assert result.requests.service_s.item() == pytest.approx(7.0)  # its time is accounted for, that of undoing too


def test_without_a_saga_it_stays_done():
    steps = [part["do"] for part in (BOOK, RESERVE, SHIP)]
    result = simulate(steps, ship=[{"fail": 1.0}])
    assert told(result)[0] == [("charge", 1.0), ("reserve", 2.0)]
    paid = done_though_failed(result.requests, result.effects, "bank.charge", undone_by="bank.refund")
    assert paid.iloc[0].to_dict() == {"failed": 1, "done": 1, "requests": 1}
    result = simulate([{"saga": [BOOK, RESERVE, SHIP]}], ship=[{"fail": 1.0}])
    paid = done_though_failed(result.requests, result.effects, "bank.charge", undone_by="bank.refund")
    assert paid.iloc[0].to_dict() == {"failed": 1, "done": 0, "requests": 1}
    assert done_though_failed(result.requests, result.effects, "bank.charge").done.item() == 1, "where nobody says what undoes it"


@pytest.mark.parametrize(("undo_failed", "released"), [("never", False), ("unknown", True), ("always", True)])
def test_a_part_that_timed_out_may_have_been_done(undo_failed, released):
    # Reserving takes a second, and its caller waits for half of one: it is done all the same, at 2 s.
    saga = {"saga": [BOOK, RESERVE, SHIP], "undo_failed": undo_failed}
    effects, outcomes, _ = told(simulate([saga], calls={"stock.reserve": {"timeout": 0.5}}))
    assert ("reserve", 2.0) in effects
    assert (("release", 3.5) in effects) == released
    assert ("refund", 5.5 if released else 3.5) in effects
    assert outcomes == ["error"]


@pytest.mark.parametrize(("undo_failed", "undone"), [("never", False), ("unknown", False), ("always", True)])
def test_a_part_that_was_refused_was_not_done(undo_failed, undone):
    ship = {"do": {"call": "post.ship"}, "undo": {"call": "stock.release"}}
    saga = {"saga": [BOOK, ship], "undo_failed": undo_failed}
    effects, _, _ = told(simulate([saga], ship=[{"fail": 1.0}]))
    assert ("release" in dict(effects)) == undone


def test_what_cannot_be_undone_is_left_and_the_rest_still_is():
    down = [{"crash": "stock", "at": 2.5}]
    effects, outcomes, ended_s = told(simulate([{"saga": [BOOK, RESERVE, SHIP]}], ship=[{"fail": 1.0}], faults=down))
    assert effects == [("charge", 1.0), ("reserve", 2.0), ("refund", 5.0)]
    assert (outcomes, ended_s) == (["error"], [5.0])


def test_an_undo_is_retried_as_its_call_says():
    down = [{"crash": "stock", "at": 2.5, "for": 3.0}]
    patient = {"stock.release": {"retry": {"max_attempts": 10, "backoff": {"kind": "constant", "base": 1.0}}}}
    effects, _, _ = told(simulate([{"saga": [BOOK, RESERVE, SHIP]}], ship=[{"fail": 1.0}], faults=down, calls=patient))
    assert effects == [("charge", 1.0), ("reserve", 2.0), ("release", 9.0), ("refund", 11.0)]  # tries at 3, 4, 5, 6, 7 s


def test_undoing_has_no_deadline():
    # The user waits for 2.5 s and says so to everybody; without a deadline of its own the undoing would be over at once.
    policy = {"client": {}, "shop": {"timeout": 2.5, "propagate_deadline": True, "cancellation": False}}
    calls = {"client -> shop": policy["shop"], "default": {"propagate_deadline": True}}
    effects, outcomes, _ = told(simulate([{"saga": [BOOK, RESERVE, SHIP]}], ship=[{"work": 5.0}], calls=calls))
    assert outcomes == ["timeout"]
    assert effects[:2] == [("charge", 1.0), ("reserve", 2.0)]
    assert ("release", 4.5) in effects
    assert ("refund", 6.5) in effects


def test_a_process_that_dies_in_the_middle_undoes_nothing():
    effects, outcomes, _ = told(simulate([{"saga": [BOOK, RESERVE, SHIP]}], faults=[{"crash": "shop", "at": 2.5}]))
    assert effects == [("charge", 1.0), ("reserve", 2.0), ("ship", 3.0)]  # nobody is there to hear of it
    assert outcomes == ["unreachable"]


def test_as_a_consumer_it_starts_again_from_the_beginning():
    queue = {"orders": {"consumer": "flow.order", "redelivery_delay": 1.0}}
    flow = {"flow": {"workers": "unlimited", "operations": {"order": [{"saga": [BOOK, RESERVE, SHIP]}]}}}
    once = [{"errors": "post", "ratio": 1.0, "at": 0.0, "for": 5.0}]
    effects, outcomes, _ = told(simulate([{"publish": "orders"}], queues=queue, services=flow, faults=once))
    # Shipping fails at 2 s: release until 4, refund until 6 s; delivered again a second later.
    first = [("charge", 1.0), ("reserve", 2.0), ("release", 4.0), ("refund", 6.0)]
    assert [effect for effect in effects if effect[0] != "order"] == [*first, ("charge", 8.0), ("reserve", 9.0), ("ship", 10.0)]
    assert outcomes == ["ok"]


def test_choreographed_each_consumer_tells_that_it_failed():
    # charge -> charged -> reserve, which fails -> not_reserved -> refund
    services = {
        "billing": {
            "workers": "unlimited",
            "operations": {
                "on_order": [{"call": "bank.charge"}, {"publish": "charged"}],
                "on_not_reserved": [{"call": "bank.refund"}],
            },
        },
        "storage": {
            "workers": "unlimited",
            "operations": {
                "on_charged": [{"saga": [{"do": [], "undo": {"publish": "not_reserved"}}, {"do": {"call": "post.ship"}}]}]
            },
        },
    }
    queues = {
        "orders": {"consumer": "billing.on_order"},
        "charged": {"consumer": "storage.on_charged", "max_deliveries": 1},
        "not_reserved": {"consumer": "billing.on_not_reserved"},
    }
    result = simulate([{"publish": "orders"}], queues=queues, services=services, ship=[{"fail": 1.0}])
    effects = [effect for effect in told(result)[0] if not effect[0].startswith("on_")]
    assert effects == [("charge", 1.0), ("refund", 4.0)]


def test_inside_other_steps_and_with_several_steps_each():
    part = {"do": [{"work": 1.0}, {"call": "bank.charge"}], "undo": [{"work": 0.5}, {"call": "bank.refund"}]}
    branches = [{"saga": [part, SHIP]}, {"work": 1.0}]
    effects, outcomes, ended_s = told(simulate([{"parallel": branches}], ship=[{"fail": 1.0}]))
    assert effects == [("charge", 2.0), ("refund", 5.5)]
    assert (outcomes, ended_s) == (["error"], [5.5])


@pytest.mark.parametrize(
    ("saga", "words"),
    [
        ([], "at least 1 item"),
        ([{"undo": {"call": "bank.refund"}}], "do"),
        ([{"do": {"call": "bank.charg"}}], "bank.charge"),
        ([{"do": {"call": "bank.charge"}, "redo": []}], "redo"),
    ],
)
def test_what_cannot_be_is_told(saga, words):
    with pytest.raises(ValidationError, match=words):
        simulate([{"saga": saga}])
