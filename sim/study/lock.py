"""One writer per results directory: a lock that ends with its process, however that ends."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sim.errors import ScenarioError

if sys.platform != "win32":
    import fcntl

_NO_SPACE: Final = {
    errno.ENOSPC: "free some space or ",
    errno.EDQUOT: "free some space, raise the quota or ",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f) or ",
}
_GUARD: Final = threading.Lock()
#: What this process holds: the thread that may take it again, how often it has, and the locked file.
_HELD: Final[dict[Path, tuple[int, int, int | None]]] = {}


def resolved(target: str | Path) -> Path:
    """The path of a results directory as everybody sees it."""
    return Path(target).expanduser().resolve()


@contextmanager
def only_writer(target: str | Path) -> Iterator[bool]:
    """Be the only one, in any process or thread, who writes a results directory; the same thread may nest it.

    Reading needs no lock. It yields whether others are really kept out: where the system or the file system knows no
    locks (Windows, some network drives), nobody is. The operating system takes the lock from a process that was killed.

    Raises:
        ScenarioError: somebody else writes there, or the directory beside it cannot be written.
    """
    path = resolved(target)
    with _GUARD:
        thread, depth, outer = _HELD.get(path, (threading.get_ident(), 0, None))
        if thread != threading.get_ident():
            raise _busy(path, str(os.getpid()))
        handle = _locked(path) if not depth else outer
        _HELD[path] = (thread, depth + 1, handle)
    try:
        yield handle is not None
    finally:
        with _GUARD:
            if depth:
                _HELD[path] = (thread, depth, handle)
            else:
                del _HELD[path]
                if handle is not None:
                    _unlock(path, handle)


def _locked(path: Path) -> int | None:
    """A file descriptor that holds the lock; None where there are no locks."""
    file = _lock_file(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            if not _take(handle, path):
                _unlock(path, handle)
                return None
            if _is_the_file(handle, file):
                break
            os.close(handle)  # its last holder has just removed it
    except OSError as exc:
        raise unwritable(path, exc) from exc
    with suppress(OSError):  # only for the message to others
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
    return handle


def _take(handle: int, path: Path) -> bool:
    """Lock an open file; False where that is impossible.

    Raises:
        ScenarioError: another process, or another thread of this one, has it.
    """
    if sys.platform == "win32":  # there nobody is kept out
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 20).decode(errors="replace").strip()
        os.close(handle)
        raise _busy(path, holder) from None
    except OSError:  # this file system has no locks
        return False
    return True


def _is_the_file(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _unlock(path: Path, handle: int) -> None:
    # First the name, then the lock: whoever opens the name from now on gets a new file.
    with suppress(OSError):
        _lock_file(path).unlink()
    os.close(handle)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _busy(path: Path, holder: str) -> ScenarioError:
    who = f"process {holder}" if holder.isdecimal() else "another process"
    return ScenarioError(f"{path}: {who} is writing results there; wait until it has ended, or choose another directory")


def unwritable(path: Path, exc: OSError) -> ScenarioError:
    """What to say when results cannot be written, with what would help."""
    in_the_way = next((parent for parent in path.parents if os.path.exists(parent) and not os.path.isdir(parent)), None)
    if in_the_way is not None:
        return ScenarioError(f"{path}: cannot write the results: {in_the_way} is a file; choose another directory")
    if exc.errno == errno.ENOENT:  # as in /proc
        there = next(parent for parent in path.parents if os.path.isdir(parent))
        return ScenarioError(f"{path}: cannot write the results: {there} takes no new directories; choose another directory")
    cure = _NO_SPACE.get(exc.errno or 0, "")
    return ScenarioError(f"{path}: cannot write the results ({exc.strerror}); {cure}choose another directory")
