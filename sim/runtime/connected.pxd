from sim.runtime.guarded cimport GuardedCaller
from sim.runtime.visit cimport Visit
from sim.streams cimport child

cdef double _INF
cdef unsigned long long _PICK


cdef class ConnectedCaller(GuardedCaller):
    cdef object _pool

    cpdef forget(self)
