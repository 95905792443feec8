cimport cython

from sim.kernel.tasks cimport Task
from sim.runtime.ledger cimport Open


cdef class Context(Open):
    cdef readonly Request request
    cdef public long attempt
    cdef public unsigned long long key
    cdef public double queue_s
    cdef public double service_s
    cdef public double network_s
    cdef public double backoff_s
    cdef public double lost_s
    cdef public double own_s
    cdef public double own_queue_s

    cpdef begin(self, Request request)
    @cython.locals(other=Context)
    cpdef Context branch(self)
    cpdef add(self, Context other)


@cython.final
cdef class Request(Open):
    cdef readonly long number
    cdef readonly double arrived_s
    cdef readonly Task task
