"""What other compiled modules may use of the kernel, on C level."""

from cpython.object cimport PyObject

from sim.kernel.agenda cimport Agenda, Due


cdef class Environment:
    cdef readonly double now_s  # the current time
    cdef bint now_is_whole  # SimPy's `now` would be an int
    cdef bint own_step  # `step` was replaced, by a subclass or on the instance
    cdef bint own_schedule  # the same for `schedule`
    cdef Agenda agenda
    cdef object active
    cdef dict __dict__
    cdef object __weakref__

    cdef int push(self, double at, object entry) except -1  # Python sees it, too
    cdef int schedule_at(self, object entry, int kind, int priority, double at_s, bint whole) except -1
    cdef int schedule_now(self, Event event, int priority) except -1
    cdef int look_for_replacements(self) except -1
    cdef Event stop_at(self, object time)
    cdef int run_on(self) except -1
    cdef int happen(self, Due due) except -1
    cdef int process_event(self, Event event) except -1
    cdef int call_waiters(self, Event event) except -1
    cdef int call_callbacks(self, Event event) except -1
    cdef int process_foreign(self, object event) except -1


cdef class Event:
    cdef public Environment env
    cdef object value_  # PENDING until triggered
    cdef Event waiter  # the first that waits, if it is a compiled process or condition
    cdef object waiters  # None, or the list of the others; the list of callbacks once somebody has asked for it
    cdef dict attributes  # what users set on the event; see slots.pxi
    cdef object __weakref__
    cdef signed char state  # UNTRIGGERED, FAILED or SUCCEEDED
    cdef bint is_defused
    cdef bint is_processed
    cdef bint has_first  # `happened_first` stands at the head of the callbacks
    cdef bint has_list  # `waiters` is the list of callbacks that somebody has seen

    cdef int begin(self, Environment env) except -1
    cdef int succeed_with(self, object value) except -1
    cdef int fail_with(self, object exception) except -1
    cdef int add_waiter(self, Event waiter) except -1
    cdef int add_callback(self, object callback) except -1
    cdef int remove_waiter(self, Event waiter) except -1
    cdef int show_callbacks(self) except -1
    # What subclasses do when they wait, or before those that wait for them.
    cdef int wake(self, Event event) except -1
    cdef object as_callback(self)
    cdef int happened_first(self) except -1
    cdef object first_callback(self)


cdef class Timeout(Event):
    cdef public object _delay


cdef class Initialize(Event):
    cdef public Process process

    cdef int prepare(self, Environment env, Process process) except -1


cdef class Interruption(Event):
    cdef public Process process


cdef class Process(Event):
    cdef public object _generator
    cdef object target_
    cdef bint has_begun

    cdef int start(self, Environment env, object generator) except -1
    cdef int resume(self, object cause) except -1
    cdef int wait_for_foreign(self, object event) except -1
    cdef int end(self, object value, signed char state) except -1


cdef class ConditionValue:
    cdef public list events


cdef class Condition(Event):
    cdef public tuple _events
    cdef public Py_ssize_t _count
    cdef object evaluate_
    cdef char how  # ALL, ANY or CUSTOM

    cdef int watch(self, Environment env, object evaluate, tuple events) except -1
    cdef int decide_by(self, object evaluate) except -1
    cdef int count(self, object event, bint ok) except -1
    cdef int collect(self, list happened) except -1
    cdef int let_go(self) except -1
