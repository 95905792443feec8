cimport cython

from sim.streams cimport child

cdef int OK
cdef int REJECTED
cdef int UNREACHABLE
cdef double inf
cdef unsigned long long _WRITE
cdef unsigned long long _COPY
cdef unsigned long long _HAND_OUT


@cython.final
cdef class Node:
    cdef readonly object pool
    cdef public long outages
    cdef public long served


@cython.final
cdef class Seat:
    cdef readonly object queue
    cdef readonly str confirm
    cdef readonly list copies
    cdef public long leader
    cdef public bint available
    cdef public long era
    cdef public double crashed_s
    cdef public double committed_s


cdef class Broker:
    cdef readonly object world
    cdef readonly str name
    cdef readonly object spec
    cdef readonly object tally
    cdef readonly list nodes
    cdef readonly list zones
    cdef readonly list seats
    cdef readonly list slow_factors
    cdef readonly list alarms
    cdef double _high
    cdef double _low
    cdef list _blocked
    cdef bint _alarmed
    cdef object _write
    cdef object _replicate
    cdef double _bandwidth
    cdef bint _weighs
    cdef object _deliver
