# cython: language_level=3, binding=False, embedsignature=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False, nonecheck=True
"""SimPy's environment, events and processes, compiled: the same interface, the same order of events, the same errors.

Use it through `sim.kernel.fast`, which has all of SimPy's names and falls back to SimPy where this was not compiled.

What makes it fast: a C heap of plain entries, rings for what is due at once, generators resumed without a Python call, waiters
kept as pointers (the list `event.callbacks` is made when somebody asks for it), and events from pools of memory.

What differs from SimPy 4.1, on purpose:

- Times are C doubles. Ints stay ints (`now` prints as with SimPy) up to 2**53 and raise OverflowError beyond; Decimal, Fraction
  and NumPy numbers become floats or ints.
- Priorities are ints from -32768 to 32767.
- `env._queue` is a tuple, a snapshot: reading it works (tracing), changing the queue through it does not.
- `isinstance(event, simpy.Event)` is true for what this module makes, because `event.__class__` names SimPy's class, while
  `type(event)` is ours. For instances of your own subclasses it is not: they are what their class says.
- Events of SimPy's own classes live in this environment too (`simpy.Store(env)` works as it is); events of this module do not
  live in SimPy's environment.
- Tracebacks name lines of the kernel (`environment.pxi`) where SimPy's name its own; the users' lines are the same.

The parts are included, not imported, so that the C compiler sees one unit and can inline across them.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_ExceptionMatches
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.math cimport fabs
from libc.stdint cimport uint64_t
from libc.string cimport memset

from sim.kernel.agenda cimport (
    ENTRY, EVENT, FIRST_PRIORITY, FOREIGN, LAST_PRIORITY, NORMAL, START, URGENT, Agenda, Due,
    agenda_first, agenda_free, agenda_is_whole, agenda_item, agenda_key, agenda_kind, agenda_length, agenda_number, agenda_pop,
    agenda_priority, agenda_put, agenda_put_now, agenda_time,
)
from sim.kernel.entry cimport Entry

from time import monotonic, sleep

from simpy.core import EmptySchedule, StopSimulation
from simpy.events import PENDING as _PENDING
from simpy.events import _describe_frame
from simpy.exceptions import Interrupt

import simpy

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    # Without `except`: a failing generator is no failure of ours, and its traceback is to begin with the user's line.
    PySendResult PyIter_Send(object generator, object value, PyObject **result)
    PyObject *PyObject_CallMethodOneArg(object receiver, object name, object argument)
    void PyErr_Fetch(PyObject **kind, PyObject **value, PyObject **trace)
    void PyErr_NormalizeException(PyObject **kind, PyObject **value, PyObject **trace)
    int PyException_SetTraceback(PyObject *exception, PyObject *trace)
    int Py_EnterRecursiveCall(const char *where) except *  # not -1: CPython returns 1 or -1
    void Py_LeaveRecursiveCall()
    bint PyIndex_Check(object value)
    bint PyGen_CheckExact(object value)
    double PyLong_AsDouble(object value) except? -1
    object PyObject_GenericGetDict(object owner, void *context)
    int PyObject_GenericSetAttr(object owner, object name, PyObject *value) except -1

    # Cython's own declarations of these let exceptions through; the garbage collector does not.
    ctypedef int (*visitproc)(PyObject *, void *) noexcept
    ctypedef int (*traverseproc)(PyObject *, visitproc, void *) noexcept
    ctypedef int (*inquiry)(PyObject *) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear
        PyObject *tp_dict
    void PyType_Modified(PyTypeObject *type)

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *sim_take(PyObject *o) { return o; }
    """
    object sim_take(PyObject *o)  # an object whose reference was given to us

cdef object PENDING = _PENDING
cdef object StockEvent = simpy.events.Event
cdef object StockCondition = simpy.events.Condition
cdef object StockConditionValue = simpy.events.ConditionValue
cdef object Infinity = simpy.core.Infinity
cdef object all_events = None  # Condition.all_events and any_events, below
cdef object any_events = None

cdef enum:
    UNTRIGGERED = -1
    FAILED = 0
    SUCCEEDED = 1

cdef enum:
    CUSTOM = 0
    ALL = 1
    ANY = 2

cdef double LARGEST_WHOLE = 9007199254740992.0  # 2**53: doubles count one by one up to here


cdef inline double as_time(object time, bint *whole) except? -1:
    """A time or delay in C; `whole` tells whether SimPy would have kept it an int."""
    if type(time) is float:
        whole[0] = False
        return <double>time
    if PyIndex_Check(time):
        whole[0] = True
        return check_whole(PyLong_AsDouble(time if type(time) is int else int(time)))
    whole[0] = False
    return float(time)


cdef inline double check_whole(double time) except? -1:
    if fabs(time) > LARGEST_WHOLE:
        raise OverflowError(
            f"{time:.0f} is beyond 2**53, where whole times are no longer exact on this kernel; "
            "count in larger units, use floats, or use SimPy's own Environment"
        )
    return time


cdef inline object from_time(double time, bint whole):
    if whole:
        return <long long>time
    return time


include "events.pxi"
include "process.pxi"
include "condition.pxi"
include "environment.pxi"
include "realtime.pxi"
include "slots.pxi"

_install_slots()
