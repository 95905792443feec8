cimport cython

from sim.kernel.tasks cimport Reply, Task, Tasks
from sim.runtime.messages cimport Message
from sim.runtime.replica cimport Replica
from sim.streams cimport child, uniform

cdef int DEGRADED
cdef int OK
cdef int GONE
cdef unsigned long long _ASK
cdef unsigned long long _DELIVER
cdef unsigned long long _COMMIT
cdef unsigned long long _BEAT
cdef unsigned long long _JOIN
cdef unsigned long long _LEAVE
cdef unsigned long long _FIRST
cdef unsigned long long _PHASE


@cython.final
cdef class Reading:
    cdef readonly long number
    cdef readonly dict messages
    cdef readonly dict done
    cdef public long start
    cdef public long committed
    cdef public long position
    cdef public long fetched
    cdef public long end
    cdef public object reader
    cdef public long era


cdef class Reader:
    cdef readonly object group
    cdef readonly Replica replica
    cdef object _spec
    cdef Tasks _tasks
    cdef unsigned long long _key
    cdef long _drawn
    cdef public long membership
    cdef public tuple owned
    cdef tuple _news
    cdef bint _called
    cdef bint _out
    cdef object _buffer
    cdef object _batch
    cdef readonly dict asking
    cdef Reply _bell
    cdef double _polled_s
    cdef bint _polling
    cdef double _commits_s
    cdef Task _loop
    cdef Task _beating
    cdef dict _fetching
    cdef list _others

    cdef unsigned long long _bits(self, unsigned long long purpose) except? 0
    cdef _ring(self)
    @cython.locals(reading=Reading, message=Message)
    cdef _take(self)
    @cython.locals(reading=Reading)
    cdef list _found(self, long zone)
    cdef _fetch_anew(self)
    cpdef long source(self, long number) except? -2
    @cython.locals(reading=Reading)
    cdef bint _reset(self, Reading reading) except -1
