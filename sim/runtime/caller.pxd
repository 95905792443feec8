cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.balancing cimport Balancer
from sim.policies.breaker cimport BreakerGate
from sim.runtime.context cimport Context
from sim.runtime.recorder cimport Recorder
from sim.runtime.visit cimport Edge, View, Visit, new_visit, use_again
from sim.streams cimport child, uniform

# Constants that this module only reads: C values here, Python's where the module runs uncompiled.
cdef double _INF
cdef long REFUSED
cdef int DEGRADED
cdef int IN_FLIGHT
cdef int OK
cdef int SHORT_CIRCUITED
cdef int TIMEOUT
cdef int UNREACHABLE
cdef unsigned long long _PAUSE
cdef unsigned long long _PICK
cdef unsigned long long _PROBE
cdef long _STUCK_AFTER
cdef int _SENT
cdef int _PAUSE_BEFORE_RETRY
cdef int _LAST_PAUSE


cdef class Call(Reply):
    cdef readonly Caller caller
    cdef readonly Context context
    cdef readonly unsigned long long key
    cdef public double began_s
    cdef public double deadline_s
    cdef public double left_s
    cdef public double pause_s
    cdef public long number
    cdef public long permit
    cdef public int outcome
    cdef public Visit visit
    cdef bint timed_out
    cdef int stage
    cdef Call next_spare

    cpdef begin(self, Caller caller, Context context, unsigned long long key)
    cpdef fire(self)
    cpdef advance(self, object value)
    @cython.locals(visit=Visit)
    cpdef kill(self)


cdef class Caller:
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Edge _edge
    cdef Balancer _balancer
    cdef BreakerGate _breaker
    cdef bint _counts
    cdef bint _learns
    cdef bint _probes
    cdef list _in_flight
    cdef Call _spare
    cdef object _retry
    cdef unsigned long long _process_key
    cdef unsigned long long _shared_key
    cdef list _past
    cdef object _peer
    cdef View _view
    cdef object _zone_gate
    cdef readonly long process
    cdef public bint plain

    cpdef forget(self)
    cdef _balance_anew(self)
    cpdef list changes(self)
    cpdef call(self, Context context, unsigned long long key)
    @cython.locals(call=Call, edge=Edge)
    cpdef Call begin(self, Context context, unsigned long long key)
    cpdef over(self, Call call)
    @cython.locals(visit=Visit)
    cpdef go_on(self, Call call, object value)
    @cython.locals(visit=Visit, again=cython.bint)
    cdef _try(self, Call call)
    @cython.locals(now_s=double, left_s=double)
    cdef bint _then(self, Call call, int outcome) except -1
    cdef _end(self, Call call, int outcome)
    cpdef give_up(self, Call call, Visit visit)
    cpdef bint _gives_up(self, Call call, int outcome) except -1
    cpdef double _pause_s(self, Call call, double previous_s) except? -1
    cdef _stuck(self, long tries)
    @cython.locals(edge=Edge, breaker=BreakerGate, context=Context, visit=Visit, known=list, now_s=double)
    cpdef Visit _send(self, Call call)
    @cython.locals(view=View)
    cpdef list _known(self, double now_s)
    @cython.locals(balancer=Balancer)
    cdef _tell_sent(self, Visit visit, double now_s)
    cpdef double way_back_s(self, long endpoint, unsigned long long bits) except? -2
    cpdef hear(self, long endpoint)
    @cython.locals(context=Context, now_s=double)
    cpdef _settle(self, Call call, Visit visit, int outcome)
    @cython.locals(edge=Edge, breaker=BreakerGate, now_s=double)
    cpdef _note(self, Call call, Visit visit, int outcome)
