cimport cython

from sim.kernel.tasks cimport Reply, Tasks


cdef class Open(Reply):
    cdef Open _earlier
    cdef Open _later

    cpdef open(self, Tasks tasks)


@cython.final
cdef class Ledger:
    cdef object _done
    cdef Open _first
    cdef Open _last
    cdef public long sources

    cpdef opened(self, Open what)
    @cython.locals(earlier=Open, later=Open)
    cpdef closed(self, Open what)
    cpdef source_ended(self)
    cpdef list everything(self)
