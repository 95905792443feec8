cimport cython

from sim.kernel.tasks cimport Tasks
from sim.runtime.ledger cimport Open

cdef double _INF
cdef int DEGRADED
cdef int OK


cdef class Context(Open):
    cdef readonly long request
    cdef readonly double arrived_s
    cdef readonly int entry
    cdef public long attempt
    cdef public unsigned long long key
    cdef public object stamp
    cdef public object batch
    cdef public double due_s
    cdef public bint degraded
    cdef public double queue_s
    cdef public double service_s
    cdef public double network_s
    cdef public double backoff_s
    cdef public double lost_s
    cdef public double own_s
    cdef public double own_queue_s

    cdef begin(self, long request, double arrived_s, int entry)
    @cython.locals(other=Context)
    cpdef Context branch(self)
    cpdef add(self, Context other)
    cpdef bint goes_on(self, int outcome) except -1
