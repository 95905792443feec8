cimport cython

from sim.kernel.tasks cimport Task, Tasks
from sim.runtime.messages cimport Message
from sim.runtime.replica cimport Replica
from sim.runtime.steps cimport Plan
from sim.runtime.visit cimport Visit
from sim.streams cimport child

cdef int DEGRADED
cdef int ERROR
cdef int OK


@cython.final
cdef class Consumer:
    cdef readonly Replica replica
    cdef readonly unsigned long long key
    cdef readonly dict held
    cdef readonly object waiting
    cdef public bint busy
    cdef public double last_s
    cdef public Task loop
    cdef public object gathering


@cython.final
cdef class Delivery:
    cdef readonly Message message
    cdef readonly Consumer consumer
    cdef readonly long era
    cdef readonly unsigned long long bits
    cdef public Task task


@cython.final
cdef class Inbox:
    cdef readonly object gate
    cdef readonly Plan plan


cpdef int done(Message message, Visit visit, Inbox inbox, int outcome, double now_s) except -1
