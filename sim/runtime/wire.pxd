cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.flow cimport Flow, Hole
from sim.runtime.context cimport Context
from sim.runtime.network cimport Line
from sim.runtime.replica cimport Replica
from sim.runtime.steps cimport Runnable, WorkStep
from sim.runtime.visit cimport Visit
from sim.streams cimport child, uniform

cdef double _INF
cdef unsigned long long _THERE
cdef unsigned long long _BACK
cdef unsigned long long _AGAIN
cdef int OK
cdef int DEGRADED
cdef int UNREACHABLE


@cython.final
cdef class Way:
    cdef readonly double bytes_per_s
    cdef bint _shared
    cdef double _loss
    cdef Line _line
    cdef dict _free_s

    cpdef double loss(self) except? -2
    cpdef double enter(self, double now_s, long process, double size) except? -2


@cython.final
cdef class Session:
    cdef readonly tuple flows
    cdef readonly tuple credits
    cdef readonly list messages
    cdef readonly long process


@cython.final
cdef class Wire:
    cdef readonly object costs
    cdef readonly object persisted
    cdef public bint known
    cdef tuple _asked_again
    cdef tuple _contents
    cdef tuple _ends_unread
    cdef object _payloads
    cdef Exchange _of_one
    cdef dict _of_several
    cdef object _transport
    cdef double _segment
    cdef double _overhead
    cdef Tasks _tasks
    cdef tuple _ways
    cdef Hole _tail
    cdef double _starts_s
    cdef double _ends_s
    cdef readonly long calls
    cdef public long connections
    cdef readonly tuple streamed
    cdef readonly tuple writes
    cdef readonly tuple reads_s
    cdef readonly tuple bodies
    cdef readonly long streams
    cdef readonly long messages
    cdef readonly double first_message_s
    cdef list _bytes
    cdef public double caller_cpu_s
    cdef public double target_cpu_s

    @cython.locals(found=Exchange)
    cpdef Exchange exchange(self, object batch)
    cdef Exchange _exchange(self, object request, object response)
    cpdef bint measured(self) except -1
    cpdef double comes(self, Visit visit) except? -2
    cpdef double goes_back(self, Visit visit, int outcome) except? -2
    @cython.locals(reply=Reply)
    cpdef object until_there(self, double rest_s)
    @cython.locals(now_s=double, latency_s=double, size=double, bits=cython.ulonglong, rest_s=double, flow=Flow)
    cdef double _rest_s(self, int side, Visit visit, bint has_body) except? -2
    cdef double _size(self, int side, Session session, bint has_body, Exchange exchange) except? -2
    @cython.locals(begins_s=double, loss=double, arrives_s=double)
    cdef double _send(
        self, int side, Session session, double sent_s, double size, double latency_s, unsigned long long bits, bint is_part
    ) except? -2
    cpdef double around(self, int side, Session session, bint first) except? -2
    cpdef double part_s(
        self, int side, Session session, double sent_s, double size, double latency_s, unsigned long long bits
    ) except? -2
    cpdef spent(self, int side, double seconds)
    cpdef was_read(self, int side, Visit visit, double first_s)


@cython.final
cdef class Work:
    cdef readonly double seconds
    cdef readonly WorkStep step


@cython.final
cdef class Exchange:
    cdef readonly Work encode
    cdef readonly Work receive
    cdef readonly Work answer
    cdef readonly Work decode
    cdef readonly list sizes


cdef class WireStep(Runnable):
    cdef dict _wires

    cpdef Work _work(self, Exchange exchange)
    @cython.locals(visit=Visit)
    cpdef Wire wire_of(self, Context context)
    @cython.locals(wire=Wire, work=Work)
    cpdef double holds_s(self, Replica replica, Context context) except? -2


cdef class ReceiveStep(WireStep):
    cpdef Work _work(self, Exchange exchange)


cdef class AnswerStep(WireStep):
    @cython.locals(visit=Visit)
    cpdef double holds_s(self, Replica replica, Context context) except? -2
    cpdef Work _work(self, Exchange exchange)
