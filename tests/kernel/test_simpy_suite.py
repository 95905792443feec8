"""What SimPy's own tests say about the compiled kernel."""

import pytest

pytest.importorskip("sim.kernel.core", reason="the kernel was not compiled here")

import simpy_suite


@pytest.mark.slow
def test_every_test_that_passes_on_simpy_passes_on_the_kernel():
    try:
        outcomes, lost = simpy_suite.compare()
    except simpy_suite.UnreachableError as reason:
        pytest.skip(str(reason))
    assert lost == []
    for kind in simpy_suite.KINDS:
        assert sum(outcome == "passed" for outcome in outcomes[kind].values()) > 150, kind
