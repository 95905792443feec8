cimport cython

from sim.kernel.tasks cimport Tasks
from sim.runtime.caller cimport Caller
from sim.runtime.context cimport Context, Request
from sim.runtime.ledger cimport Ledger
from sim.runtime.recorder cimport Recorder
from sim.runtime.visit cimport Edge
from sim.streams cimport child

cdef int IN_FLIGHT


@cython.final
cdef class Origin:
    cdef object _world
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Ledger _ledger
    cdef Edge _edge
    cdef dict _callers

    @cython.locals(caller=Caller)
    cdef Caller _caller(self, long client)
