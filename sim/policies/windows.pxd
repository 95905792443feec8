cimport cython


cdef class Window:
    cdef readonly long calls
    cdef readonly long failures
    cdef readonly long slow

    cpdef record(self, double now_s, bint failed, bint slow)
    cpdef clear(self, double now_s)
    cpdef bint enough(self, long minimum, double now_s) except -1
    cpdef bint failing(self, double threshold_percent) except -1
    cpdef bint slowing(self, double threshold_percent) except -1
    cdef _zero(self)


@cython.final
cdef class CountWindow(Window):
    cdef long _size
    cdef list _ring
    cdef long _next


@cython.final
cdef class _Bucket:
    cdef double began_s
    cdef long calls
    cdef long failures
    cdef long slow


cdef class TimeWindow(Window):
    cdef bint _aligned
    cdef object _buckets
    cdef double _duration_s
    cdef double _width_s

    @cython.locals(bucket=_Bucket)
    cpdef record(self, double now_s, bint failed, bint slow)
    @cython.locals(first=_Bucket, last=_Bucket)
    cdef _Bucket _bucket(self, double stamp_s)


@cython.final
cdef class SnapshotWindow(Window):
    cdef object _complete
    cdef double _every_s
    cdef long _parts
    cdef _Bucket _running
    cdef double _start_s
    cdef long _tick

    cpdef double next_tick_s(self) except? -1
    @cython.locals(bucket=_Bucket, old=_Bucket)
    cpdef roll(self)
    cpdef skip(self, double now_s)


@cython.final
cdef class EmaWindow(TimeWindow):
    cdef double _cleared_s
    cdef double _last_s
    cdef double _success
