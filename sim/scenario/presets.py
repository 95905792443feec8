"""Presets: what a real system does to calls, with its own numbers, by name and version: ``preset: envoy@1.40``.

Absent is not off: a preset says what its system does when nothing is configured (`on`), and from which numbers a block
starts once it is configured (`blocks`). Whoever names a preset overrides what they want::

    calls:
      default: {preset: resilience4j@2, circuit_breaker: {window_size: 20}}    # the rest of its breaker as resilience4j has it

The numbers of each system stand in one of the modules of `sim.scenario.systems`, each with its source.
"""

from __future__ import annotations

from typing import Final

from sim.scenario.preset import Preset, merged
from sim.scenario.systems import balancers, clients, libraries, proxies

__all__ = ["PRESETS", "Preset", "merged"]

#: All presets, by name.
PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset for preset in (*proxies.SYSTEMS, *balancers.SYSTEMS, *clients.SYSTEMS, *libraries.SYSTEMS)
}
