cimport cython

from sim.kernel.tasks cimport Reply, Tasks
from sim.policies.connections cimport Connection, ConnectionsGate
from sim.runtime.context cimport Context
from sim.runtime.replica cimport Replica
from sim.runtime.visit cimport Edge, Endpoint, Visit
from sim.runtime.wire cimport Session, Wire
from sim.streams cimport child, uniform

cdef int OVER
cdef int IN_FLIGHT
cdef int OK
cdef int REJECTED
cdef int TIMEOUT
cdef int UNREACHABLE
cdef int _CLOSED
cdef unsigned long long _AGE
cdef unsigned long long _HANDSHAKE
cdef unsigned long long _NEWS


@cython.final
cdef class Channel(Connection):
    cdef readonly Pool pool
    cdef readonly unsigned long long key
    cdef public bint accepted
    cdef public long life
    cdef readonly Channel behind
    cdef readonly Session session


@cython.final
cdef class Seat(Reply):
    cdef public Channel channel
    cdef public Visit visit
    cdef readonly double began_s
    cdef public double seated_s
    cdef readonly Channel incoming

    cpdef cut(self)


cdef class Pool:
    cdef readonly Wire wire
    cdef bint _connected_before
    cdef readonly object spec
    cdef bint _follows
    cdef bint _alone
    cdef readonly ConnectionsGate gate
    cdef public object owner
    cdef readonly tuple names
    cdef Tasks _tasks
    cdef Edge _edge
    cdef list _replicas
    cdef unsigned long long _key
    cdef long _opened
    cdef object _line
    cdef bint _serving
    cdef bint _ended

    @cython.locals(seat=Seat)
    cpdef Seat seat(self, Context context)
    cpdef Channel _incoming(self, Context context)
    @cython.locals(channel=Channel)
    cpdef leave(self, Seat seat, int outcome)
    @cython.locals(replica=Replica)
    cdef bint _is_broken(self, Channel channel) except -1
    @cython.locals(seat=Seat)
    cpdef _serve_line(self)
    @cython.locals(channel=Channel, now_s=double)
    cpdef bint _place(self, Seat seat) except -1
    cpdef _take_place(self, Seat seat, Channel channel)


cdef class FlowTable(Pool):
    @cython.locals(channel=Channel)
    cpdef bint _place(self, Seat seat) except -1


cdef class ConnectedEndpoint(Endpoint):
    cdef Endpoint _inner
    cdef Replica _replica
    cdef Wire _wire
    cdef long _knows_since

    @cython.locals(rest_s=double, wire=Wire)
    cpdef receive(self, Visit visit)
    @cython.locals(channel=Channel)
    cpdef _deliver(self, Visit visit)
