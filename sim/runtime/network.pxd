cimport cython

from sim.laws cimport Sampler
from sim.streams cimport child, uniform

cdef unsigned long long _CROSSING


@cython.final
cdef class Disturbance:
    cdef readonly Sampler latency
    cdef readonly double loss
    cdef readonly bint partition


@cython.final
cdef class Line:
    cdef Sampler _latency
    cdef double _loss
    cdef readonly list disturbances

    cpdef double travel_s(self, unsigned long long bits) except? -2
    @cython.locals(number=long, own=cython.ulonglong, disturbance=Disturbance)
    cdef double _disturbed_s(self, unsigned long long bits, double delay_s) except? -2


cpdef double crossed_s(double delay_s, Line crossing, unsigned long long bits) except? -2
