# Resources that are filled and emptied: containers and stores. Part of resources.pyx.


cdef class ContainerPut(Put):
    """A claim to put an amount into a container. Raises ValueError unless `amount` is positive."""

    cdef public object amount

    def __init__(self, Container container not None, amount):
        if amount <= 0:
            raise ValueError(f"amount(={amount}) must be > 0.")
        self.amount = amount
        self.enter(container)


cdef class ContainerGet(Get):
    """A claim to get an amount out of a container. Raises ValueError unless `amount` is positive."""

    cdef public object amount

    def __init__(self, Container container not None, amount):
        if amount <= 0:
            raise ValueError(f"amount(={amount}) must be > 0.")
        self.amount = amount
        self.enter(container)


cdef class Container(BaseResource):
    """An amount of something between 0 and `capacity`, `init` of it at first.

    Raises ValueError unless `capacity` is positive and `init` from 0 to `capacity`.
    """

    cdef public object _level

    def __init__(self, Environment env not None, capacity=INFINITE, init=0):
        if capacity <= 0:
            raise ValueError('"capacity" must be > 0.')
        if init < 0:
            raise ValueError('"init" must be >= 0.')
        if init > capacity:
            raise ValueError('"init" must be <= "capacity".')
        BaseResource.__init__(self, env, capacity)
        self._level = init

    @property
    def level(self):
        """How much is in it."""
        return self._level

    def put(self, amount):
        """Put an amount in, once there is room for all of it."""
        return ContainerPut(self, amount)

    def get(self, amount):
        """Get an amount out, once there is as much."""
        return ContainerGet(self, amount)

    cdef bint do_put(self, Put event) except -1:
        amount = (<ContainerPut>event).amount if isinstance(event, ContainerPut) else event.amount
        if self.capacity_ - self._level < amount:
            return False
        self._level += amount
        event.succeed_with(None)
        return True

    cdef bint do_get(self, Get event) except -1:
        amount = (<ContainerGet>event).amount if isinstance(event, ContainerGet) else event.amount
        if self._level < amount:
            return False
        self._level -= amount
        event.succeed_with(None)
        return True


cdef class StorePut(Put):
    """A claim to put an item into a store."""

    cdef public object item

    def __init__(self, Store store not None, item):
        self.item = item
        self.enter(store)


cdef class StoreGet(Get):
    """A claim to get an item out of a store."""


cdef class FilterStoreGet(StoreGet):
    """A claim to get an item for which `filter(item)` is true."""

    cdef public object filter

    def __init__(self, FilterStore resource not None, filter=None):
        self.filter = accept_all if filter is None else filter
        self.enter(resource)


def accept_all(item):
    """The filter that lets every item through."""
    return True


cdef class Store(BaseResource):
    """Slots for objects, first in first out. Raises ValueError unless `capacity` is positive."""

    cdef public object items

    def __init__(self, Environment env not None, capacity=INFINITE):
        if capacity <= 0:
            raise ValueError('"capacity" must be > 0.')
        BaseResource.__init__(self, env, capacity)
        self.items = []

    def put(self, item):
        """Put an item in, once there is room."""
        cdef StorePut event = StorePut.__new__(StorePut)
        event.item = item
        event.enter(self)
        return event

    def get(self):
        """Get the oldest item, once there is one."""
        cdef StoreGet event = StoreGet.__new__(StoreGet)
        event.enter(self)
        return event

    cdef bint do_put(self, Put event) except -1:
        items = self.items
        if (len(<list>items) if type(items) is list else len(items)) < self.room:
            items.append((<StorePut>event).item if isinstance(event, StorePut) else event.item)
            event.succeed_with(None)
        return False

    cdef bint do_get(self, Get event) except -1:
        items = self.items
        if items:
            event.succeed_with((<list>items).pop(0) if type(items) is list else items.pop(0))
        return False


cdef class PriorityStore(Store):
    """A store whose smallest item leaves first; see `simpy.PriorityItem` for items that have no order."""

    cdef bint do_put(self, Put event) except -1:
        if len(self.items) < self.room:
            heappush(self.items, event.item)
            event.succeed_with(None)
        return False

    cdef bint do_get(self, Get event) except -1:
        if self.items:
            event.succeed_with(heappop(self.items))
        return False


cdef class FilterStore(Store):
    """A store whose users say with a function which items they take; later claims may be served before earlier ones."""

    def get(self, filter=None):
        """Get the oldest item for which `filter(item)` is true, once there is one."""
        return FilterStoreGet(self, filter)

    cdef bint do_get(self, Get event) except -1:
        for item in self.items:
            if event.filter(item):
                self.items.remove(item)
                event.succeed_with(item)
                break
        return True
