cimport cython


@cython.final
cdef class Batch:
    cdef readonly long partition
    cdef readonly long number
    cdef readonly list items
    cdef readonly double created_s
    cdef public double from_s
    cdef public long tries
    cdef public object producer
    cdef public double sent_s
    cdef public double failed_s
    cdef public double network_s
    cdef public double wrote_s
    cdef public unsigned long long bits


@cython.final
cdef class Accumulator:
    cdef double _linger_s
    cdef long _most
    cdef bint _idempotent
    cdef dict _pending
    cdef dict _numbers

    @cython.locals(last=Batch, fresh=cython.bint)
    cpdef bint add(self, long partition, object item, double now_s) except -1
    @cython.locals(last=Batch)
    cpdef bint opens(self, long partition) except -1
    cpdef list due(self, double now_s)
    cpdef list ready(self, object partitions, double now_s)
    cdef bint _may_go(self, Batch batch, double now_s) except -1
    @cython.locals(place=cython.long)
    cpdef put_back(self, Batch batch, double from_s)
    cpdef list clear(self)
