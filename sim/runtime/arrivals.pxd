cimport cython
from libc cimport math

from sim.kernel.tasks cimport Tasks, Waiter
from sim.runtime.ledger cimport Ledger
from sim.runtime.origin cimport Origin
from sim.streams cimport child, uniform

cdef double _INF
cdef unsigned long long _GAP
cdef unsigned long long _ENTRY
cdef unsigned long long _THINK
cdef unsigned long long _THEN
cdef unsigned long long _REQUEST


@cython.final
cdef class Rate:
    cdef list _times
    cdef list _starts
    cdef list _ends
    cdef list _sums
    cdef double _before
    cdef double _until
    cdef double _from_s
    cdef double _start
    cdef double _slope

    @cython.locals(left=double, root=double)
    cpdef double time_of(self, double count) except? -1
    cdef _go_to(self, long piece)


@cython.final
cdef class OpenTimes:
    cdef double _end_s
    cdef object _recorded
    cdef long _number
    cdef double _count
    cdef Rate _rate
    cdef bint _even
    cdef unsigned long long _stream

    @cython.locals(number=long, time_s=double)
    cpdef double next_s(self) except? -1


cdef class _Arrivals(Waiter):
    cdef Tasks _tasks
    cdef Source _source
    cdef OpenTimes _times
    cdef double _end_s
    cdef double _next_s
    cdef long _number

    cpdef fire(self)
    @cython.locals(now_s=double, wakes_s=double)
    cpdef advance(self, object value)


@cython.final
cdef class Source:
    cdef object _load
    cdef double _end_s
    cdef object _seed
    cdef Tasks _tasks
    cdef Ledger _ledger
    cdef unsigned long long _stream
    cdef long _clients
    cdef list _origins
    cdef list _shares
    cdef dict _then

    cpdef start(self)
    @cython.locals(request_key=cython.ulonglong)
    cpdef issue(self, long number)
    cpdef ended(self)
    @cython.locals(u=double, last=long, place=long)
    cdef Origin _entry(self, unsigned long long request_key)
