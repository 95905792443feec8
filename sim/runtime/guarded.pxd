from sim.kernel.tasks cimport Pool, Ticket
from sim.policies.breaker cimport BreakerGate
from sim.runtime.caller cimport Caller
from sim.runtime.context cimport Context
from sim.runtime.journey cimport Journey
from sim.runtime.visit cimport Edge, Visit, new_visit
from sim.streams cimport child, uniform

cdef double _INF
cdef unsigned long long _PAUSE
cdef unsigned long long _PICK
cdef unsigned long long _FALLBACK
cdef unsigned long long _THROTTLE
cdef unsigned long long _ADAPT
cdef unsigned long long _HEALTH
cdef long _STUCK_AFTER


cdef class GuardedCaller(Caller):
    cdef object _policy
    cdef object _callers
    cdef list _stack
    cdef object _choice
    cdef object _active
    cdef BreakerGate _gate
    cdef object _budget
    cdef object _hedges
    cdef object _throttled
    cdef object _rate
    cdef object _adaptive
    cdef object _shelf
    cdef object _collector
    cdef list _loose
    cdef Pool _places
    cdef long _calls

    cpdef forget(self)
    cpdef close(self)
    cpdef list changes(self)
    cpdef call(self, Context context, unsigned long long key)
