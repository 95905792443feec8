cimport cython

from sim.kernel.tasks cimport Tasks
from sim.runtime.context cimport Context
from sim.runtime.sketched cimport SketchedRequests
from sim.runtime.visit cimport Visit

cdef int IN_FLIGHT
cdef double _NAN


cdef class _Grown:
    cdef public dict stretches
    cdef public long rows
    cdef public long room


@cython.final
cdef class RequestColumns(_Grown):
    cdef public int[::1] entry
    cdef public double[::1] arrived_s
    cdef public double[::1] ended_s
    cdef public signed char[::1] outcome
    cdef public int[::1] attempts
    cdef public double[::1] queue_s
    cdef public double[::1] service_s
    cdef public double[::1] network_s
    cdef public double[::1] backoff_s
    cdef public double[::1] lost_s


@cython.final
cdef class AttemptColumns(_Grown):
    cdef public int[::1] parent
    cdef public int[::1] request
    cdef public int[::1] caller
    cdef public int[::1] target
    cdef public int[::1] replica
    cdef public int[::1] number
    cdef public double[::1] started_s
    cdef public double[::1] ended_s
    cdef public signed char[::1] outcome
    cdef public double[::1] queue_s
    cdef public double[::1] service_s
    cdef public double[::1] network_s


@cython.final
cdef class Recorder:
    cdef Tasks _tasks
    cdef RequestColumns _requests
    cdef AttemptColumns _attempts
    cdef object _effects
    cdef object _gauges
    cdef object _totals
    cdef object _changes
    cdef object _zone_calls
    cdef bint _handed_over
    cdef bint _record_attempts
    cdef bint _record_requests
    cdef SketchedRequests _sketched

    @cython.locals(requests=RequestColumns, number=long)
    cpdef long next_request(self) except -1
    @cython.locals(attempts=AttemptColumns, number=long)
    cpdef long next_attempt(self, long request, int entry, double arrived_s) except -1
    cpdef count_attempt(self, long request, int entry, double arrived_s)
    @cython.locals(to=RequestColumns, place=long)
    cpdef request(self, Context context, int outcome)
    @cython.locals(to=AttemptColumns, place=long)
    cpdef attempt(self, Visit visit, long parent, int caller, int target, int number, int outcome)
