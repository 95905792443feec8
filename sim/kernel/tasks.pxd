cimport cython

from sim.kernel.entry cimport Entry
from sim.kernel.resume cimport resume
from sim.kernel.core cimport Environment

cdef object _ENDED
cdef object _CALLED


cdef class Waiter(Entry):
    cdef Waiter _following
    cdef object _value
    cdef readonly bint alive

    cdef clear(self)
    cpdef advance(self, object value)
    cpdef kill(self)


cdef class Task(Waiter):
    cdef Tasks _tasks
    cdef object _generator

    cpdef begin(self, Tasks tasks, object generator)
    cpdef fire(self)
    @cython.locals(reply=Reply, tasks=Tasks)
    cpdef advance(self, object value)
    cpdef kill(self)


cdef class Reply(Waiter):
    cdef Tasks _tasks
    cdef public bint settled
    cdef public object value
    cdef public Waiter waiter
    cdef public double expires_s
    cdef Limit _limit
    cdef Reply _ahead
    cdef Reply _behind

    cpdef open(self, Tasks tasks)
    cdef ask(self)
    @cython.locals(waiter=Waiter)
    cpdef settle(self, object value)
    @cython.locals(waiter=Waiter)
    cpdef settle_in_place(self, object value)
    cpdef expire_after(self, double limit_s)
    @cython.locals(limit=Limit)
    cdef watched_no_more(self)


cdef class _Timer(Entry):
    cdef Reply _reply

    cpdef fire(self)


@cython.final
cdef class Line:
    cdef Reply first
    cdef Reply _last

    @cython.locals(last=Reply)
    cpdef append(self, Reply reply)
    @cython.locals(ahead=Reply, behind=Reply)
    cpdef remove(self, Reply reply)
    @cython.locals(first=Reply)
    cpdef Reply pop(self)


cdef class Limit(Entry):
    cdef Tasks _tasks
    cdef readonly double limit_s
    cdef Line _line
    cdef bint _armed

    cpdef watch(self, Reply reply)
    cpdef forget(self, Reply reply)
    @cython.locals(line=Line, now_s=double, first=Reply)
    cpdef fire(self)


@cython.final
cdef class Tasks:
    cdef readonly object env
    cdef Environment _kernel
    cdef Waiter _first
    cdef Waiter _last
    cdef bint _running
    cdef bint _closed

    cpdef double now_s(self) except? -1
    cpdef schedule(self, Entry entry, double at_s)
    cpdef Task start(self, object generator)
    cpdef enter(self, Waiter waiter)
    cpdef wake(self, Waiter waiter, object value)
    @cython.locals(left=long)
    cdef _run(self, Waiter waiter, object value)
    cpdef close(self)


cdef class Ticket(Reply):
    cdef public bint granted

    cpdef open(self, Tasks tasks)


@cython.final
cdef class Tally:
    cdef readonly long busy
    cdef readonly long waiting


cdef class Pool:
    cdef Tasks _tasks
    cdef Tally _tally
    cdef readonly double workers
    cdef readonly double capacity
    cdef readonly long busy
    cdef readonly long waiting
    cdef Line _line
    cdef double _area_s
    cdef double _since_s

    cpdef bint take(self) except -1
    @cython.locals(ticket=Ticket)
    cpdef Ticket line_up(self, Waiter who=*)
    cpdef leave(self, Ticket ticket)
    @cython.locals(line=Line, following=Ticket)
    cpdef free(self)
    @cython.locals(now_s=double)
    cpdef _change(self, long workers)
    cpdef _queue(self, long tickets)
