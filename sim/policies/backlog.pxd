cimport cython

from sim.policies.backlog_lines cimport Item, ReadyLine

cdef int DELAYED
cdef int GONE
cdef int PAUSED
cdef int READY
cdef int UNACKNOWLEDGED
cdef double inf


cdef class BacklogGate:
    cdef ReadyLine _line
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
    cdef set _coming
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

    cpdef int sent_before(self, unsigned long long id_, double now_s) except -1
    cpdef wrote(self, unsigned long long id_, double now_s, bint safe)
    cpdef bint admits(self, long coming) except -1
    cpdef list accept(self, Item item, double now_s)
    @cython.locals(item=Item)
    cpdef Item take(self, double now_s, Item after=*)
    cpdef bint acknowledge(self, Item item, long era) except -1
    cpdef list refuse(self, Item item, long era, double now_s)
    cpdef list give_back(self, Item item, long era, double now_s)
    cpdef list lose(self, Item item)
    cdef _withdraw(self, Item item)
    cdef bint _is_out(self, Item item, long era) except -1
    cdef _wait(self, object where, double until_s, Item item)
    @cython.locals(head=Item)
    cdef list _append(self, Item item)
    cdef list _come_back(self, Item item, double now_s, bint restored, bint counted=*)
    cdef list _given_up(self, Item item, str reason)
    cdef _leave(self, Item item)
