cimport cython

from sim.policies.backlog_lines cimport Line

# The public names of the states stay Python's; these are for this module alone.
cdef int _DELAYED
cdef int _READY
cdef int _UNACKNOWLEDGED
cdef int _PAUSED
cdef int _GONE
cdef double inf


cdef class Entry:
    cdef public long group
    cdef public long rank
    cdef public long number
    cdef public long place
    cdef public int state
    cdef public long era
    cdef public long deliveries
    cdef public double accepted_s
    cdef public double expires_s


cdef class BacklogGate:
    cdef Line _line
    cdef double _most_ready
    cdef bint _drops
    cdef double _most_deliveries
    cdef double _most_out
    cdef double _lives_s
    cdef double _delay_s
    cdef double _pause_s
    cdef double _sees_s
    cdef bint _restores
    cdef bint _accepts_late
    cdef bint _before
    cdef object _seen
    cdef object _delayed
    cdef object _paused
    cdef object _out
    cdef object _expiring
    cdef long _accepted
    cdef long _sequence
    cdef readonly double next_s
    cdef readonly long ready
    cdef readonly long unacknowledged
    cdef readonly long stored

    cpdef bint knows(self, unsigned long long id_, double now_s) except -1
    cpdef forget(self, unsigned long long id_)
    cpdef bint admits(self, long coming) except -1
    cpdef list accept(self, Entry entry, double now_s)
    @cython.locals(entry=Entry)
    cpdef Entry take(self, double now_s, Entry after=*)
    cpdef bint acknowledge(self, Entry entry, long era) except -1
    cpdef list refuse(self, Entry entry, long era, double now_s)
    cpdef list give_back(self, Entry entry, long era, double now_s)
    cpdef list lose(self, Entry entry)
    cdef bint _is_out(self, Entry entry, long era) except -1
    cdef _wait(self, object where, double until_s, Entry entry)
    @cython.locals(head=Entry)
    cdef list _append(self, Entry entry)
    cdef list _come_back(self, Entry entry, double now_s, bint restored, bint counted=*)
    cdef list _given_up(self, Entry entry, str reason)
    cdef _leave(self, Entry entry)
