cimport cython
from sim.streams cimport child, uniform


cdef class Balancer:
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1


cdef class RoundRobin(Balancer):
    cdef long _next

    @cython.locals(chosen=long)
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1


cdef class Random(Balancer):
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1


cdef class LeastRequest(Balancer):
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1


cdef class TwoChoices(Balancer):
    @cython.locals(first=long, second=long)
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1
