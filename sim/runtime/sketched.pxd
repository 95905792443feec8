cimport cython

from sim.runtime.context cimport Context
from sim.sketch cimport Sketch

cdef int IN_FLIGHT
cdef int _OUTCOMES


@cython.final
cdef class Cell:
    cdef public long measured
    cdef public long ended
    cdef readonly double latency_s
    cdef readonly double queue_s
    cdef readonly double service_s
    cdef readonly double network_s
    cdef readonly double backoff_s
    cdef readonly double lost_s
    cdef readonly Sketch latency
    cdef readonly Sketch queue
    cdef readonly Sketch service
    cdef readonly Sketch network
    cdef readonly Sketch backoff
    cdef readonly Sketch lost

    cdef add(self, Context context, double latency_s)


@cython.final
cdef class SketchedRequests:
    cdef double _start_s
    cdef double _end_s
    cdef list _cells
    cdef list _attempts

    cpdef attempt(self, int entry, double arrived_s)
    @cython.locals(cell=Cell)
    cpdef request(self, Context context, int outcome, double now_s)
