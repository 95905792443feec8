cimport cython

from sim.runtime.caller cimport Call as CallInMotion, Caller
from sim.runtime.context cimport Context
from sim.runtime.messages cimport Payload, Stamp, mailbox_of
from sim.runtime.replica cimport Replica
from sim.runtime.steps cimport CallStep
from sim.runtime.visit cimport Edge, Visit, new_visit
from sim.streams cimport child, uniform

cdef int DEGRADED
cdef int ERROR
cdef int OK
cdef int TIMEOUT
cdef double inf


cdef class PublishStep(CallStep):
    cdef Stamp _stamp
    cdef object _store
    cdef bint _by_process
    cdef bint _plain

    cpdef CallInMotion begun_call(self, Replica replica, Context context)
    cpdef run(self, Replica replica, Context context)
    cpdef _publish(self, Replica replica, Context context)


cdef class OutboxStep(PublishStep):
    cdef double _interval_s

    cpdef _publish(self, Replica replica, Context context)


cdef class RequestStep(PublishStep):
    cdef object _terms
    cdef double _timeout_s

    cpdef _publish(self, Replica replica, Context context)
