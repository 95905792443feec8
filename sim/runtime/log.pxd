cimport cython

from sim.policies.batching cimport Batch
from sim.runtime.messages cimport Mailbox, Message, message_of, wants_no_confirm
from sim.runtime.producer cimport Producer, Publication
from sim.runtime.visit cimport Visit
from sim.streams cimport child

cdef int OK
cdef int REJECTED
cdef int UNREACHABLE
cdef int FATE_DROPPED
cdef int FATE_EXPIRED
cdef int FATE_IN_FLIGHT
cdef int FATE_KEPT
cdef double inf
cdef int READY
cdef int IN_LOG
cdef int _NOWHERE
cdef unsigned long long _PERSIST
cdef unsigned long long _AGAIN


@cython.final
cdef class Written:
    cdef readonly Producer producer
    cdef readonly long number
    cdef readonly list copies
    cdef readonly double bytes
    cdef readonly unsigned long long write_bits
    cdef public double waited_s
    cdef public double wrote_s
    cdef public double copied_s


@cython.locals(message=Message, again=Message)
cdef Message _second(Message message)
@cython.locals(message=Message)
cdef list _copies_of(Publication publication)


cdef class Partition:
    cdef readonly object log
    cdef readonly long number
    cdef readonly long end
    cdef readonly long start
    cdef readonly object seat
    cdef object _ages
    cdef dict _uncopied
    cdef dict _numbers
    cdef dict _writing
    cdef double _written_s

    cpdef _show_up_to(self, Written written)
    @cython.locals(message=Message)
    cpdef _show(self, Written written)
