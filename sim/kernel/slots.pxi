# What Cython has no words for: memory pools, lazy instance dicts, and a heap that the garbage collector sees. Part of core.pyx.

cdef extern from *:
    """
    // Events come and go by the million. Their memory is kept for the next one of the same size; what is pooled does not count as
    // an allocation for the garbage collector, which therefore runs far less often.
    #define SIM_POOL_SIZES 32
    #define SIM_POOL_LENGTH 1024
    static PyObject *sim_pool[SIM_POOL_SIZES][SIM_POOL_LENGTH];
    static int sim_pooled[SIM_POOL_SIZES];

    static PyObject *sim_pool_alloc(PyTypeObject *type, Py_ssize_t items) {
        size_t size = (size_t)type->tp_basicsize, kind = size / sizeof(void *);
        PyObject *o;
        if (kind >= SIM_POOL_SIZES || !sim_pooled[kind]) return PyType_GenericAlloc(type, items);
        o = sim_pool[kind][--sim_pooled[kind]];
        memset(o, 0, size);
        (void)PyObject_Init(o, type);
        PyObject_GC_Track(o);
        return o;
    }

    static void sim_pool_free(void *o) {
        size_t kind = (size_t)Py_TYPE((PyObject *)o)->tp_basicsize / sizeof(void *);
        if (kind < SIM_POOL_SIZES && sim_pooled[kind] < SIM_POOL_LENGTH) sim_pool[kind][sim_pooled[kind]++] = (PyObject *)o;
        else PyObject_GC_Del(o);
    }

    static void sim_use_pool(PyTypeObject *type) {
    #ifndef Py_GIL_DISABLED
        type->tp_alloc = sim_pool_alloc;
        type->tp_free = sim_pool_free;
    #endif
    }

    // An instance dict that is made when the first attribute is set: Cython would make one for every event. Macros, as Cython
    // defines the struct further down; should it ever name it differently, this does not compile.
    #define SIM_EVENT struct __pyx_obj_3sim_6kernel_4core_Event
    #define sim_use_lazy_dict(type) (((type)->tp_dictoffset = offsetof(SIM_EVENT, attributes)), PyType_Modified(type))
    #define sim_drop_attributes(event) Py_CLEAR(((SIM_EVENT *)(event))->attributes)
    """
    void use_pool "sim_use_pool"(PyTypeObject *type)
    void use_lazy_dict "sim_use_lazy_dict"(PyTypeObject *type)
    void drop_attributes "sim_drop_attributes"(object event)


cdef traverseproc environment_traverse = NULL
cdef inquiry environment_clear = NULL


cdef int visit_agenda(PyObject *owner, visitproc visit, void *arg) noexcept:
    """Show the garbage collector what is due: a forgotten environment and the generators in its heap hold each other."""
    cdef Agenda *agenda = &(<Environment>owner).agenda
    cdef size_t i
    cdef int found
    for i in range(agenda_length(agenda)):
        found = visit(agenda_item(agenda, i).what, arg)
        if found:
            return found
    return environment_traverse(owner, visit, arg)


cdef int clear_agenda(PyObject *owner) noexcept:
    drop_agenda(<Environment>owner)
    return environment_clear(owner)


cdef int drop_agenda(Environment env) noexcept:
    """Let go of everything that is due. What ends by that may schedule again: it finds an empty agenda."""
    cdef Agenda agenda = env.agenda
    cdef size_t i
    memset(&env.agenda, 0, sizeof(Agenda))
    env.agenda.next_number = agenda.next_number
    for i in range(agenda_length(&agenda)):
        sim_take(agenda_item(&agenda, i).what)
    agenda_free(&agenda)
    return 0


cdef dict STOCK_CLASSES = {
    Environment: simpy.Environment,
    Event: simpy.Event,
    Timeout: simpy.Timeout,
    Process: simpy.Process,
    Initialize: simpy.events.Initialize,
    Interruption: simpy.events.Interruption,
    Condition: simpy.events.Condition,
    AllOf: simpy.AllOf,
    AnyOf: simpy.AnyOf,
    ConditionValue: simpy.events.ConditionValue,
}


cdef object stock_class_of(object thing):
    """The class that `isinstance` is to find beside the real one: SimPy's for ours, nothing special for those of users."""
    return STOCK_CLASSES.get(type(thing), type(thing))


STOCK_CLASSES[RealtimeEnvironment] = simpy.RealtimeEnvironment


def compiled_classes():
    """Ours by SimPy's class, for `sim.kernel.fast`."""
    return {stock: ours for ours, stock in STOCK_CLASSES.items()}


def stock_class(thing):
    """`stock_class_of` for the kernel's own modules."""
    return stock_class_of(thing)


def claim_stock_class(type ours, object stock):
    """Let instances of a compiled class pass as instances of SimPy's class: for the kernel's own modules."""
    STOCK_CLASSES[ours] = stock


def _install_slots():
    """Once, when the module is imported and before there is any instance."""
    global environment_traverse, environment_clear
    cdef PyTypeObject *kind = <PyTypeObject *>Environment
    environment_traverse = kind.tp_traverse
    environment_clear = kind.tp_clear
    kind.tp_traverse = visit_agenda
    kind.tp_clear = clear_agenda
    # One name for both worlds; `cpdef` would look for a replacement in Python at every call from C.
    (<dict>kind.tp_dict)["push"] = (<dict>kind.tp_dict).pop("_push")
    PyType_Modified(kind)
    for each in (Event, Timeout, Process, Initialize, Interruption, Condition, AllOf, AnyOf):
        use_lazy_dict(<PyTypeObject *>each)
        use_pool(<PyTypeObject *>each)
