cimport cython

from sim.kernel.tasks cimport Limit, Reply, Task, Tasks, Ticket
from sim.runtime.context cimport Context
from sim.runtime.ledger cimport Ledger
from sim.runtime.network cimport Line, crossed_s
from sim.streams cimport child

# Constants that this module only reads: C values here, Python's where the module runs uncompiled.
cdef double _INF
cdef double _NEVER
cdef int SILENCE
cdef int IN_FLIGHT
cdef int UNREACHABLE
cdef int ON_THE_WAY
cdef int RECEIVED
cdef int WORKED_ON
cdef int ON_THE_WAY_BACK
cdef int OVER
cdef unsigned long long _THERE
cdef unsigned long long _BACK
cdef unsigned long long _CANCEL


cdef class Endpoint:
    cpdef receive(self, Visit visit)
    cpdef object probed(self)


cdef class Server:
    cpdef go_on(self, Visit visit, object value)
    cpdef drop(self, Visit visit)


cdef class View:
    cdef public list known
    cdef public double until_s

    cpdef renew(self, double now_s)


@cython.final
cdef class Target:
    cdef readonly list endpoints
    cdef readonly View view


@cython.final
cdef class Edge:
    cdef readonly Tasks tasks
    cdef readonly Ledger ledger
    cdef readonly object policy
    cdef readonly double timeout_s
    cdef readonly double per_try_s
    cdef readonly Limit per_try
    cdef readonly Limit whole
    cdef readonly double connect_s
    cdef readonly bint cancellation
    cdef readonly bint propagate_deadline
    cdef readonly bint proxied
    cdef readonly bint reports
    cdef readonly Target target
    cdef readonly Line there
    cdef readonly Line back
    cdef readonly int caller_code
    cdef readonly int target_code
    cdef readonly long number
    cdef readonly tuple names
    cdef public Edge fallback
    cdef public object zone
    cdef Visit spare

    cpdef double there_s(self, long endpoint, unsigned long long bits) except? -2
    cpdef double back_s(self, long endpoint, unsigned long long bits) except? -2


cdef class Visit(Context):
    cdef readonly Edge edge
    cdef public long chosen
    cdef public object connection
    cdef public unsigned long long call_key
    cdef public long number
    cdef public long permit
    cdef public long inside
    cdef public long found
    cdef public double retry_after_s
    cdef public object report
    cdef public object tie
    cdef public bint unchanged
    cdef public double streamed_s
    cdef public double sent_s
    cdef public double received_s
    cdef public double started_s
    cdef public double own_network_s
    cdef public Server server
    cdef public object plan
    cdef public long place
    cdef public bint working
    cdef public Ticket ticket
    cdef public Reply call
    cdef public Task task
    cdef Visit next_spare
    cdef public int stage
    cdef public int outcome
    cdef readonly double lasts_s
    cdef double _wakes_s

    cdef arise(self, long request, double arrived_s, int entry, Edge edge)
    @cython.locals(edge=Edge, bits=cython.ulonglong)
    cdef leave(self, double left_s)
    cdef _travel(self, double delay_s)
    cdef _sleep(self, double seconds)
    cpdef fire(self)
    @cython.locals(edge=Edge, endpoint=Endpoint)
    cdef _arrive(self)
    cdef hold(self, double seconds)
    cdef worked(self)
    @cython.locals(server=Server)
    cpdef advance(self, object value)
    @cython.locals(edge=Edge, bits=cython.ulonglong)
    cpdef answer(self, int outcome)
    @cython.locals(edge=Edge)
    cpdef meets_nobody(self)
    @cython.locals(server=Server, task=Task)
    cpdef kill(self)
    cpdef stop(self)
    @cython.locals(edge=Edge)
    cdef _end(self)
    @cython.locals(edge=Edge)
    cpdef abandon(self)


@cython.locals(visit=Visit)
cpdef Visit new_visit(Context context, Edge edge)
cpdef use_again(Visit visit, Edge edge)
