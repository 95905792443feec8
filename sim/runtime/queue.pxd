cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.backlog cimport BacklogGate
from sim.policies.competing cimport Turns
from sim.runtime.deliveries cimport Consumer, Delivery, Inbox
from sim.runtime.ledger cimport Open
from sim.runtime.messages cimport Mailbox, Message, account, dead_letter, message_of, wants_no_confirm
from sim.runtime.recorder cimport Recorder
from sim.runtime.replica cimport Replica
from sim.runtime.steps cimport Plan
from sim.runtime.visit cimport Visit
from sim.runtime.ways cimport Ways
from sim.streams cimport child

cdef int OK
cdef int DEGRADED
cdef int ERROR
cdef int REJECTED
cdef int UNREACHABLE
cdef int FATE_DEAD
cdef int FATE_DONE
cdef int FATE_DROPPED
cdef int FATE_EXPIRED
cdef int FATE_IN_FLIGHT
cdef int FATE_KEPT
cdef double inf
cdef int OUTSIDE
cdef int NEW
cdef int IN_PROCESS
cdef double _APART_S
cdef unsigned long long _PERSIST
cdef unsigned long long _DELIVER
cdef unsigned long long _ACKNOWLEDGE


cdef class MessageQueue(Mailbox):
    cdef Tasks _tasks
    cdef Recorder _recorder
    cdef readonly str name
    cdef readonly object spec
    cdef readonly int code
    cdef readonly BacklogGate gate
    cdef public MessageQueue dead_letters
    cdef Plan _plan
    cdef Ways _ways
    cdef object _persist
    cdef object _broker
    cdef object _seat
    cdef Inbox _inbox
    cdef Turns _turns
    cdef dict _consumers
    cdef dict _open
    cdef Open _presence
    cdef long _writing
    cdef long _outages
    cdef double _rings_s
    cdef bint _dispatching
    cdef bint _before
    cdef bint _timed
    cdef bint _overtakes
    cdef double _most_bytes
    cdef object _together
    cdef object _room
    cdef bint _alarmed
    cdef readonly long _place
    cdef bint _zoned

    cpdef double to_s(self, Consumer consumer, unsigned long long bits) except? -2
    cpdef double from_s(self, Consumer consumer, unsigned long long bits) except? -2
    cdef bint _is_up(self) except -1
    cpdef _accept(self, Message message)
    cpdef _dispatch(self)
    cpdef ring(self)
    cpdef _begins(self, Consumer consumer)
    @cython.locals(consumer=Consumer, delivery=Delivery)
    cpdef bint _hand_on(self) except -1
    @cython.locals(message=Message, delivery=Delivery)
    cpdef Delivery _hand_out(self, Consumer consumer, Message after)
    @cython.locals(message=Message)
    cpdef _over(self, Delivery delivery, int outcome, bint heard)
    cpdef _end(self, Message message, int fate, bint buried=*)
    cpdef _put_down(self, Delivery delivery)
    cpdef _bury(self, Message message)
    cpdef _record(self, Message message, int fate)
    cpdef _given_up(self, list ended, bint buried=*)
