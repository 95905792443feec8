cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.laws cimport Sampler
from sim.runtime.caller cimport Call as CallInMotion, Caller
from sim.runtime.context cimport Context
from sim.runtime.replica cimport Replica
from sim.runtime.visit cimport Edge, Visit
from sim.streams cimport child, uniform

cdef int DEGRADED
cdef int ERROR
cdef int IN_FLIGHT
cdef int OK
cdef int TIMEOUT
cdef int UNREACHABLE
cdef unsigned long long _HAPPENS
cdef unsigned long long _COUNT
cdef unsigned long long _ROUND


cdef class Runnable:
    cpdef double holds_s(self, Replica replica, Context context) except? -2
    cpdef CallInMotion begun_call(self, Replica replica, Context context)
    cpdef run(self, Replica replica, Context context)


@cython.final
cdef class Plan:
    cdef object _operation
    cdef readonly str name
    cdef readonly int code
    cdef readonly bint effect
    cdef readonly bint passes_on
    cdef readonly long priority
    cdef public tuple steps


cdef class WorkStep(Runnable):
    cdef Sampler _law
    cdef unsigned long long _salt

    cpdef double holds_s(self, Replica replica, Context context) except? -2
    cdef double _duration_s(self, Replica replica, Context context) except? -2


cdef class EachStep(WorkStep):
    cdef double _duration_s(self, Replica replica, Context context) except? -2


cdef class FurtherStep(WorkStep):
    cdef double _duration_s(self, Replica replica, Context context) except? -2


cdef class FailStep(Runnable):
    cdef double _probability
    cdef unsigned long long _salt
    cdef WorkStep _work

    cdef bint _passes(self, Context context) except -1
    cpdef double holds_s(self, Replica replica, Context context) except? -2


cdef class ForwardStep(Runnable):
    cdef Edge _edge
    cdef unsigned long long _salt

    cpdef CallInMotion begun_call(self, Replica replica, Context context)
    @cython.locals(visit=Visit, first=cython.bint)
    cdef unsigned long long _key(self, Context context) except? 0


cdef class CallStep(Runnable):
    cdef Edge _edge
    cdef object _count
    cdef bint _in_parallel
    cdef double _probability
    cdef bint _once
    cdef bint _required
    cdef unsigned long long _salt

    cpdef double holds_s(self, Replica replica, Context context) except? -2
    @cython.locals(caller=Caller)
    cpdef CallInMotion begun_call(self, Replica replica, Context context)
    @cython.locals(caller=Caller)
    cpdef run(self, Replica replica, Context context)
    cdef long _times(self, Context context) except -1


cdef class ParallelStep(Runnable):
    cdef list _branches


cdef class ReadVersionStep(Runnable):
    cdef str _row


cdef class CommitStep(Runnable):
    cdef str _row


cdef class SagaStep(Runnable):
    cdef str _failed
    cdef tuple _parts


cdef class CachedSteps(Runnable):
    cdef tuple _steps
    cdef object _cache
    cdef int _code
    cdef unsigned long long _salt


cdef class RepeatStep(Runnable):
    cdef tuple _steps
    cdef object _count
    cdef unsigned long long _salt
