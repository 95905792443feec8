"""What no run of the simulator says anything about: told in every report."""

from __future__ import annotations

from typing import Final

LIMITS: Final = (
    "Results are those of the model: where a scenario's numbers are guesses, so are the results. Differences between candidates "
    "are sounder than absolute latencies.",
    "Work is drawn independently for each request, from the laws that are written; what slows a real service down all at once "
    "(garbage collection, noisy neighbours, cold caches) is there only as far as faults and limits of the scenario say so.",
    "The network delays and loses messages. Only where calls have a protocol do size, bandwidth, connections, what is sent "
    "again, and the processor time of serialisation and handshakes count; queues and logs have none.",
    "Users do not press reload, and do not come back later, unless the load says so.",
    "Intervals are about chance, over replications of the same model. They say nothing about wrong assumptions.",
)
