from libc cimport math

cdef double _WIDTH
cdef double _SMALLEST_S
cdef double _LARGEST_S
cdef long _LAST


cdef class Sketch:
    cdef object _counts
    cdef long long[::1] _view

    cpdef add(self, double value_s)
