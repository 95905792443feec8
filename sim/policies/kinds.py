"""Specs with a `kind`: a field that belongs to another kind is a mistake, and is said to be one."""

from __future__ import annotations

from collections.abc import Mapping

from sim.values import Spec


def refuse_foreign(spec: Spec, where: str, kind: str, owners: Mapping[str, tuple[str, ...]]) -> None:
    """Raise `ValueError` if a field is set (away from its default) that this kind does not read.

    `owners` maps a field to the kinds that read it. A setting that does nothing would otherwise look as if it did.
    """
    for name, kinds in owners.items():
        if kind not in kinds and getattr(spec, name) != type(spec).model_fields[name].default:
            raise ValueError(f"{where}: {name} is read by {', '.join(kinds)} only, not by {kind}; leave it out")
