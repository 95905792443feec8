# Processes: generators that wait for events. Part of core.pyx.


cdef class Process(Event):
    """Runs a generator that yields events: it continues with the value of the event once that has happened.

    The process is an event itself, triggered when the generator returns (with what it returned) or raises (with the exception).
    Raises ValueError if `generator` is none. In a hot loop inside the simulator, prefer `sim.kernel.tasks`.
    """

    def __init__(self, Environment env not None, generator):
        self.start(env, generator)

    cdef int start(self, Environment env, object generator) except -1:
        cdef uint64_t key
        if not PyGen_CheckExact(generator) and not hasattr(generator, "throw"):
            raise ValueError(f"{generator} is not a generator.")
        self.begin(env)
        self._generator = generator
        if env.own_schedule:
            # Whoever looks at what is scheduled is to see what SimPy schedules.
            (<object>env).schedule(self.target, URGENT)
            return 0
        key = agenda_key(&env.agenda, URGENT, START, env.now_is_whole)
        agenda_put_now(&env.agenda, &env.agenda.urgent, env.now_s, key, <PyObject *>self)
        Py_INCREF(self)
        return 0

    def _desc(self):
        """Return a string *Process(process_func_name)*."""
        return f"{type(self).__name__}({self.name})"

    @property
    def target(self):
        """The event that the process waits for; None when it has ended."""
        cdef Initialize initialize
        if self.target_ is None and self.value_ is PENDING and self.env is not None:
            initialize = Initialize.__new__(Initialize)
            initialize.prepare(self.env, self)
            initialize.is_processed = self.has_begun
            self.target_ = initialize
        return self.target_

    @property
    def _target(self):
        return self.target

    @_target.setter
    def _target(self, event):
        self.target_ = event

    @property
    def name(self):
        """Name of the function that the process was started with."""
        return self._generator.__name__

    @property
    def is_alive(self):
        """True until the generator has returned or raised."""
        return self.value_ is PENDING

    def interrupt(self, cause=None):
        """Throw an Interrupt into the process at once.

        Raises RuntimeError if the process has terminated or interrupts itself.
        """
        Interruption(self, cause)

    def _resume(self, event):
        """Continue with the outcome of `event`; stands in `callbacks`."""
        home_of(self)
        self.resume(event)

    cdef int wake(self, Event event) except -1:
        return self.resume(event)

    cdef object as_callback(self):
        return self._resume

    cdef int resume(self, object cause) except -1:
        """Run the generator from the event that woke it to the next one that has not happened yet."""
        cdef Environment env = self.env
        cdef object event = cause
        cdef object generator = self._generator
        cdef PyObject *given
        cdef PySendResult result
        cdef bint failed = False
        self.has_begun = True
        env.active = self
        while True:
            given = NULL
            if isinstance(event, Event) and (<Event>event).state == SUCCEEDED:
                result = PyIter_Send(generator, (<Event>event).value_, &given)
            else:
                try:
                    value = outcome_of(event, &failed)
                except BaseException as error:
                    event = None
                    self.end(error, FAILED)
                    break
                result = throw_into(generator, value, &given) if failed else PyIter_Send(generator, value, &given)
            if result != PYGEN_NEXT:
                event = None
                if result == PYGEN_RETURN:
                    self.end(sim_take(given), SUCCEEDED)
                else:
                    self.end(take_error(), FAILED)
                break
            event = sim_take(given)
            if isinstance(event, Event):
                if not (<Event>event).is_processed:
                    (<Event>event).add_waiter(self)
                    break
            elif self.wait_for_foreign(event):
                break
        self.target_ = event
        env.active = None
        return 0

    cdef int end(self, object value, signed char state) except -1:
        """The generator has returned a value or raised an exception."""
        self.state = state
        self.value_ = value
        return home_of(self).schedule_now(self, NORMAL)

    cdef int wait_for_foreign(self, object event) except -1:
        """Wait for an event of SimPy's own classes; False if it was processed before."""
        try:
            callbacks = event.callbacks
            if callbacks is None:
                return False
            callbacks.append(self._resume)
            return True
        except AttributeError:
            if hasattr(event, "callbacks"):
                raise
        raise RuntimeError(f'\n{_describe_frame(self._generator.gi_frame)}Invalid yield value "{event}"')


cdef object outcome_of(object event, bint *failed):
    """What an event has for a process that waits for it: a value to send, or an exception to throw."""
    failed[0] = not event._ok
    if not failed[0]:
        return event._value
    # The process has no choice but to handle the failed event, or to fail itself.
    event._defused = True
    return copy_of(event._value)


cdef PySendResult throw_into(object generator, object exception, PyObject **given) noexcept:
    """The counterpart of PyIter_Send: the same results, and on PYGEN_ERROR the error is set."""
    given[0] = PyObject_CallMethodOneArg(generator, "throw", exception)
    if given[0] != NULL:
        return PYGEN_NEXT
    if not PyErr_ExceptionMatches(StopIteration):
        return PYGEN_ERROR
    returned = take_error().args
    returned = returned[0] if returned else None
    Py_INCREF(returned)
    given[0] = <PyObject *>returned
    return PYGEN_RETURN


cdef object take_error():
    """The exception that is set right now, with its traceback, which begins in the user's code: no frame of ours is in it."""
    cdef PyObject *kind = NULL
    cdef PyObject *value = NULL
    cdef PyObject *trace = NULL
    PyErr_Fetch(&kind, &value, &trace)
    PyErr_NormalizeException(&kind, &value, &trace)
    if trace != NULL:
        PyException_SetTraceback(value, trace)
        sim_take(trace)
    sim_take(kind)
    return sim_take(value)


#: What a process gets that has not begun.
cdef Event STARTED = Event.__new__(Event)
STARTED.state = SUCCEEDED
STARTED.value_ = None
