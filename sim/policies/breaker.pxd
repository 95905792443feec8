cimport cython

cdef double _NEVER


@cython.final
cdef class BreakerGate:
    cdef long _limit
    cdef double _open_s
    cdef long _era
    cdef long _failures
    cdef double _until_s
    cdef bint _probing

    cpdef long permit(self, double now_s) except? -2
    cpdef settle(self, long permit, bint succeeded, double now_s)
    cpdef back(self, long permit)
    cdef _turn(self, double until_s)
