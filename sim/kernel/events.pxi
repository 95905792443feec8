# Events: what may happen, is going to happen, or has happened. Part of core.pyx.


cdef inline Environment home_of(Event event):
    if event.env is None:
        raise RuntimeError(f"{type(event).__name__} has no environment: call super().__init__(env) before you use it")
    return event.env


cdef inline object copy_of(object exception):
    """An exclusive copy of a failure, so that processes do not write into each other's tracebacks."""
    kind = type(exception)
    # The built-in part of Interrupt's constructor does all the work; SimPy's Python part only repeats it.
    copy = kind.__new__(kind, *exception.args) if kind is Interrupt else kind(*exception.args)
    copy.__cause__ = exception
    return copy


cdef class Event:
    """An event that may happen at some point in time: not triggered, triggered (about to happen), or processed.

    The same as `simpy.Event`: `succeed`, `fail`, `trigger`, `callbacks`, `value`, `ok`, `defused`, `&` and `|` for conditions.
    Subclasses in Python must call `super().__init__(env)` before they use the event.
    """

    def __cinit__(self):
        drop_attributes(self)
        self.value_ = PENDING
        self.state = UNTRIGGERED

    def __init__(self, Environment env not None):
        self.begin(env)

    cdef int begin(self, Environment env) except -1:
        self.env = env
        return 0

    def __repr__(self):
        return f"<{self._desc()} object at {id(self):#x}>"

    def _desc(self):
        """Return a string *Event()*."""
        return f"{type(self).__name__}()"

    @property
    def __class__(self):
        return stock_class_of(self)

    @property
    def __dict__(self):
        return PyObject_GenericGetDict(self, NULL)

    @property
    def triggered(self):
        """True once the event has a value; its callbacks are about to be called, or were."""
        return self.value_ is not PENDING

    @property
    def processed(self):
        """True once the callbacks were called."""
        return self.is_processed

    @property
    def ok(self):
        """True if the event was triggered successfully. Raises AttributeError before it is triggered."""
        return self._ok

    @property
    def _ok(self):
        if self.state == UNTRIGGERED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '_ok'")
        return self.state == SUCCEEDED

    @_ok.setter
    def _ok(self, ok):
        self.state = SUCCEEDED if ok else FAILED

    @property
    def defused(self):
        """True if somebody has taken care of the event's failure; otherwise processing it raises the exception."""
        return self.is_defused

    @defused.setter
    def defused(self, value):
        self.is_defused = True

    @property
    def _defused(self):
        if not self.is_defused:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '_defused'")
        return True

    @_defused.setter
    def _defused(self, value):
        self.is_defused = True

    @property
    def value(self):
        """The event's value. Raises AttributeError before the event is triggered."""
        if self.value_ is PENDING:
            raise AttributeError(f"Value of {self} is not yet available")
        return self.value_

    @property
    def _value(self):
        return self.value_

    @_value.setter
    def _value(self, value):
        self.value_ = value

    @property
    def callbacks(self):
        """Functions that are called with the event when it is processed; None afterwards."""
        if self.is_processed:
            return None
        if not self.has_list:
            self.show_callbacks()
        return self.waiters

    @callbacks.setter
    def callbacks(self, callbacks):
        self.waiter = None
        self.has_first = False
        self.waiters = callbacks
        self.is_processed = callbacks is None
        self.has_list = not self.is_processed

    def trigger(self, event):
        """Take over the state and value of another event and be processed. Can be used as a callback. Returns None."""
        self._ok = event._ok
        self.value_ = event._value
        home_of(self).schedule_now(self, NORMAL)

    def succeed(self, value=None):
        """Trigger the event with a value; returns the event. Raises RuntimeError if it was triggered before."""
        self.succeed_with(value)
        return self

    cdef int succeed_with(self, object value) except -1:
        if self.value_ is not PENDING:
            raise RuntimeError(f"{self} has already been triggered")
        self.state = SUCCEEDED
        self.value_ = value
        return home_of(self).schedule_now(self, NORMAL)

    def fail(self, exception):
        """Trigger the event with an exception; returns the event.

        Raises RuntimeError if it was triggered before, TypeError if `exception` is none.
        """
        self.fail_with(exception)
        return self

    cdef int fail_with(self, object exception) except -1:
        if self.value_ is not PENDING:
            raise RuntimeError(f"{self} has already been triggered")
        if not isinstance(exception, BaseException):
            raise TypeError(f"{exception} is not an exception.")
        self.state = FAILED
        self.value_ = exception
        return home_of(self).schedule_now(self, NORMAL)

    def __and__(self, other):
        return condition_of(home_of(self), all_events, (self, other))

    def __or__(self, other):
        return condition_of(home_of(self), any_events, (self, other))

    cdef int add_waiter(self, Event waiter) except -1:
        """Let a compiled process or condition wait for this event; the event must not be processed yet."""
        if self.has_list:
            self.waiters.append(waiter.as_callback())
        elif self.waiter is None and self.waiters is None:
            self.waiter = waiter
        elif self.waiters is None:
            self.waiters = [waiter]
        else:
            (<list>self.waiters).append(waiter)
        return 0

    cdef int add_callback(self, object callback) except -1:
        """Let a callback be called after those that wait already, without making the list that users see."""
        if self.has_list:
            self.waiters.append(callback)
        elif self.waiters is None:
            self.waiters = [callback]
        else:
            (<list>self.waiters).append(callback)
        return 0

    cdef int remove_waiter(self, Event waiter) except -1:
        """Undo `add_waiter`, once; False if `waiter` does not wait here."""
        cdef Py_ssize_t i
        if self.is_processed:
            return False
        if self.has_list:
            callback = waiter.as_callback()
            if callback not in self.waiters:
                return False
            self.waiters.remove(callback)
            return True
        if self.waiter is waiter:
            self.waiter = None
            return True
        if self.waiters is not None:
            for i in range(len(<list>self.waiters)):
                if (<list>self.waiters)[i] is waiter:
                    del (<list>self.waiters)[i]
                    return True
        return False

    cdef int show_callbacks(self) except -1:
        """Turn the waiters into the list of callbacks that SimPy would have; from now on the list decides."""
        cdef list callbacks = []
        if self.has_first:
            callbacks.append(self.first_callback())
        if self.waiter is not None:
            callbacks.append(self.waiter.as_callback())
        if self.waiters is not None:
            for waiter in <list>self.waiters:
                callbacks.append((<Event>waiter).as_callback() if isinstance(waiter, Event) else waiter)
        self.waiter = None
        self.has_first = False
        self.waiters = callbacks
        self.has_list = True
        return 0

    cdef int wake(self, Event event) except -1:
        """What this event waited for has happened."""
        raise NotImplementedError(type(self).__name__)

    cdef object as_callback(self):
        """The bound method that stands for `wake` in a list of callbacks."""
        raise NotImplementedError(type(self).__name__)

    cdef int happened_first(self) except -1:
        """What the event itself does before those that wait for it, if `has_first`."""
        raise NotImplementedError(type(self).__name__)

    cdef object first_callback(self):
        """The bound method that stands for `happened_first` in the list of callbacks."""
        raise NotImplementedError(type(self).__name__)


cdef class Timeout(Event):
    """An event that is processed after a delay, with an optional value. Raises ValueError if the delay is negative."""

    def __init__(self, Environment env not None, delay, value=None):
        start_timeout(self, env, delay, value)

    def _desc(self):
        """Return a string *Timeout(delay[, value=value])*."""
        value = "" if self.value_ is None else f", value={self.value}"
        return f"{type(self).__name__}({self._delay}{value})"


cdef inline int start_timeout(Timeout timeout, Environment env, object delay, object value) except -1:
    cdef bint whole = False
    cdef double delay_s = as_time(delay, &whole)
    if delay_s < 0:
        raise ValueError(f"Negative delay {delay}")
    timeout.env = env
    timeout.value_ = value
    timeout._delay = delay
    timeout.state = SUCCEEDED
    if env.own_schedule:
        (<object>env).schedule(timeout, NORMAL, delay)
        return 0
    return env.schedule_at(timeout, EVENT, NORMAL, env.now_s + delay_s, whole and env.now_is_whole)


cdef class Initialize(Event):
    """Starts a process. SimPy schedules one for each process; here it exists only where somebody looks at it."""

    def __init__(self, Environment env not None, Process process not None):
        self.prepare(env, process)
        env.schedule_now(self, URGENT)

    cdef int prepare(self, Environment env, Process process) except -1:
        self.begin(env)
        self.process = process
        self.value_ = None
        self.state = SUCCEEDED
        self.has_first = True
        return 0

    cdef int happened_first(self) except -1:
        return self.process.resume(self)

    cdef object first_callback(self):
        return self.process._resume


cdef class Interruption(Event):
    """Throws an Interrupt into a process at once.

    Raises RuntimeError if the process has terminated or is the one that runs right now.
    """

    def __init__(self, Process process not None, cause):
        cdef Environment env = home_of(process)
        if process.value_ is not PENDING:
            raise RuntimeError(f"{process} has terminated and cannot be interrupted.")
        if process is env.active:
            raise RuntimeError("A process is not allowed to interrupt itself.")
        self.begin(env)
        self.value_ = Interrupt.__new__(Interrupt, cause)
        self.state = FAILED
        self.is_defused = True
        self.has_first = True
        self.process = process
        env.schedule_now(self, URGENT)

    cdef int happened_first(self) except -1:
        cdef Process process = self.process
        # Several interrupts may be due at once; the process may have died of an earlier one.
        if process.value_ is not PENDING:
            return 0
        target = process.target_
        if not isinstance(target, Event) or not (<Event>target).remove_waiter(process):
            target.callbacks.remove(process._resume)
        return process.resume(self)

    def _interrupt(self, event):
        """Throw the interrupt; stands in `callbacks`."""
        self.happened_first()

    cdef object first_callback(self):
        return self._interrupt
