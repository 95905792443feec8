"""Recordings for the tests of calibration: traces that can be counted on fingers, a system with a known answer, the real ones."""

import os
from pathlib import Path

import pytest
from spans_of import Trace

from sim.scenario.model import Scenario

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("SIM_DATA", ROOT.parent / "shared" / "data")) / "online-boutique"
needs_data = pytest.mark.skipif(
    not (DATA / "fault-free.csv.gz").exists(), reason=f"no recordings at {DATA}; set SIM_DATA to their directory"
)

PAGE_NAMES = {
    "list_products": "home",
    "get_ads_and_list_recommendations": "product",
    "get_quote": "cart",
    "add_item": "add_to_cart",
    "no_calls": "set_currency",
    "place_order": "checkout",
}
UNRECORDED = {"checkoutservice.ConvertCurrency": "currencyservice.Convert"}


def shop_trace(number, own_ms=10.0, carts=2, skew_ms=0.0):
    """0 to 10 ms own work, then cart.Get twice in a row (5 ms each), then stock.Check and price.Ask at once."""
    trace = Trace(f"t{number}", 1000 * number, skew_ms)
    root = trace.add("root", "shop", "Shop/Buy", 0, own_ms + 5 * carts + 8)
    at = own_ms
    for _ in range(carts):
        trace.call(root, "shop", "cart", "Get", at, at + 5)
        at += 5
    detail = trace.add(root, "shop", "gather", at, at + 8)
    trace.call(detail, "shop", "stock", "Check", at, at + 8)
    server = trace.call(detail, "shop", "price", "Ask", at + 0.5, at + 7.5)
    trace.add(server, "price", "sql.query", at + 2, at + 3)
    return trace.rows


LINK_S = 0.001


def simulated_system(rates):
    """A shop with two calls; `rates` is its converter of currencies."""
    return Scenario(
        services={
            "shop": {
                "workers": "unlimited",
                "operations": {
                    "buy": [
                        {"work": {"lognormal": {"mean": "8ms", "cv": 0.5}}},
                        {"call": "rates.convert", "count": 4},
                        {"call": "stock.check"},
                    ],
                    "look": [{"work": "2ms"}, {"call": "rates.convert", "count": {1: 1, 2: 1}}],
                },
            },
            "stock": {"workers": "unlimited", "operations": {"check": [{"work": {"exponential": "5ms"}}]}},
            "rates": rates,
        },
        links={"shop": "1ms"},
        load={"rate": 12, "mix": {"shop.buy": 1, "shop.look": 2}},
        run={"duration": "240s"},
    )


UNLIMITED = {"workers": "unlimited", "operations": {"convert": [{"work": {"lognormal": {"mean": "4ms", "cv": 0.6}}}]}}
LIMITED = {**UNLIMITED, "workers": 1, "cpu": {"quota": "20ms"}}
