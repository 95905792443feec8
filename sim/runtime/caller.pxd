cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.balancing cimport Balancer
from sim.policies.breaker cimport BreakerGate
from sim.runtime.context cimport Context
from sim.runtime.recorder cimport Recorder
from sim.runtime.visit cimport Edge, Visit, new_visit
from sim.streams cimport child, uniform

# Constants that this module only reads: C values here, Python's where the module runs uncompiled.
cdef double _INF
cdef long REFUSED
cdef int IN_FLIGHT
cdef int OK
cdef int SHORT_CIRCUITED
cdef int TIMEOUT
cdef int UNREACHABLE
cdef unsigned long long _PAUSE
cdef unsigned long long _PICK
cdef long _STUCK_AFTER


@cython.final
@cython.freelist(64)
cdef class Call:
    cdef Context context
    cdef unsigned long long key
    cdef double left_s
    cdef long number
    cdef long permit
    cdef int outcome

    cpdef begin(self, Context context)


@cython.final
cdef class Caller:
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Edge _edge
    cdef Balancer _balancer
    cdef BreakerGate _breaker
    cdef list _in_flight
    cdef object _retry
    cdef unsigned long long _key

    cpdef forget(self)
    @cython.locals(call=Call)
    cpdef call(self, Context context, unsigned long long key)
    cdef bint _gives_up(self, Call call, int outcome) except -1
    cdef double _pause_s(self, Call call, double previous_s) except? -1
    cdef _stuck(self, Call call)
    @cython.locals(edge=Edge, breaker=BreakerGate, context=Context, visit=Visit, alive=list, now_s=double)
    cdef Visit _send(self, Call call)
    @cython.locals(context=Context)
    cdef _settle(self, Call call, Visit visit, int outcome)
    @cython.locals(edge=Edge, breaker=BreakerGate, now_s=double)
    cdef _note(self, Call call, Visit visit, int outcome)
