"""Named random streams: every draw is a function of one seed, a name and a key, never of what was drawn before.

A draw is keyed by *what it is for* (this request, this call, this attempt, this step), so two candidates
see the same arrivals, the same work and the same faults, also after one of them has retried.

The mixer is the finaliser of splitmix64 (Stafford's variant 13), applied to key + salt: a counter-based generator
in the sense of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11), with a cheaper mixer.
Use `key` for names (slow, once), `child` for the next level (fast), `uniform` for a number.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cython

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_STEP, _MIX_1, _MIX_2 = 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB


def key(seed: int, *names: str | int) -> int:
    """Name a stream: a 64-bit key from the seed and any number of names.

    >>> key(1, "arrivals") == key(1, "arrivals"), key(1, "arrivals") == key(2, "arrivals")
    (True, False)
    """
    text = "\x1f".join((str(seed), *map(str, names)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def salt(*names: str | int) -> int:
    """Name a purpose, independent of the seed: a 64-bit constant to give to `child`."""
    return key(0, "salt", *names)


def child(parent: cython.ulonglong, purpose: cython.ulonglong) -> cython.ulonglong:
    """Derive a 64-bit key from a parent key and a purpose (a salt, a counter, or another key)."""
    x = (parent + purpose * _STEP) & _MASK
    x = ((x ^ (x >> 30)) * _MIX_1) & _MASK
    x = ((x ^ (x >> 27)) * _MIX_2) & _MASK
    return x ^ (x >> 31)


def uniform(bits: cython.ulonglong) -> float:
    """Turn 64 random bits into a number in the open interval (0, 1), 53 bits fine: neither 0 nor 1 occurs.

    >>> uniform(0) > 0, uniform(2**64 - 1) < 1
    (True, True)
    """
    return ((bits >> 12) + 0.5) * 2.220446049250313e-16
