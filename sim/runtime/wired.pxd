from sim.runtime.connected cimport ConnectedCaller
from sim.runtime.journey cimport Journey
from sim.runtime.replica cimport Replica
from sim.runtime.visit cimport Visit
from sim.runtime.wire cimport Wire, Work


cdef class WiredCaller(ConnectedCaller):
    cdef Wire _wire
    cdef Replica _replica

    cdef double _rest_s(self, Visit visit, int outcome) except? -2
