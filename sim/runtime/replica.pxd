cimport cython

from sim.kernel.tasks cimport Pool, Task, Tasks, Ticket
from sim.laws cimport Sampler
from sim.runtime.caller cimport Call, Caller
from sim.runtime.recorder cimport Recorder
from sim.runtime.steps cimport Plan, Runnable
from sim.kernel.tasks cimport Reply
from sim.runtime.visit cimport Edge, Endpoint, Server, Target, Visit
from sim.streams cimport child, uniform

cdef int SILENCE
cdef int CALLING
cdef int IN_LINE
cdef int IN_TASK
cdef int RECEIVED
cdef int WORKED_ON
cdef int DEGRADED
cdef int ERROR
cdef int IN_FLIGHT
cdef int OK
cdef int REJECTED
cdef int UNREACHABLE
cdef unsigned long long _INJECTED
cdef unsigned long long _QUOTA
cdef unsigned long long _PATIENCE
cdef unsigned long long _BACKGROUND


cdef class Replica(Server):
    cdef readonly object world
    cdef readonly Tasks tasks
    cdef Recorder _recorder
    cdef readonly object service
    cdef readonly long index
    cdef readonly Pool pool
    cdef Sampler _max_wait
    cdef readonly long served
    cdef readonly list slow_factors
    cdef readonly list errors
    cdef unsigned long long _process_key
    cdef readonly object cpu
    cdef readonly object processor
    cdef readonly bint plain
    cdef object _gatehouse
    cdef object _reporter
    cdef bint _reports
    cdef list _callers
    cdef dict _shelves
    cdef list _frozen
    cdef long _pauses
    cdef long _crashes
    cdef public bint silent
    cdef public bint stopping
    cdef readonly long life
    cdef bint _closed
    cdef Reply _last_left
    cdef double _warm_s
    cdef object __weakref__

    cpdef report(self, bint wanted)
    cpdef object probed(self)
    cpdef double slowness(self) except? -1
    @cython.locals(caller=Caller, callers=list, number=long)
    cpdef Caller caller(self, Edge edge)
    cpdef receive(self, Visit visit, Plan plan)
    @cython.locals(stage=cython.int, call=Call)
    cpdef go_on(self, Visit visit, object value)
    @cython.locals(ticket=Ticket)
    cdef _line_up(self, Visit visit)
    @cython.locals(ticket=Ticket)
    cdef _leaves_the_line(self, Visit visit)
    @cython.locals(fails=cython.bint)
    cdef _begin(self, Visit visit)
    @cython.locals(plan=Plan, step=Runnable, work_s=double, call=Call)
    cdef _do_steps(self, Visit visit, int outcome)
    @cython.locals(task=Task)
    cdef int _run(self, Visit visit, Runnable step) except -2
    @cython.locals(plan=Plan)
    cdef _end(self, Visit visit, int outcome)
    @cython.locals(ticket=Ticket)
    cdef _take_back(self, Visit visit, int outcome)
    @cython.locals(call=Reply, task=Task)
    cpdef drop(self, Visit visit)


cdef class ReplicaOperation(Endpoint):
    cdef Replica _replica
    cdef Plan _plan

    cpdef receive(self, Visit visit)
    cpdef object probed(self)
