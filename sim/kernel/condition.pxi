# Conditions: events that happen when others have. Part of core.pyx.


cdef const char *IN_A_CONDITION = " in conditions within conditions"


cdef class ConditionValue:
    """The events of a condition that had happened when it was processed, with their values: reads like a dict, in order."""

    def __cinit__(self):
        self.events = []

    @property
    def __class__(self):
        return stock_class_of(self)

    def __getitem__(self, key):
        if key not in self.events:
            raise KeyError(str(key))
        return key._value

    def __contains__(self, key):
        return key in self.events

    def __eq__(self, other):
        if isinstance(other, (ConditionValue, StockConditionValue)):
            return self.events == other.events
        if isinstance(other, dict):
            return self.todict() == other
        return NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"<ConditionValue {self.todict()}>"

    def __iter__(self):
        return self.keys()

    def keys(self):
        """The events, as an iterator."""
        return iter(self.events)

    def values(self):
        """Their values, as an iterator."""
        return iter([event._value for event in self.events])

    def items(self):
        """Pairs of event and value, as an iterator."""
        return iter([(event, event._value) for event in self.events])

    def todict(self):
        """A dict of value by event."""
        return {event: event._value for event in self.events}


cdef class Condition(Event):
    """An event that is triggered once `evaluate(events, number_processed)` is true, or one of the events fails.

    Its value is a ConditionValue with the events that had happened when the condition was processed. Without events it is
    triggered at once. Raises ValueError if the events are of different environments.
    """

    def __init__(self, Environment env not None, evaluate, events):
        self.watch(env, evaluate, tuple(events))

    cdef int watch(self, Environment env, object evaluate, tuple events) except -1:
        self.begin(env)
        self.decide_by(evaluate)
        self._events = events
        if not events:
            return self.succeed_with(ConditionValue.__new__(ConditionValue))
        for event in events:
            other = (<Event>event).env if isinstance(event, Event) else event.env
            if other is not env and other != env:
                raise ValueError("It is not allowed to mix events from different environments")
        for event in events:
            if isinstance(event, Event):
                if (<Event>event).is_processed:
                    self.wake(<Event>event)
                else:
                    (<Event>event).add_waiter(self)
            elif event.callbacks is None:
                self._check(event)
            else:
                event.callbacks.append(self._check)
        self.has_first = True
        return 0

    @property
    def _evaluate(self):
        return self.evaluate_

    @_evaluate.setter
    def _evaluate(self, evaluate):
        self.decide_by(evaluate)

    cdef int decide_by(self, object evaluate) except -1:
        self.evaluate_ = evaluate
        self.how = ALL if evaluate is all_events else ANY if evaluate is any_events else CUSTOM
        return 0

    def _desc(self):
        """Return a string *Condition(evaluate, [events])*."""
        return f"{type(self).__name__}({self.evaluate_.__name__}, {self._events})"

    @staticmethod
    def all_events(events, count):
        """True if all events have happened."""
        return len(events) == count

    @staticmethod
    def any_events(events, count):
        """True if at least one event has happened, or there is none."""
        return count > 0 or len(events) == 0

    def _check(self, event):
        """One of the events has happened; stands in `callbacks`."""
        if self.value_ is PENDING:
            self.count(event, event._ok)

    cdef int wake(self, Event event) except -1:
        if self.value_ is PENDING:
            if event.state == UNTRIGGERED:
                event._ok  # raises what SimPy raises
            self.count(event, event.state == SUCCEEDED)
        return 0

    cdef int count(self, object event, bint ok) except -1:
        """Trigger the condition if this event decides it."""
        cdef bint met
        self._count += 1
        if not ok:
            event._defused = True
            return self.fail_with(event._value)
        if self.how == ANY:
            met = self._count > 0
        elif self.how == ALL:
            met = self._count == len(self._events)
        else:
            met = self.evaluate_(self._events, self._count)
        return self.succeed_with(None) if met else 0

    cdef object as_callback(self):
        return self._check

    def _build_value(self, event):
        """Collect what has happened; stands in `callbacks`."""
        self.happened_first()

    cdef object first_callback(self):
        return self._build_value

    cdef int happened_first(self) except -1:
        cdef ConditionValue value
        self.let_go()
        if self.state == SUCCEEDED:
            value = ConditionValue.__new__(ConditionValue)
            self.collect(value.events)
            self.value_ = value
        return 0

    def _populate_value(self, value):
        """Add the events that have happened to `value.events`, those of nested conditions included."""
        self.collect(value.events)

    cdef int collect(self, list happened) except -1:
        for event in self._events:
            if isinstance(event, Condition):
                Py_EnterRecursiveCall(IN_A_CONDITION)
                try:
                    (<Condition>event).collect(happened)
                finally:
                    Py_LeaveRecursiveCall()
            elif isinstance(event, Event):
                if (<Event>event).is_processed:
                    happened.append(event)
            elif isinstance(event, StockCondition):
                value = StockConditionValue()
                event._populate_value(value)
                happened.extend(value.events)
            elif event.callbacks is None:
                happened.append(event)
        return 0

    def _remove_check_callbacks(self):
        """Wait for the events no longer, so that those which never happen keep nothing alive."""
        self.let_go()

    cdef int let_go(self) except -1:
        for event in self._events:
            if isinstance(event, Event):
                (<Event>event).remove_waiter(self)
                if isinstance(event, Condition):
                    Py_EnterRecursiveCall(IN_A_CONDITION)
                    try:
                        (<Condition>event).let_go()
                    finally:
                        Py_LeaveRecursiveCall()
            else:
                if event.callbacks and self._check in event.callbacks:
                    event.callbacks.remove(self._check)
                if isinstance(event, StockCondition):
                    event._remove_check_callbacks()
        return 0


all_events = Condition.all_events
any_events = Condition.any_events


cdef class AllOf(Condition):
    """A condition that is triggered once all events have happened, and fails as soon as one of them fails."""

    def __init__(self, Environment env not None, events):
        self.watch(env, all_events, tuple(events))


cdef class AnyOf(Condition):
    """A condition that is triggered once any event has happened, and fails if that one fails."""

    def __init__(self, Environment env not None, events):
        self.watch(env, any_events, tuple(events))


cdef inline Condition condition_of(Environment env, object evaluate, tuple events):
    cdef Condition condition = Condition.__new__(Condition)
    condition.watch(env, evaluate, events)
    return condition
