cimport cython

from sim.runtime.context cimport Context


@cython.final
cdef class Journey:
    cdef public object account
    cdef public object batch
    cdef public Context context
    cdef public double due_s
    cdef public unsigned long long key
    cdef public list numbers
    cdef public double pause_s
    cdef public long pauses
    cdef public bint cut_off
    cdef public bint refused_here
    cdef public double retry_after_s
    cdef public bint stands_in
    cdef public object tie
    cdef public bint told
    cdef public list tried
    cdef public bint unchanged

    cpdef Journey branch(self, Context context)
    cpdef long next_look(self) except -1
    cpdef long next_number(self) except -1
