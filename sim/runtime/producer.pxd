cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.batching cimport Accumulator, Batch
from sim.runtime.messages cimport Message
from sim.runtime.network cimport Line, crossed_s
from sim.runtime.visit cimport Visit
from sim.streams cimport child, uniform

cdef int OK
cdef int REJECTED
cdef int UNREACHABLE
cdef double inf
cdef double _APART_S
cdef unsigned long long _THERE
cdef unsigned long long _BACK
cdef unsigned long long _PAUSE
cdef unsigned long long _WRITE


@cython.final
cdef class Publication:
    cdef readonly Visit visit
    cdef public list copies
    cdef readonly double created_s

    @cython.locals(visit=Visit, network_s=double, lost_s=double, rest_s=double, wrote_s=double, waited_s=double)
    cpdef answer(self, Batch batch, int outcome, double now_s)


@cython.final
cdef class Connection:
    cdef public long in_flight
    cdef readonly dict open
    cdef public bint watched
    cdef public double last_s
    cdef public Reply tail


cdef class Producer:
    cdef readonly object log
    cdef object _spec
    cdef long _zone
    cdef Tasks _tasks
    cdef Line _there
    cdef Line _back
    cdef unsigned long long _bits
    cdef bint _alive
    cdef long _requests
    cdef object _sticky
    cdef readonly Accumulator accumulator
    cdef readonly dict abandoned
    cdef double _most
    cdef double _room
    cdef dict _blocked
    cdef dict _connections

    cdef bint _has_room(self, long partition) except -1
    @cython.locals(fresh=cython.bint)
    cpdef _add(self, Publication publication, long number)
    cpdef _make_room(self)
    @cython.locals(connection=Connection)
    cpdef _pump(self, long node)
    @cython.locals(publication=Publication, now_s=double)
    cpdef _answer(self, Batch batch, int outcome)
