cimport cython

cdef double _INF
cdef long _NONE
cdef double _MOST_ESTIMATED
cdef double _A_MOMENT_S


@cython.final
cdef class Hole:
    cdef readonly double from_s
    cdef readonly double until_s
    cdef double left_s
    cdef double again_s
    cdef long later
    cdef public double not_before_s
    cdef public object waiter

    @cython.locals(told_s=double, until_s=double)
    cdef bint shown(self, double now_s, long count, double latency_s, double rtt_s, double patience) except -1


@cython.final
cdef class Flow:
    cdef object _spec
    cdef double _segment
    cdef double _overhead
    cdef double _most
    cdef double _initial
    cdef bint _restarts
    cdef double _patience_s
    cdef bint _ordered
    cdef readonly double window
    cdef double _threshold
    cdef double _last_s
    cdef list _holes
    cdef readonly long lost
    cdef public list sooner
    cdef readonly Hole tail
    cdef readonly double stream_window
    cdef readonly double connection_window
    cdef bint _estimates
    cdef double _burst
    cdef double _coming
    cdef double _sample
    cdef double _sample_until_s
    cdef double _wider_s
    cdef object _flying
    cdef long _in_flight
    cdef long _parts
    cdef long _filled

    cpdef long segments(self, double size) except? -2
    @cython.locals(
        count=cython.long, full_s=double, last_s=double, sent=cython.long, begin_s=double, done_s=double, missing=cython.long,
        burst=cython.long, over_s=double, next_s=double, hits=cython.long, later=cython.long, out_s=double, repair_s=double,
        again_s=double, there_s=double, tail=Hole
    )
    cpdef double arrives_s(
        self, double now_s, double size, double latency_s, double rtt_s, double bytes_per_s, double loss, object draw
    ) except? -2
    cpdef double room(self, double now_s) except? -2
    @cython.locals(before=double, arrives_s=double)
    cpdef double part_s(
        self, double now_s, double size, double latency_s, double rtt_s, double bytes_per_s, double loss, object draw
    ) except? -2
    cdef _estimate(self, double arrives_s, double size, double latency_s, double rtt_s)
    @cython.locals(window=double)
    cdef _widen(self, double sample)
    cdef _grow(self, double acked, double later)
    cdef long _room(self) except? -2
    cdef _adapt(self, long burst, bint lost)
    @cython.locals(hole=Hole)
    cdef _show(self, double now_s, long count, double latency_s, double rtt_s)
    @cython.locals(hole=Hole, readable_s=double)
    cdef double _in_order_s(self, double now_s, double done_s) except? -2
