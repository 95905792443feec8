cimport cython

from sim.runtime.network cimport Line, crossed_s
from sim.runtime.replica cimport Replica


@cython.final
cdef class Ways:
    cdef Line _there
    cdef Line _back
    cdef object _zoning

    cpdef double to_s(self, Replica replica, long zone, unsigned long long bits) except? -2
    cpdef double from_s(self, Replica replica, long zone, unsigned long long bits) except? -2
