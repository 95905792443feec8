cimport cython

from sim.policies.windows cimport SnapshotWindow, Window
from sim.streams cimport child, uniform

cdef double _INF
cdef int OK
cdef unsigned long long _JITTER
# The public names of the states stay Python's; these are for this module alone.
cdef int _CLOSED
cdef int _OPEN
cdef int _HALF_OPEN


cdef class BreakerGate:
    cdef object _spec
    cdef unsigned long long _key
    cdef long _limit
    cdef long _probes
    cdef double _max_wait_s
    cdef bint _automatic
    cdef long _failing
    cdef long _ignored
    cdef long _era
    cdef int _state
    cdef bint _in_a_row
    cdef bint _plain
    cdef long _failures
    cdef long _opens
    cdef long _opened
    cdef double _until_s
    cdef double _since_s
    cdef long _given
    cdef long _good
    cdef readonly list changes

    cpdef long permit(self, double now_s) except? -2
    cpdef settle(self, long permit, bint succeeded, double now_s, double duration_s=*)
    cpdef finish(self, long permit, int outcome, double now_s, double duration_s)
    cpdef back(self, long permit)
    cpdef int state(self, double now_s) except -1
    cpdef bint lets_through(self, double now_s) except -1
    cdef long _ask(self, double now_s) except? -2
    cdef _answer(self, long permit, bint succeeded, double now_s, double duration_s)
    cdef int _judge(self, bint succeeded, double now_s, double duration_s) except -1
    cdef _catch_up(self, double now_s)
    cdef _open(self, double now_s)
    cdef _turn(self, int state, double now_s)


@cython.final
cdef class WindowGate(BreakerGate):
    cdef Window _window
    cdef SnapshotWindow _snapshot
    cdef long _minimum
    cdef long _needed
    cdef double _failure_percent
    cdef double _slow_percent
    cdef double _slow_s
    cdef bint _on_failure
    cdef long _streak
    cdef long _answers
    cdef long _bad
    cdef long _slow

    @cython.locals(window=Window)
    cdef bint _exceeded(self, double now_s) except -1
