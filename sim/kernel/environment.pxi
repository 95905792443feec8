# The environment: the clock and what is due. Part of core.pyx.

cdef long SIGNALS_EVERY = 1 << 14  # entries of the agenda between two looks for Ctrl-C



cdef inline int kind_of(object entry):
    return ENTRY if isinstance(entry, Entry) else EVENT if isinstance(entry, Event) else FOREIGN


cdef class Environment:
    """Runs events in the order of their times; the same as `simpy.Environment`.

    `initial_time` is where the clock starts, an int or a float in any unit. Raises TypeError if it is no number. Subclasses in
    Python may replace `step` and `schedule`, and so may assignments to an instance; without that both are C.
    """

    def __cinit__(self):
        self.now_is_whole = True
        self.look_for_replacements()

    def __init__(self, initial_time=0):
        self._now = initial_time

    def __dealloc__(self):
        drop_agenda(self)

    @property
    def __class__(self):
        return stock_class_of(self)

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, <PyObject *>value)
        self.look_for_replacements()

    def __delattr__(self, name):
        PyObject_GenericSetAttr(self, name, NULL)
        self.look_for_replacements()

    cdef int look_for_replacements(self) except -1:
        """Find out whether `step` and `schedule` are still those of this class."""
        attributes = (<object>self).__dict__
        self.own_step = "step" in attributes or type(self).step is not Environment.step
        self.own_schedule = "schedule" in attributes or type(self).schedule is not Environment.schedule
        return 0

    @property
    def now(self):
        """The current time."""
        return from_time(self.now_s, self.now_is_whole)

    @property
    def _now(self):
        return from_time(self.now_s, self.now_is_whole)

    @_now.setter
    def _now(self, time):
        cdef bint whole = False
        self.now_s = as_time(time, &whole)
        self.now_is_whole = whole

    @property
    def active_process(self):
        """The process that runs right now, or None."""
        return self.active

    @property
    def _active_proc(self):
        return self.active

    @_active_proc.setter
    def _active_proc(self, process):
        self.active = process

    @property
    def _queue(self):
        """What is scheduled: tuples of time, priority, number and event, in their order. A snapshot."""
        cdef Due *due
        cdef size_t i
        cdef list entries = []
        for i in range(agenda_length(&self.agenda)):
            due = agenda_item(&self.agenda, i)
            what = <object>due.what
            event = (<Process>what).target if agenda_kind(due) == START else what
            time = from_time(agenda_time(due), agenda_is_whole(due))
            entries.append((time, agenda_priority(due), agenda_number(due), event))
        entries.sort()  # the numbers differ: events are never compared
        return tuple(entries)

    @property
    def _eid(self):
        """The counter of what is scheduled: `next` takes a number, as with SimPy."""
        return iter(self._take_number, None)

    def _take_number(self):
        self.agenda.next_number += 1
        return self.agenda.next_number - 1

    def process(self, generator):
        """Start a process: `generator` begins to run at this instant, once the event loop comes to it."""
        cdef Process process = Process.__new__(Process)
        process.start(self, generator)
        return process

    def timeout(self, delay=0, value=None):
        """An event that is processed after `delay`, with `value`. Raises ValueError if the delay is negative."""
        cdef Timeout timeout = Timeout.__new__(Timeout)
        start_timeout(timeout, self, delay, value)
        return timeout

    def event(self):
        """An event that somebody else triggers."""
        cdef Event event = Event.__new__(Event)
        event.env = self
        return event

    def all_of(self, events):
        """A condition that is triggered once all events have happened."""
        cdef Condition condition = AllOf.__new__(AllOf)
        condition.watch(self, all_events, tuple(events))
        return condition

    def any_of(self, events):
        """A condition that is triggered once any of the events has happened."""
        cdef Condition condition = AnyOf.__new__(AnyOf)
        condition.watch(self, any_events, tuple(events))
        return condition

    def schedule(self, event, priority=NORMAL, delay=0):
        """Let an event be processed after `delay`, before those of a larger `priority` at the same time."""
        cdef bint whole = False
        cdef double delay_s = as_time(delay, &whole)
        cdef int level
        if not FIRST_PRIORITY <= priority <= LAST_PRIORITY:
            raise ValueError(f"a priority is an int from {FIRST_PRIORITY} to {LAST_PRIORITY}, not {priority}")
        level = priority
        self.schedule_at(event, kind_of(event), level, self.now_s + delay_s, whole and self.now_is_whole)

    cdef int push(self, double at, object entry) except -1:
        cdef uint64_t key
        if not isinstance(entry, Entry):
            return self.schedule_at(entry, kind_of(entry), NORMAL, at, False)
        key = agenda_key(&self.agenda, NORMAL, ENTRY, False)
        if at == self.now_s:
            agenda_put_now(&self.agenda, &self.agenda.normal, at, key, <PyObject *>entry)
        else:
            agenda_put(&self.agenda, at, key, <PyObject *>entry)
        Py_INCREF(entry)
        return 0

    def _push(self, double at, entry):
        """Schedule an entry (`sim.kernel.entry`) or event at an absolute time, with normal priority; no check that it lies ahead.

        Python sees it as `push`. It cannot be replaced as `schedule` can: compiled callers reach it without looking.
        """
        self.push(at, entry)

    cdef int schedule_at(self, object entry, int kind, int priority, double at_s, bint whole) except -1:
        cdef uint64_t key
        if whole:
            check_whole(at_s)
        key = agenda_key(&self.agenda, priority, kind, whole)
        if at_s == self.now_s and priority == NORMAL:
            agenda_put_now(&self.agenda, &self.agenda.normal, at_s, key, <PyObject *>entry)
        else:
            agenda_put(&self.agenda, at_s, key, <PyObject *>entry)
        Py_INCREF(entry)
        return 0

    cdef int schedule_now(self, Event event, int priority) except -1:
        cdef uint64_t key
        if self.own_schedule:
            (<object>self).schedule(event, priority)
            return 0
        key = agenda_key(&self.agenda, priority, EVENT, self.now_is_whole)
        agenda_put_now(
            &self.agenda,
            &self.agenda.normal if priority == NORMAL else &self.agenda.urgent,
            self.now_s,
            key,
            <PyObject *>event,
        )
        Py_INCREF(event)
        return 0

    def peek(self):
        """The time of what is due next; infinity if nothing is."""
        cdef Due *due = agenda_first(&self.agenda)
        return Infinity if due == NULL else from_time(agenda_time(due), agenda_is_whole(due))

    def step(self):
        """Process what is due next. Raises EmptySchedule if nothing is."""
        cdef Due due
        if not agenda_pop(&self.agenda, &due):
            raise EmptySchedule
        self.happen(due)

    def run(self, until=None):
        """Process events until a time, until an event has happened (returns its value), or until nothing is due.

        Raises ValueError if the time has passed already, RuntimeError if nothing is left to do and the event has not happened.
        """
        self.look_for_replacements()  # somebody may have changed a class meanwhile
        if until is not None:
            if not isinstance(until, (Event, StockEvent)):
                until = self.stop_at(until)
            elif until.processed:
                return until.value
            if isinstance(until, Event):
                (<Event>until).add_callback(StopSimulation.callback)
            else:
                until.callbacks.append(StopSimulation.callback)
        try:
            if self.own_step:
                while True:
                    (<object>self).step()
            self.run_on()
        except StopSimulation as stop:
            return stop.args[0]
        except EmptySchedule:
            pass
        if until is not None:
            assert not until.triggered
            raise RuntimeError(f'No scheduled events left but "until" event was not triggered: {until}')
        return None

    cdef Event stop_at(self, object time):
        """An event that happens at a time, before all that is due there."""
        cdef Event event = Event.__new__(Event)
        at = time if isinstance(time, int) else float(time)
        now = self.now
        if at <= now:
            raise ValueError(f"until ({at}) must be greater than the current simulation time")
        event.env = self
        event.state = SUCCEEDED
        event.value_ = None
        (<object>self).schedule(event, URGENT, at - now)
        return event

    cdef int run_on(self) except -1:
        """Process all that is due, until something raises."""
        cdef Due due
        cdef long left = SIGNALS_EVERY
        while agenda_pop(&self.agenda, &due):
            self.happen(due)
            left -= 1
            if not left:
                left = SIGNALS_EVERY
                PyErr_CheckSignals()
        return 0

    cdef int happen(self, Due due) except -1:
        """Set the clock and do what was due then."""
        cdef object entry = sim_take(due.what)
        cdef int kind = agenda_kind(&due)
        cdef Process process
        self.now_s = agenda_time(&due)
        self.now_is_whole = agenda_is_whole(&due)
        if kind == EVENT:
            return self.process_event(<Event>entry)
        if kind == ENTRY:
            (<Entry>entry).fire()
            return 0
        if kind == FOREIGN:
            return self.process_foreign(entry)
        process = <Process>entry
        if isinstance(process.target_, Initialize):
            return self.process_event(<Event>process.target_)
        return process.resume(STARTED)

    cdef int process_event(self, Event event) except -1:
        cdef Event waiter
        if event.is_processed:
            raise TypeError(f"{event} was scheduled twice: 'NoneType' object is not iterable")
        event.is_processed = True
        if event.has_list:
            self.call_callbacks(event)
        else:
            if event.has_first:
                event.happened_first()
            waiter = event.waiter
            if waiter is not None:
                event.waiter = None
                waiter.wake(event)
            if event.waiters is not None:
                self.call_waiters(event)
        if event.state != SUCCEEDED and not event.is_defused:
            if event.state == UNTRIGGERED:
                event._ok  # raises what SimPy raises
            raise copy_of(event.value_)
        return 0

    cdef int call_waiters(self, Event event) except -1:
        """Wake the second and further waiters; a callback among them may stop the run, then the rest happens when it goes on."""
        cdef list waiters = <list>event.waiters
        cdef Py_ssize_t i
        event.waiters = None
        for i in range(len(waiters)):
            waiter = waiters[i]
            if isinstance(waiter, Event):
                (<Event>waiter).wake(event)
                continue
            try:
                waiter(event)
            except StopSimulation:
                event.has_first = False
                event.waiters = waiters[i + 1 :]
                event.is_processed = False
                (<object>self).schedule(event, -1)
                raise
        return 0

    cdef int call_callbacks(self, Event event) except -1:
        callbacks = event.waiters
        event.waiters = None
        event.has_list = False
        callback = None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            event.callbacks = callbacks[callbacks.index(callback) + 1 :]
            (<object>self).schedule(event, -1)
            raise
        return 0

    cdef int process_foreign(self, object event) except -1:
        """SimPy's own protocol, for events of its own classes and whatever else has `callbacks` and `_ok`."""
        callbacks = event.callbacks
        event.callbacks = None
        callback = None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            event.callbacks = callbacks[callbacks.index(callback) + 1 :]
            (<object>self).schedule(event, -1)
            raise
        if not event._ok and not hasattr(event, "_defused"):
            raise copy_of(event._value)
        return 0

