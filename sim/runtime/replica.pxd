cimport cython

from sim.kernel.tasks cimport Pool, Tasks, Ticket
from sim.runtime.caller cimport Caller
from sim.runtime.recorder cimport Recorder
from sim.runtime.steps cimport Plan, Runnable
from sim.runtime.visit cimport Edge, Endpoint, Target, Visit
from sim.streams cimport child, uniform

cdef double _INF
cdef int SILENCE
cdef int ERROR
cdef int IN_FLIGHT
cdef int OK
cdef int REJECTED
cdef int UNREACHABLE
cdef unsigned long long _INJECTED
cdef unsigned long long _QUOTA
cdef unsigned long long _BACKGROUND


@cython.final
cdef class Replica:
    cdef readonly object world
    cdef readonly Tasks tasks
    cdef Recorder _recorder
    cdef readonly object service
    cdef readonly long index
    cdef readonly Pool pool
    cdef double _max_wait_s
    cdef readonly long served
    cdef readonly list slow_factors
    cdef readonly list errors
    cdef unsigned long long _process_key
    cdef readonly object cpu
    cdef dict _callers
    cdef long _crashes
    cdef bint _silent
    cdef object __weakref__

    cpdef double slowness(self) except? -1
    @cython.locals(caller=Caller)
    cpdef Caller caller(self, Edge edge)
    cpdef receive(self, Visit visit, Plan plan)
    cdef bint _begins(self, Visit visit, Plan plan) except -1
    cdef _ends(self, Visit visit, Ticket ticket)


cdef class ReplicaOperation(Endpoint):
    cdef Replica _replica
    cdef Plan _plan

    cpdef receive(self, Visit visit)
