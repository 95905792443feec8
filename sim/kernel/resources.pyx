# cython: language_level=3, binding=False, embedsignature=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False, nonecheck=True
"""SimPy's resources, compiled: `Resource`, `Container`, `Store` and their kin with the same behaviour, attributes and errors.

SimPy's own Python classes run on the compiled environment as well, at a fraction of the speed. Subclasses in Python work as with
SimPy: whoever replaces `_do_put`, `_do_get`, `_trigger_put`, `_trigger_get`, `request`, `release`, `put` or `get`, in a class or
on an instance, is asked; what is not replaced stays in C.
"""

from heapq import heappop, heappush

from simpy.core import BoundClass
from simpy.events import PENDING as _PENDING
from simpy.resources import base, container, resource as resources, store
from simpy.resources.resource import Preempted

from cpython.object cimport PyObject

from sim.kernel.core cimport Environment, Event

from sim.kernel.core import claim_stock_class, stock_class

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object owner, object name, PyObject *value) except -1

cdef object PENDING = _PENDING
cdef double INFINITE = float("inf")


cdef class Claim(Event):
    """What `Put` and `Get` share: an event that is triggered once the resource can serve it. As a context manager it cancels."""

    cdef public BaseResource resource
    cdef public object proc

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.cancel()

    cdef int enter(self, BaseResource resource) except -1:
        """Queue up at the resource."""
        raise NotImplementedError(type(self).__name__)

    def cancel(self):
        """Leave the queue, if the claim was not served yet."""
        raise NotImplementedError(type(self).__name__)


cdef class Put(Claim):
    """A claim to put something into a resource."""

    def __init__(self, BaseResource resource not None):
        self.enter(resource)

    cdef int enter(self, BaseResource resource) except -1:
        self.env = resource._env
        self.resource = resource
        self.proc = resource._env.active
        if not resource.plain:
            resource.put_queue.append(self)
            self.callbacks.append(resource._trigger_get)
            resource._trigger_put(None)
            return 0
        self.has_first = True
        if resource.at_once and type(resource.put_queue) is list and not resource.put_queue:
            resource.do_put(self)
            if self.value_ is PENDING:
                (<list>resource.put_queue).append(self)
            return 0
        append_to(resource.put_queue, self)
        return resource.trigger_put()

    cdef int happened_first(self) except -1:
        if self.resource.plain:
            return self.resource.trigger_get()
        self.resource._trigger_get(self)
        return 0

    cdef object first_callback(self):
        return self.resource._trigger_get

    def cancel(self):
        """Leave the queue, if the claim was not served yet."""
        if self.value_ is PENDING:
            leave(self.resource.put_queue, self)


cdef class Get(Claim):
    """A claim to get something out of a resource."""

    def __init__(self, BaseResource resource not None):
        self.enter(resource)

    cdef int enter(self, BaseResource resource) except -1:
        self.env = resource._env
        self.resource = resource
        self.proc = resource._env.active
        if not resource.plain:
            resource.get_queue.append(self)
            self.callbacks.append(resource._trigger_put)
            resource._trigger_get(None)
            return 0
        self.has_first = True
        if resource.at_once and type(resource.get_queue) is list and not resource.get_queue:
            resource.do_get(self)
            if self.value_ is PENDING:
                (<list>resource.get_queue).append(self)
            return 0
        append_to(resource.get_queue, self)
        return resource.trigger_get()

    cdef int happened_first(self) except -1:
        if self.resource.plain:
            return self.resource.trigger_put()
        self.resource._trigger_put(self)
        return 0

    cdef object first_callback(self):
        return self.resource._trigger_put

    def cancel(self):
        """Leave the queue, if the claim was not served yet."""
        if self.value_ is PENDING:
            leave(self.resource.get_queue, self)


cdef inline int append_to(object queue, Claim claim) except -1:
    if type(queue) is list:
        (<list>queue).append(claim)
    else:
        queue.append(claim)
    return 0


cdef int leave(object queue, Claim claim) except -1:
    """Remove a claim from its queue; ValueError if it is not there."""
    cdef Py_ssize_t i
    # Claims are equal to themselves only: no need to compare one with thousands of others. Subclasses may see that differently.
    if is_list(queue) and type(claim) in (Request, PriorityRequest, StorePut, StoreGet):
        for i in range(len(<list>queue)):
            if (<list>queue)[i] is claim:
                (<list>queue).pop(i)
                return 0
    queue.remove(claim)
    return 0


cdef inline bint is_list(object queue):
    """Whether the queue's memory is that of a list: then it is read without asking Python."""
    return type(queue) is list or type(queue) is SortedQueue


cdef class BaseResource:
    """What all resources share: two queues of claims and the rule by which they are served.

    Subclasses in Python say what a claim needs in `_do_put` and `_do_get` (trigger the claim if it can be served; return a true
    value to look at the next one), and may choose their queues with `PutQueue` and `GetQueue`.
    """

    PutQueue = list
    GetQueue = list

    cdef public Environment _env
    cdef public object put_queue
    cdef public object get_queue
    cdef object capacity_
    cdef double room
    cdef bint plain  # none of the four inner methods was replaced
    cdef bint at_once  # serving a claim calls nobody who could miss it in the queue
    cdef bint own_release
    cdef dict __dict__
    cdef object __weakref__

    def __init__(self, Environment env not None, capacity):
        self._env = env
        self._capacity = capacity
        self.put_queue = self.PutQueue()
        self.get_queue = self.GetQueue()
        BoundClass.bind_early(self)
        self.look_for_replacements()

    @property
    def __class__(self):
        return stock_class(self)

    @property
    def capacity(self):
        """How much the resource can hold, or how many can use it."""
        return self.capacity_

    @property
    def _capacity(self):
        return self.capacity_

    @_capacity.setter
    def _capacity(self, capacity):
        self.room = capacity
        self.capacity_ = capacity

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, <PyObject *>value)
        if name in (<object>self).__dict__:
            self.look_for_replacements()

    def __delattr__(self, name):
        PyObject_GenericSetAttr(self, name, NULL)
        self.look_for_replacements()

    cdef int look_for_replacements(self) except -1:
        own, kind = (<object>self).__dict__, type(self)
        self.plain = kind.capacity is BaseResource.capacity
        for name in ("_do_put", "_do_get", "_trigger_put", "_trigger_get"):
            if name in own or getattr(kind, name) is not getattr(BaseResource, name):
                self.plain = False
        self.at_once = self.plain and not isinstance(self, FilterStore)
        self.own_release = "release" in own or getattr(kind, "release", None) is not Resource.release
        return 0

    def put(self):
        """A claim to put something into the resource."""
        return Put(self)

    def get(self):
        """A claim to get something out of the resource."""
        return Get(self)

    def _do_put(self, event):
        """Serve a claim of the put queue if that is possible; a true value asks for the next one."""
        return self.do_put(event)

    def _do_get(self, event):
        """Serve a claim of the get queue if that is possible; a true value asks for the next one."""
        return self.do_get(event)

    cdef bint do_put(self, Put event) except -1:
        raise NotImplementedError(self)

    cdef bint do_get(self, Get event) except -1:
        raise NotImplementedError(self)

    def _trigger_put(self, get_event):
        """Serve what can be served of the put queue."""
        self.trigger_put()

    def _trigger_get(self, put_event):
        """Serve what can be served of the get queue."""
        self.trigger_get()

    cdef int trigger_put(self) except -1:
        cdef Py_ssize_t i = 0
        cdef list queue
        cdef Put claim
        cdef bint proceed = True
        if not (self.plain and is_list(self.put_queue)):
            return self.trigger(self.put_queue, self._do_put, "Put")
        queue = <list>self.put_queue
        while proceed and i < len(queue):
            claim = <Put?>queue[i]
            proceed = self.do_put(claim)
            if claim.value_ is PENDING:
                i += 1
            elif i >= len(queue) or queue.pop(i) is not claim:
                raise RuntimeError("Put queue invariant violated")
        return 0

    cdef int trigger_get(self) except -1:
        cdef Py_ssize_t i = 0
        cdef list queue
        cdef Get claim
        cdef bint proceed = True
        if not (self.plain and is_list(self.get_queue)):
            return self.trigger(self.get_queue, self._do_get, "Get")
        queue = <list>self.get_queue
        while proceed and i < len(queue):
            claim = <Get?>queue[i]
            proceed = self.do_get(claim)
            if claim.value_ is PENDING:
                i += 1
            elif i >= len(queue) or queue.pop(i) is not claim:
                raise RuntimeError("Get queue invariant violated")
        return 0

    cdef int trigger(self, object queue, object serve, str name) except -1:
        """The same for queues and rules that users have written."""
        i = 0
        while i < len(queue):
            claim = queue[i]
            proceed = serve(claim)
            if not claim.triggered:
                i += 1
            elif queue.pop(i) != claim:
                raise RuntimeError(f"{name} queue invariant violated")
            if not proceed:
                break
        return 0


include "usage.pxi"
include "stocks.pxi"

for ours, stock in (
    (Put, base.Put), (Get, base.Get), (BaseResource, base.BaseResource),
    (Request, resources.Request), (Release, resources.Release), (PriorityRequest, resources.PriorityRequest),
    (SortedQueue, resources.SortedQueue), (Resource, resources.Resource),
    (PriorityResource, resources.PriorityResource), (PreemptiveResource, resources.PreemptiveResource),
    (ContainerPut, container.ContainerPut), (ContainerGet, container.ContainerGet), (Container, container.Container),
    (StorePut, store.StorePut), (StoreGet, store.StoreGet), (FilterStoreGet, store.FilterStoreGet),
    (Store, store.Store), (PriorityStore, store.PriorityStore), (FilterStore, store.FilterStore),
):
    claim_stock_class(ours, stock)
