cdef class Entry:
    cdef public object callbacks

    cpdef fire(self)
