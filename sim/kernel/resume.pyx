"""Continue a generator, in C: no StopIteration is made when it returns. The same as `resume.py`, which runs uncompiled."""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object generator, object value, PyObject **result) except PYGEN_ERROR

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *sim_take(PyObject *o) { return o; }
    """
    object sim_take(PyObject *o)  # the reference that PyIter_Send gave is now ours


class _Ended:
    def __repr__(self):
        return "ENDED"


ENDED = _Ended()
cdef object _ended = ENDED


cpdef object resume(object generator, object value):
    """Send a value into a generator; return what it yields next, or ENDED when it returns (its result is dropped)."""
    cdef PyObject *result = NULL
    if PyIter_Send(generator, value, &result) == PYGEN_NEXT:
        return sim_take(result)
    sim_take(result)
    return _ended
