# Resources that are used and given back. Part of resources.pyx.


cdef class Request(Put):
    """A claim to use a resource; triggered once that is granted. As a context manager it gives the resource back at the end."""

    cdef double since_s
    cdef bint since_whole
    cdef object since  # what somebody has set; else `since_s`, once granted
    cdef bint granted

    @property
    def usage_since(self):
        """When the request was granted; None before."""
        return from_time(self.since_s, self.since_whole) if self.granted else self.since

    @usage_since.setter
    def usage_since(self, time):
        self.granted = False
        self.since = time

    def __exit__(self, exc_type, exc_value, traceback):
        if type(self) is not Request and type(self) is not PriorityRequest:
            self.cancel()
        elif self.value_ is PENDING:
            leave(self.resource.put_queue, self)
        # A generator that is thrown away gives nothing back: that would tie it to the resource again.
        if exc_type is GeneratorExit:
            return
        if self.resource.own_release:
            self.resource.release(self)
        else:
            release(<Resource>self.resource, self)


cdef inline object from_time(double time, bint whole):
    return <long long>time if whole else time


cdef class Release(Get):
    """Gives back what a request was granted; triggered at once, also if there was nothing to give back."""

    cdef public object request

    def __init__(self, Resource resource not None, request):
        self.request = request
        self.enter(resource)


cdef inline Release release(Resource resource, object request):
    cdef Release event = Release.__new__(Release)
    event.request = request
    event.enter(resource)
    return event


cdef class PriorityRequest(Request):
    """A claim to use a resource; smaller `priority` first, then earlier ones, then those that preempt."""

    cdef public object priority
    cdef public object preempt
    cdef public object time
    cdef public tuple key

    def __init__(self, BaseResource resource not None, priority=0, preempt=True):
        self.rank(resource, priority, preempt)
        self.enter(resource)

    cdef int rank(self, BaseResource resource, object priority, object preempt) except -1:
        self.priority = priority
        self.preempt = preempt
        self.time = from_time(resource._env.now_s, resource._env.now_is_whole)
        self.key = (priority, self.time, not preempt)
        return 0


cdef class SortedQueue(list):
    """A queue in the order of its events' `key`; RuntimeError once it has `maxlen` of them."""

    cdef public object maxlen

    def __init__(self, maxlen=None):
        super().__init__()
        self.maxlen = maxlen

    @property
    def __class__(self):
        return stock_class(self)

    def append(self, item):
        """Sort an event in, behind those with the same key."""
        cdef Py_ssize_t low = 0, high = len(self), middle
        if self.maxlen is not None and high >= self.maxlen:
            raise RuntimeError("Cannot append event. Queue is full.")
        key = item.key
        while low < high:
            middle = (low + high) // 2
            if key < (<list>self)[middle].key:
                high = middle
            else:
                low = middle + 1
        list.insert(self, low, item)


cdef class Resource(BaseResource):
    """A number of slots that processes request, use, and release; first come first served.

    `users` are the requests that were granted, `queue` those that wait. Raises ValueError unless `capacity` is positive.
    """

    cdef public object users
    cdef public object queue

    def __init__(self, Environment env not None, capacity=1):
        if capacity <= 0:
            raise ValueError('"capacity" must be > 0.')
        BaseResource.__init__(self, env, capacity)
        self.users = []
        self.queue = self.put_queue

    @property
    def count(self):
        """How many slots are in use."""
        return len(self.users)

    def request(self):
        """Request a slot."""
        cdef Request event = Request.__new__(Request)
        event.enter(self)
        return event

    def release(self, request):
        """Give a slot back."""
        return release(self, request)

    def put(self):
        """A bare claim, as `BaseResource` makes it."""
        return Put(self)

    cdef bint do_put(self, Put event) except -1:
        cdef Py_ssize_t used
        cdef Request request
        users = self.users
        used = len(<list>users) if type(users) is list else len(users)
        if self.plain:
            if used >= self.room:
                return False
        elif used >= self.capacity:
            return False
        append_to(users, event)
        if isinstance(event, Request):
            request = <Request>event
            request.granted = True
            request.since_s = self._env.now_s
            request.since_whole = self._env.now_is_whole
        else:
            event.usage_since = self._env.now
        event.succeed_with(None)
        return False

    cdef bint do_get(self, Get event) except -1:
        request = (<Release>event).request if isinstance(event, Release) else event.request
        users = self.users
        # Ours are equal to themselves only: no need to compare a request with hundreds of users.
        if not (type(users) is list and (type(request) is Request or type(request) is PriorityRequest)):
            if request in users:
                users.remove(request)
        else:
            remove_from(<list>users, request)
        event.succeed_with(None)
        return False


cdef inline int remove_from(list users, Request request) except -1:
    cdef Py_ssize_t i
    for i in range(len(users)):
        if users[i] is request:
            users.pop(i)
            break
    return 0


cdef class PriorityResource(Resource):
    """A resource whose queue is sorted by the priority of the requests; smaller ones first."""

    PutQueue = SortedQueue
    GetQueue = list

    def request(self, priority=0, preempt=True):
        """Request a slot with a priority."""
        cdef PriorityRequest event = PriorityRequest.__new__(PriorityRequest)
        event.rank(self, priority, preempt)
        event.enter(self)
        return event


cdef class PreemptiveResource(PriorityResource):
    """A resource whose users lose their slot to more important requests: an Interrupt with a `Preempted` as its cause."""

    cdef bint do_put(self, Put event) except -1:
        if len(self.users) >= self.capacity and event.preempt:
            least = self.users[0]
            for user in self.users:
                if user.key > least.key:
                    least = user
            if least.key > event.key:
                self.users.remove(least)
                least.proc.interrupt(Preempted(by=event.proc, usage_since=least.usage_since, resource=self))
        return Resource.do_put(self, event)
