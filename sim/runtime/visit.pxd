cimport cython

from sim.kernel.tasks cimport Limit, Reply, Task, Tasks
from sim.runtime.context cimport Context, Request
from sim.runtime.ledger cimport Ledger
from sim.runtime.network cimport Line
from sim.streams cimport child

# Constants that this module only reads: C values here, Python's where the module runs uncompiled.
cdef double _INF
cdef int SILENCE
cdef unsigned long long _THERE
cdef unsigned long long _BACK
cdef unsigned long long _CANCEL
cdef int _ON_THE_WAY
cdef int _SERVED
cdef int _ON_THE_WAY_BACK
cdef int _OVER


cdef class Endpoint:
    cpdef receive(self, Visit visit)


@cython.final
cdef class Target:
    cdef readonly list endpoints
    cdef public list believed_alive


@cython.final
cdef class Edge:
    cdef readonly Tasks tasks
    cdef readonly Ledger ledger
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


cdef class Visit(Context):
    cdef Edge _edge
    cdef readonly Reply reply
    cdef public long chosen
    cdef public unsigned long long call_key
    cdef public double sent_s
    cdef public double started_s
    cdef public double own_network_s
    cdef public Task task
    cdef public object server
    cdef public bint working
    cdef int _stage
    cdef int _outcome
    cdef double _delay_s

    cpdef arise(self, Request request, Edge edge)
    @cython.locals(edge=Edge, reply=Reply)
    cpdef leave(self, double left_s)
    cdef _travel(self, double delay_s)
    @cython.locals(edge=Edge)
    cdef _schedule(self, double delay_s)
    @cython.locals(edge=Edge, reply=Reply, endpoint=Endpoint)
    cpdef fire(self)
    @cython.locals(edge=Edge)
    cpdef answer(self, int outcome)
    cpdef stop(self)
    @cython.locals(edge=Edge)
    cdef _end(self)
    @cython.locals(edge=Edge, reply=Reply)
    cpdef abandon(self)


@cython.locals(visit=Visit)
cpdef Visit new_visit(Request request, Edge edge)
