cimport cython

from sim.kernel.tasks cimport Reply, Task
from sim.runtime.ledger cimport Open
from sim.runtime.network cimport Line


@cython.freelist(64)
cdef class Context(Open):
    cdef readonly Request request
    cdef readonly long attempt
    cdef readonly unsigned long long key
    cdef public double queue_s
    cdef public double service_s
    cdef public double network_s
    cdef public double backoff_s
    cdef public double lost_s
    cdef public double own_s
    cdef public double own_queue_s

    cpdef add(self, Context other)


@cython.final
@cython.freelist(64)
cdef class Request(Open):
    cdef readonly long number
    cdef readonly double arrived_s
    cdef readonly Task task


@cython.final
@cython.freelist(64)
cdef class Visit(Context):
    cdef readonly unsigned long long call_key
    cdef readonly double sent_s
    cdef public double started_s
    cdef public double own_network_s
    cdef public Reply reply
    cdef public Line back
    cdef public Task task
    cdef public object server
    cdef public bint working
