cimport cython

# The public names of the states stay Python's; these are for this module alone.
cdef int _READY
cdef int _GONE
cdef double inf


cdef class Item:
    cdef public long group
    cdef public long rank
    cdef public long number
    cdef public long place
    cdef public int state
    cdef public long era
    cdef public long deliveries
    cdef public double expires_s


cdef class ReadyLine:
    cpdef append(self, Item item)
    cpdef restore(self, Item item)
    cpdef Item pop(self, Item after)
    cpdef discard(self, Item item)
    cpdef settle(self, Item item)


cdef class FifoLine(ReadyLine):
    cdef object _line

    @cython.locals(item=Item)
    cpdef Item pop(self, Item after)


cdef class RankedLine(ReadyLine):
    cdef list _heap

    @cython.locals(item=Item)
    cpdef Item pop(self, Item after)


cdef class KeyedLine(ReadyLine):
    cdef dict _lines
    cdef list _heads
    cdef dict _out

    cpdef Item pop(self, Item after)
    cdef Item _take(self, long group, object line)
    cdef _returned(self, Item item)
    cdef _show(self, long group)
