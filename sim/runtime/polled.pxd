cimport cython

from sim.runtime.deliveries cimport Consumer, Delivery
from sim.runtime.queue cimport MessageQueue
from sim.streams cimport child

cdef int OK
cdef int DEGRADED
cdef int ERROR
cdef unsigned long long _DELIVER
cdef unsigned long long _ASK


cdef class PolledQueue(MessageQueue):
    cdef object _asking

    cpdef _begins(self, Consumer consumer)
    cpdef bint _hand_on(self) except -1
