"""Quantities: what is read, what is refused with which lesson, and that writing and reading again loses nothing."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.units import EXAMPLES, exact, format_duration, parse


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("250ms", "duration", 0.25),
        ("1.5 s", "duration", 1.5),
        ("2min", "duration", 120),
        ("1h", "duration", 3600),
        ("1 day", "duration", 86400),
        ("70 µs", "duration", 7e-5),  # micro sign
        ("70 μs", "duration", 7e-5),  # Greek mu
        ("70us", "duration", 7e-5),
        ("1e3 ms", "duration", 1),
        ("0", "duration", 0),
        (" 5 s ", "duration", 5),
        ("120/s", "rate", 120),
        ("40/min", "rate", 40 / 60),
        ("1000/h", "rate", 1000 / 3600),
        ("512 B", "size", 512),
        ("16 KiB", "size", 16384),
        ("1.5 MB", "size", 1.5e6),
        ("1 GiB", "size", 2**30),
        ("99.9 %", "ratio", 0.999),
        ("99.9%", "ratio", 0.999),
        ("0.25", "ratio", 0.25),
        (0.25, "duration", 0.25),
        (3, "rate", 3),
    ],
)
def test_read(text, kind, value):
    assert parse(text, kind) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fast", "rate"),
        ("100 MB/s", "rate"),
        ("5 s", "rate"),
        ("5/s", "duration"),
        ("16 KiB", "duration"),
        ("5 parsec", "duration"),
        ("", "duration"),
        ("s", "rate"),
        ("5 5", "duration"),
        ("5 ** 9 s", "duration"),
        ("__import__('os')", "duration"),
        ("12:30", "duration"),
        ("no", "ratio"),
        ("5 s", "ratio"),
        (True, "duration"),
        (None, "rate"),
        ([1], "size"),
    ],
)
def test_refused_with_an_example_of_what_is_right(text, kind):
    with pytest.raises(ValueError, match="write for example") as caught:
        parse(text, kind)
    assert EXAMPLES[kind] in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "inf s", "nan s", "1e999 s"])
def test_only_finite_numbers(value):
    with pytest.raises(ValueError, match="write for example"):
        parse(value, "duration")


def test_numbers_without_a_unit_are_refused_where_units_are_asked_for():
    with pytest.raises(ValueError, match="250 has no unit"):
        parse(250, "duration", bare_numbers=False)
    assert parse(0, "duration", bare_numbers=False) == 0
    assert parse(0.5, "ratio", bare_numbers=False) == 0.5
    # Text never means a bare number: whoever writes '250' forgot the unit.
    with pytest.raises(ValueError, match="250 has no unit"):
        parse("250", "duration")


@pytest.mark.parametrize("kind", ["duration", "rate", "size"])
def test_a_percentage_is_not_a_quantity(kind):
    with pytest.raises(ValueError, match=kind):
        parse("50 %", kind)


@given(st.floats(0, 1e9))
def test_what_is_written_exactly_is_read_exactly(value):
    assert parse(exact(value, "s"), "duration") == value
    assert parse(exact(value, "/s"), "rate") == value
    assert parse(exact(value, "B"), "size") == value


@given(st.floats(1e-6, 9e5))
def test_a_formatted_duration_is_readable_and_near(seconds):
    assert parse(format_duration(seconds), "duration") == pytest.approx(seconds, rel=6e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.02345, "23.4 ms"),
        (0, "0 s"),
        (125, "125 s"),
        (7e-5, "70 µs"),
        (5000, "5000 s"),
        (-0.5, "-500 ms"),
        (math.inf, "inf s"),
        (1e-9, "0.001 µs"),
    ],
)
def test_format(seconds, text):
    assert format_duration(seconds) == text


def test_format_takes_more_digits():
    assert format_duration(0.023456, digits=4) == "23.46 ms"


@given(st.text(max_size=12), st.sampled_from(sorted(EXAMPLES)))
def test_any_text_is_read_or_refused_but_never_a_crash(text, kind):
    # Any other exception than ValueError fails this test by itself.
    with contextlib.suppress(ValueError):
        assert math.isfinite(parse(text, kind))
