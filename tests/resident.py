"""The memory that this process has in use, as the operating system counts it."""

from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")
needs_proc = pytest.mark.skipif(not _STATUS.exists(), reason="there is no /proc here to read the memory in use")


def resident_bytes():
    lines = _STATUS.read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
