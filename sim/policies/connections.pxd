cimport cython

cdef double _INF
# The public names of the states stay Python's; these are for this module alone.
cdef int _OPENING
cdef int _OPEN
cdef int _DRAINING
cdef int _CLOSED


cdef class Connection:
    cdef readonly long endpoint
    cdef public int state
    cdef readonly list calls
    cdef public double left
    cdef public double idle_s
    cdef public double retires_s
    cdef public double closed_s


@cython.final
cdef class ConnectionsGate:
    cdef readonly object spec
    cdef readonly list connections
    cdef readonly list changes
    cdef double _most
    cdef double _room
    cdef double _longest
    cdef double _idle_s
    cdef bint _spreads
    cdef list _ready
    cdef double _next_s
    cdef long _turn

    @cython.locals(found=Connection)
    cpdef Connection take(self, double now_s, object call)
    cdef Connection _in_turn(self)
    cpdef attach(self, Connection connection, object call)
    cpdef bint may_open(self) except -1
    cpdef bint may_wait(self, long waiting) except -1
    cpdef add(self, Connection connection, double now_s, object call)
    cpdef established(self, Connection connection, double now_s, double u)
    @cython.locals(full=cython.bint)
    cpdef done(self, Connection connection, object call, double now_s)
    cpdef drain(self, Connection connection, double now_s)
    cpdef close(self, Connection connection, double now_s)
    @cython.locals(connection=Connection, over_s=double)
    cpdef advance(self, double now_s)
    cdef _forget_room(self, Connection connection)
    cdef double _runs_out_s(self, Connection connection) except? -2
    cdef _look_again_at(self, Connection connection)
