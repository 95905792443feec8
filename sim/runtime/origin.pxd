cimport cython

from sim.kernel.tasks cimport Reply, Task, Tasks
from sim.runtime.caller cimport Call, Caller
from sim.runtime.context cimport Context
from sim.runtime.ledger cimport Ledger
from sim.runtime.recorder cimport Recorder
from sim.runtime.visit cimport Edge
from sim.streams cimport child

cdef int IN_FLIGHT


cdef class Request(Context):
    cdef Origin _origin
    cdef Reply _call
    cdef Task _task

    @cython.locals(call=Call)
    cpdef set_out(self, Origin origin, Caller caller)
    cpdef advance(self, object value)
    cpdef kill(self)


@cython.final
cdef class Origin:
    cdef object _world
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Ledger _ledger
    cdef Edge _edge
    cdef dict _callers

    @cython.locals(request=Request)
    cpdef Request issue(self, unsigned long long request_key, long client)
    cpdef ended(self, Request request, int outcome)
    @cython.locals(caller=Caller)
    cdef Caller _caller(self, long client)
