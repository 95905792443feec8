cimport cython

from sim.kernel.entry cimport Entry
from sim.kernel.resume cimport resume
from sim.kernel.core cimport Environment

cdef object _ENDED
cdef object _CALLED


cdef class Task(Entry):
    cdef Tasks _tasks
    cdef object _generator
    cdef Task _following
    cdef object _value
    cdef readonly bint alive

    cpdef begin(self, Tasks tasks, object generator)
    cpdef fire(self)
    cpdef kill(self)


@cython.freelist(64)
cdef class Reply:
    cdef Tasks _tasks
    cdef public bint settled
    cdef public object value
    cdef public Task waiter
    cdef public double due_s
    cdef Reply _behind

    cpdef begin(self, Tasks tasks)
    cpdef settle(self, object value)
    cpdef expire_after(self, double limit_s)


cdef class _Timer(Entry):
    cdef Reply _reply

    cpdef fire(self)


@cython.final
cdef class Line:
    cdef Reply first
    cdef Reply _last

    cpdef append(self, Reply reply)
    @cython.locals(first=Reply)
    cpdef Reply pop(self)


cdef class Limit(Entry):
    cdef Tasks _tasks
    cdef readonly double limit_s
    cdef Line _line
    cdef bint _armed

    @cython.locals(line=Line)
    cpdef watch(self, Reply reply)
    @cython.locals(line=Line, now_s=double)
    cpdef fire(self)


@cython.final
cdef class Tasks:
    cdef readonly object env
    cdef readonly Task current
    cdef Environment _kernel
    cdef Task _first
    cdef Task _last
    cdef bint _running
    cdef bint _closed

    cpdef double now_s(self) except? -1
    cpdef schedule(self, Entry entry, double at_s)
    cpdef Task start(self, object generator)
    cpdef wake(self, Task task, object value)
    @cython.locals(task=Task, left=long)
    cdef _run(self)
    cpdef close(self)
    @cython.locals(outer=Task, reply=Reply)
    cdef _advance(self, Task task, object value)


@cython.final
cdef class Ticket(Reply):
    cdef public bint granted


@cython.final
cdef class Pool:
    cdef Tasks _tasks
    cdef readonly double workers
    cdef readonly double capacity
    cdef readonly long busy
    cdef readonly long waiting
    cdef Line _line
    cdef double _area_s
    cdef double _since_s

    cpdef bint take(self) except -1
    @cython.locals(ticket=Ticket)
    cpdef Ticket line_up(self)
    cpdef leave(self, Ticket ticket)
    @cython.locals(line=Line, following=Ticket)
    cpdef free(self)
    @cython.locals(now_s=double)
    cdef _change(self, long workers)
