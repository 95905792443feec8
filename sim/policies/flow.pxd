cimport cython

cdef double _INF
cdef long _REORDERED
cdef double _MOST_ESTIMATED
cdef double _A_MOMENT_S
cdef double _ROUNDING


cdef class _Odds


@cython.final
cdef class Hole:
    cdef readonly double from_s
    cdef readonly double until_s
    cdef public double left_s
    cdef public double again_s
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
    cdef double _burst_s
    cdef double _burst_before
    cdef double _coming
    cdef double _sample
    cdef double _sample_until_s
    cdef double _wider_s
    cdef list _flying
    cdef double _in_flight
    cdef long _flights
    cdef long _filled
    cdef bint _in_parts
    cdef double _turn_s
    cdef long _messages
    cdef list _planned
    cdef double _ridden_s
    cdef double _repaired_s
    cdef double _of_parts
    cdef double _train_s

    cpdef long segments(self, double size) except? -2
    @cython.locals(
        count=cython.long, full_s=double, last_s=double, sent=cython.long, begin_s=double, burst=cython.long, over_s=double,
        next_s=double, before=cython.long, room=cython.long, most=cython.long, alone=bint, acked_s=double, out=double, last=double,
        odds=_Odds
    )
    cpdef double arrives_s(
        self, double now_s, double size, double latency_s, double rtt_s, double bytes_per_s, double loss, object draw
    ) except? -2
    @cython.locals(carried=cython.long, segments=cython.long, message=cython.long, begin_s=double)
    cdef long _ride(self, double now_s, long count, double full_s) except? -2
    @cython.locals(
        next_s=double, place=cython.long, later=cython.long, out_s=double, again_s=double, repair_s=double, hole=Hole
    )
    cdef double _lose(
        self, _Odds odds, long sent, long burst, long count, long others, double begin_s, double over_s, double full_s,
        double latency_s, double rtt_s
    ) except? -2
    @cython.locals(there_s=double, tail=Hole)
    cdef double _there_s(self, double now_s, double done_s) except? -2
    @cython.locals(beside=double)
    cpdef double room(self, double now_s) except? -2
    @cython.locals(arrives_s=double)
    cpdef double part_s(
        self, double now_s, double size, double latency_s, double rtt_s, double bytes_per_s, double loss, object draw
    ) except? -2
    cdef _estimate(self, double arrives_s, double size, double latency_s, double rtt_s)
    @cython.locals(window=double)
    cdef _widen(self, double sample)
    cdef _grow(self, double acked, double later)
    @cython.locals(free=double, unread=double)
    cdef long _room(self, long left, double last) except? -2
    @cython.locals(back_s=double, number=cython.long, amount=double, is_part=bint)
    cdef _acked(self, double now_s)
    cdef _see(self, double back_s, double size)
    cdef double _has_room_s(self, double now_s, long left, double last) except? -2
    cdef long _of_stream(self) except? -2
    @cython.locals(amount=double)
    cdef _fly(self, double begin_s, double over_s, double acked_s, double size, bint lost)
    @cython.locals(hole=Hole)
    cdef _show(self, double now_s, long count, double latency_s, double rtt_s)
    @cython.locals(hole=Hole, readable_s=double)
    cdef double _in_order_s(self, double now_s, double done_s) except? -2


@cython.final
cdef class _Odds:
    cdef double _loss
    cdef object _draw
    cdef long _drawn
    cdef double _passes
    cdef long missing

    cdef pass_on(self)
    cdef double _next(self) except? -2
    cdef long _lost_from(self, long place) except? -2
    @cython.locals(waited_s=double, times=cython.long)
    cdef double again_s(self, double rto_s) except? -2
