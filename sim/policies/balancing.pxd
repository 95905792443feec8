cimport cython
from sim.streams cimport child, uniform


cdef class Balancer:
    cpdef list look(self, double now_s, unsigned long long key, list known)
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1
    cpdef sent(self, long endpoint, double now_s)
    cpdef settled(self, long endpoint, double now_s, double latency_s, int outcome, object report)
    cpdef object probes(self)
    cpdef heard(self, long endpoint, double now_s, object report)


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


cdef class TwoDistinct(Balancer):
    @cython.locals(first=long, second=long)
    cpdef long pick(self, list endpoints, list in_flight, unsigned long long bits) except? -1


@cython.locals(first=long, second=long, count=long)
cpdef tuple two_distinct(list endpoints, unsigned long long bits)
