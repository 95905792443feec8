cimport cython

from sim.kernel.tasks cimport Pool, Tally, Tasks, Ticket, Waiter
from sim.runtime.visit cimport Visit


cdef class DisciplinedPool(Pool):
    cdef object _order

    @cython.locals(ticket=Ticket, visit=Visit, longest_s=double)
    cpdef Ticket line_up(self, Waiter who=*)
    cpdef leave(self, Ticket ticket)
    @cython.locals(ticket=Ticket)
    cpdef free(self)
