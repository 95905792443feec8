from sim.runtime.connections cimport Pool
from sim.runtime.guarded cimport GuardedCaller
from sim.runtime.journey cimport Journey
from sim.runtime.visit cimport Visit
from sim.streams cimport child

cdef double _INF
cdef unsigned long long _PICK


cdef class ConnectedCaller(GuardedCaller):
    cdef Pool _pool

    cpdef forget(self)
    cdef double _rest_s(self, Visit visit, int outcome) except? -2
    cdef double _left_s(self, Journey journey, double sent_s) except? -2
