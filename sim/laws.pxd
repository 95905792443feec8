cimport cython
from libc cimport math

from sim.streams cimport child, uniform


cdef class Sampler:
    cpdef double draw(self, unsigned long long bits) except? -1


cdef class _Foreign(Sampler):
    cdef object _law

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Constant(Sampler):
    cdef readonly double value

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Uniform(Sampler):
    cdef readonly double low
    cdef readonly double high

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Exponential(Sampler):
    cdef readonly double mean

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Lognormal(Sampler):
    cdef readonly double mean
    cdef readonly double cv
    cdef public double _mu
    cdef public double _sigma

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Normal(Sampler):
    cdef readonly double center
    cdef readonly double sd

    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Erlang(Sampler):
    cdef readonly object k
    cdef readonly double mean

    @cython.locals(total=double)
    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Hyperexponential(Sampler):
    cdef readonly tuple probabilities
    cdef readonly tuple means

    @cython.locals(u=double, probability=double, mean=double)
    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Pareto(Sampler):
    cdef readonly double shape
    cdef readonly double minimum
    cdef readonly double maximum

    @cython.locals(reach=double)
    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Mixture(Sampler):
    cdef readonly tuple weights
    cdef readonly tuple laws

    @cython.locals(u=double, weight=double)
    cpdef double draw(self, unsigned long long bits) except? -1


cdef class Quantiles(Sampler):
    cdef readonly tuple probabilities
    cdef readonly tuple values

    @cython.locals(u=double, i=long, p0=double, p1=double, x0=double, x1=double)
    cpdef double draw(self, unsigned long long bits) except? -1
