cdef class Turns:
    cdef long _credit
    cdef bint _single
    cdef dict _left
    cdef object _line

    cpdef add(self, object consumer)
    cpdef remove(self, object consumer)
    cpdef bint may(self, object consumer) except -1
    cpdef object next(self)
    cpdef skip(self, object consumer)
    cpdef free(self, object consumer)
