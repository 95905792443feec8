cimport cython

from sim.kernel.tasks cimport Limit, Reply, Task, Tasks
from sim.policies.balancing cimport Balancer
from sim.policies.breaker cimport BreakerGate
from sim.runtime.context cimport Context, Visit
from sim.runtime.ledger cimport Ledger
from sim.runtime.network cimport Line
from sim.runtime.recorder cimport Recorder
from sim.streams cimport child, uniform

# Constants that this module only reads: C values here, Python's where the module runs uncompiled.
cdef double _INF
cdef int SILENCE
cdef long REFUSED
cdef int IN_FLIGHT
cdef int OK
cdef int TIMEOUT
cdef int UNREACHABLE
cdef int SHORT_CIRCUITED
cdef unsigned long long _PAUSE
cdef unsigned long long _PICK
cdef unsigned long long _THERE
cdef unsigned long long _BACK
cdef unsigned long long _CANCEL
cdef long _STUCK_AFTER


cdef class Endpoint:
    cpdef serve(self, Visit visit)


@cython.final
cdef class Target:
    cdef readonly list endpoints
    cdef public list believed_alive


@cython.final
cdef class Edge:
    cdef readonly object policy
    cdef readonly double timeout_s
    cdef readonly double per_try_s
    cdef readonly Limit per_try
    cdef readonly bint cancellation
    cdef readonly Target target
    cdef readonly Line there
    cdef readonly Line back
    cdef readonly int caller_code
    cdef readonly int target_code
    cdef readonly tuple names


@cython.final
@cython.freelist(64)
cdef class Call:
    cdef Context context
    cdef unsigned long long key
    cdef double left_s
    cdef long number


@cython.final
cdef class Caller:
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Ledger _ledger
    cdef Edge _edge
    cdef Balancer _balancer
    cdef BreakerGate _breaker
    cdef list _in_flight
    cdef object _retry
    cdef bint _once

    @cython.locals(call=Call)
    cpdef call(self, Context context, unsigned long long key)
    cdef _stuck(self, long number)
    cdef _permitted(self, Call call)
    @cython.locals(edge=Edge, reply=Reply)
    cdef Reply _send(self, Visit visit, Endpoint endpoint, double left_s)
    @cython.locals(reply=Reply, task=Task)
    cdef _abandon(self, Visit visit)


@cython.locals(back=Line)
cpdef double way_back_s(Visit visit) except? -2
@cython.locals(reply=Reply)
cpdef arrived(Visit visit, int outcome, double delay_s)
