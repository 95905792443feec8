cimport cython

from sim.policies.backlog cimport Entry

cdef int _READY


cdef class Line:
    cpdef append(self, Entry entry)
    cpdef restore(self, Entry entry)
    cpdef Entry pop(self, Entry after)
    cpdef discard(self, Entry entry)
    cpdef settle(self, Entry entry)


cdef class FifoLine(Line):
    cdef object _line

    @cython.locals(entry=Entry)
    cpdef Entry pop(self, Entry after)


cdef class RankedLine(Line):
    cdef list _heap

    @cython.locals(entry=Entry)
    cpdef Entry pop(self, Entry after)


cdef class KeyedLine(Line):
    cdef dict _lines
    cdef list _heads
    cdef dict _out

    cpdef Entry pop(self, Entry after)
    cdef Entry _take(self, long group, object line)
    cdef _returned(self, Entry entry)
    cdef _show(self, long group)
