"""Continue a generator. Where the package was compiled, `resume.pyx` takes this module's place and does the same in C."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final


class _Ended:
    def __repr__(self) -> str:
        return "ENDED"


#: What `resume` answers when the generator has returned.
ENDED: Final = _Ended()


def resume(generator: Generator[Any, Any, Any], value: Any) -> Any:
    """Send a value into a generator; return what it yields next, or ENDED when it returns (its result is dropped)."""
    try:
        return generator.send(value)
    except StopIteration:
        return ENDED
