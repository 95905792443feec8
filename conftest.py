"""Doctests of compiled modules are run from their source by tests/test_compiled.py: pytest finds none in what was compiled."""

import signal
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import settings

_ROOT = Path(__file__).parent
collect_ignore = [
    str(path)
    for path in (_ROOT / "sim").rglob("*.py")
    if any(path.with_name(path.stem + suffix).exists() for suffix in EXTENSION_SUFFIXES)
]

# Machines are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _figures_are_let_go() -> Iterator[None]:
    """Charts that make their own figure leave it to pyplot, which would show it to the next test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
