cimport cython

from sim.kernel.tasks cimport Task, Tasks
from sim.runtime.caller cimport Call, Caller
from sim.runtime.context cimport Context
from sim.runtime.ledger cimport Ledger
from sim.runtime.recorder cimport Recorder
from sim.runtime.visit cimport Edge
from sim.streams cimport child

cdef int IN_FLIGHT


cdef class Request(Context):
    cdef Origin _origin
    cdef Call _call
    cdef Task _task
    cdef Request next_spare

    @cython.locals(call=Call)
    cpdef set_out(self, Origin origin, Caller caller)
    @cython.locals(call=Call, origin=Origin)
    cpdef advance(self, object value)
    cpdef kill(self)


@cython.final
cdef class Origin:
    cdef object _world
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef Ledger _ledger
    cdef Edge _edge
    cdef int _entry_code
    cdef dict _callers
    cdef Request _spare

    @cython.locals(request=Request)
    cpdef Request issue(self, unsigned long long request_key, long client)
    cpdef over(self, Request request)
    cpdef ended(self, Request request, int outcome)
    @cython.locals(caller=Caller)
    cpdef Caller caller(self, long client)
