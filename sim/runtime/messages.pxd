cimport cython

from sim.laws cimport Sampler
from sim.policies.backlog_lines cimport Item
from sim.runtime.visit cimport Edge, Endpoint, Target, Visit
from sim.streams cimport child, uniform

cdef int FATE_DONE
cdef int FATE_DUPLICATE
cdef int FATE_FAILED
cdef int OK
cdef int UNREACHABLE
cdef double inf
cdef double nan
cdef unsigned long long _KEY
cdef unsigned long long _POISON
cdef unsigned long long _SUBSCRIPTION
cdef unsigned long long _DEAD_LETTER
cdef unsigned long long _SIZE


@cython.final
cdef class Payload:
    cdef Sampler _law
    cdef readonly double bytes
    cdef readonly double reference
    cdef readonly object store

    cpdef double draw(self, unsigned long long bits) except? -1


@cython.final
cdef class Stamp:
    cdef readonly Payload payload
    cdef readonly object popularity
    cdef readonly long priority
    cdef readonly double poison
    cdef readonly bint confirmed
    cdef readonly long process
    cdef public unsigned long long bits
    cdef public object correlation
    cdef object _step
    cdef dict _by_process

    cpdef Stamp of(self, long process)
    cpdef Stamp entry(self, unsigned long long bits, long process)
    cpdef Stamp correlated(self, object correlation)


@cython.final
cdef class Message(Item):
    cdef readonly long request
    cdef readonly double arrived_s
    cdef readonly int entry
    cdef readonly unsigned long long bits
    cdef public unsigned long long write_bits
    cdef public unsigned long long id
    cdef readonly double published_s
    cdef public double acked_s
    cdef public double started_s
    cdef public double done_s
    cdef public int times_done
    cdef public int dead_letter_of
    cdef public int at_work
    cdef public int fate
    cdef public bint poisoned
    cdef public bint failed
    cdef public object correlation
    cdef public double way_s
    cdef public double bytes
    cdef public double payload_bytes
    cdef public object store
    cdef public int partition
    cdef public double copied_s
    cdef public double waited_s
    cdef public double wrote_s

    cpdef int settled_as(self)


cdef class Mailbox(Endpoint):
    cdef readonly object world
    cdef readonly Target target
    cdef public bint by_process


cdef class Topic(Mailbox):
    cdef list _queues


@cython.locals(stamp=Stamp, message=Message, bits=cython.ulonglong, own=cython.ulonglong)
cpdef Message message_of(Visit visit, long subscription=*)
cdef _weigh(Message message, Payload payload, unsigned long long bits)
@cython.locals(letter=Message)
cpdef Message dead_letter(Message message, int queue, double now_s)
cpdef Mailbox mailbox_of(Edge edge)
@cython.locals(stamp=Stamp)
cpdef bint wants_no_confirm(Visit visit) except -1
cpdef account(Visit visit, Message message)
