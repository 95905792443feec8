"""What is due, in SimPy's order: by time, then by priority, then first come first served. Plain C, inlined where it is used.

Most of what happens is due at once (a succeeded event, a granted request, the start of a process). Those entries come in the
order in which they leave, so two rings take them and only what lies in the future pays for a heap::

    starts and interrupts of this instant  --ring-->  \
    everything else of this instant        --ring-->   the smallest of three leaves first
    the future                             --heap-->  /

An agenda owns one reference to each entry; whoever pops it has it.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc

cdef extern from *:
    """
    #ifndef SIM_AGENDA
    #define SIM_AGENDA
    #include <stdint.h>
    #include <string.h>

    // A time as an integer of the same order. Together with the key it is one number of 128 bits: comparing needs no branch, and
    // a processor that need not guess the smaller child sifts a heap of a thousand entries in 40 % less time.
    static inline uint64_t sim_from_time(double time) {
        uint64_t bits;
        time += 0.0;  // there are two zeros, and they are equal
        memcpy(&bits, &time, sizeof bits);
        return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
    }

    static inline double sim_to_time(uint64_t bits) {
        double time;
        bits = bits >> 63 ? bits & 0x7fffffffffffffffu : ~bits;
        memcpy(&time, &bits, sizeof time);
        return time;
    }

    #ifdef __SIZEOF_INT128__
    #define SIM_NUMBER(due) (((unsigned __int128)(due)->at << 64) | (due)->key)
    #define sim_before(a, b) (SIM_NUMBER(a) < SIM_NUMBER(b))
    #else
    #define sim_before(a, b) ((a)->at < (b)->at || ((a)->at == (b)->at && (a)->key < (b)->key))
    #endif
    #endif
    """
    uint64_t from_time "sim_from_time"(double time) noexcept nogil
    double to_time "sim_to_time"(uint64_t at) noexcept nogil
    bint before "sim_before"(const Due *a, const Due *b) noexcept nogil

cdef struct Due:
    uint64_t at  # the time, see above
    uint64_t key  # priority (16 bits) | number in the order of scheduling (45) | kind of entry (2) | SimPy's time is an int (1)
    PyObject *what

cdef struct Ring:
    Due *slots
    size_t first
    size_t count
    size_t room  # a power of two, or 0

cdef struct Agenda:
    Due *heap
    size_t count
    size_t room
    Ring urgent
    Ring normal
    uint64_t next_number

#: The kinds of entries, so that the event loop need not ask for types.
cdef enum:
    EVENT = 0
    START = 1  # a process that has not begun: stands for SimPy's Initialize event
    ENTRY = 2
    FOREIGN = 3

cdef enum:
    URGENT = 0
    NORMAL = 1
    FIRST_PRIORITY = -32768
    LAST_PRIORITY = 32767


cdef inline uint64_t agenda_key(Agenda *agenda, int priority, int kind, bint whole) except? 0:
    """The next entry's place among entries of the same time."""
    cdef uint64_t number = agenda.next_number
    if number >> 45:
        raise OverflowError("more than 2**45 events were scheduled in one environment")
    agenda.next_number = number + 1
    return (<uint64_t>(priority - FIRST_PRIORITY) << 48) | (number << 3) | (<uint64_t>kind << 1) | <uint64_t>whole


cdef inline int agenda_priority(const Due *due) noexcept nogil:
    return <int>(due.key >> 48) + FIRST_PRIORITY


cdef inline uint64_t agenda_number(const Due *due) noexcept nogil:
    return (due.key >> 3) & ((<uint64_t>1 << 45) - 1)


cdef inline int agenda_kind(const Due *due) noexcept nogil:
    return <int>(due.key >> 1) & 3


cdef inline bint agenda_is_whole(const Due *due) noexcept nogil:
    return due.key & 1


cdef inline double agenda_time(const Due *due) noexcept nogil:
    return to_time(due.at)


cdef inline int _ring_grow(Ring *ring) except -1:
    cdef size_t room = ring.room * 2 if ring.room else 64
    cdef Due *slots = <Due *>malloc(room * sizeof(Due))
    cdef size_t i
    if slots == NULL:
        raise MemoryError()
    for i in range(ring.count):
        slots[i] = ring.slots[(ring.first + i) & (ring.room - 1)]
    free(ring.slots)
    ring.slots = slots
    ring.first = 0
    ring.room = room
    return 0


cdef inline bint _ring_put(Ring *ring, const Due *due) except -1:
    """Append, unless that would break the order (somebody set the clock back): then False."""
    if ring.count == ring.room:
        _ring_grow(ring)
    if ring.count and due.at < ring.slots[(ring.first + ring.count - 1) & (ring.room - 1)].at:
        return False
    ring.slots[(ring.first + ring.count) & (ring.room - 1)] = due[0]
    ring.count += 1
    return True


cdef inline int _heap_put(Agenda *agenda, const Due *due) except -1:
    cdef size_t at = agenda.count
    cdef size_t parent, room
    cdef Due *heap
    if at == agenda.room:
        room = agenda.room * 2 if agenda.room else 64
        heap = <Due *>realloc(agenda.heap, room * sizeof(Due))
        if heap == NULL:
            raise MemoryError()
        agenda.heap = heap
        agenda.room = room
    heap = agenda.heap
    while at:
        parent = (at - 1) >> 1
        if not before(due, &heap[parent]):
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = due[0]
    agenda.count += 1
    return 0


cdef inline void _heap_drop_first(Agenda *agenda) noexcept nogil:
    cdef Due *heap = agenda.heap
    cdef size_t count = agenda.count - 1
    cdef size_t at = 0
    cdef size_t child = 2
    cdef Due last = heap[count]
    agenda.count = count
    while child < count:
        child -= before(&heap[child - 1], &heap[child])
        if not before(&heap[child], &last):
            break
        heap[at] = heap[child]
        at = child
        child = 2 * at + 2
    if child == count and before(&heap[child - 1], &last):
        heap[at] = heap[child - 1]
        at = child - 1
    heap[at] = last


cdef inline int agenda_put(Agenda *agenda, double at_s, uint64_t key, PyObject *what) except -1:
    """Add an entry at any time; takes over one reference to `what` (if it succeeds)."""
    cdef Due due
    due.at = from_time(at_s)
    due.key = key
    due.what = what
    return _heap_put(agenda, &due)


cdef inline int agenda_put_now(Agenda *agenda, Ring *ring, double now_s, uint64_t key, PyObject *what) except -1:
    """The same for this instant; `ring` is that of the entry's priority."""
    cdef Due due
    due.at = from_time(now_s)
    due.key = key
    due.what = what
    if not _ring_put(ring, &due):
        _heap_put(agenda, &due)
    return 0


cdef inline Due *agenda_first(Agenda *agenda) noexcept nogil:
    """What is due next, or NULL."""
    cdef Due *first = NULL
    cdef Due *other
    if agenda.normal.count:
        first = &agenda.normal.slots[agenda.normal.first]
    if agenda.urgent.count:
        other = &agenda.urgent.slots[agenda.urgent.first]
        if first == NULL or before(other, first):
            first = other
    if agenda.count and (first == NULL or before(agenda.heap, first)):
        first = agenda.heap
    return first


cdef inline bint agenda_pop(Agenda *agenda, Due *due) noexcept nogil:
    """Take what is due next; False if there is nothing. The reference to `due.what` goes to the caller."""
    cdef Due *first = agenda_first(agenda)
    cdef Ring *ring
    if first == NULL:
        return False
    due[0] = first[0]
    if first == agenda.heap:
        _heap_drop_first(agenda)
        return True
    ring = &agenda.normal
    if not ring.count or first != &ring.slots[ring.first]:
        ring = &agenda.urgent
    ring.first = (ring.first + 1) & (ring.room - 1)
    ring.count -= 1
    return True


cdef inline size_t agenda_length(Agenda *agenda) noexcept nogil:
    return agenda.count + agenda.urgent.count + agenda.normal.count


cdef inline Due *agenda_item(Agenda *agenda, size_t i) noexcept nogil:
    """The i-th entry in no particular order, i below `agenda_length`."""
    if i < agenda.count:
        return &agenda.heap[i]
    i -= agenda.count
    if i < agenda.urgent.count:
        return &agenda.urgent.slots[(agenda.urgent.first + i) & (agenda.urgent.room - 1)]
    i -= agenda.urgent.count
    return &agenda.normal.slots[(agenda.normal.first + i) & (agenda.normal.room - 1)]


cdef inline void agenda_free(Agenda *agenda) noexcept nogil:
    """Give the memory back, not the references."""
    free(agenda.heap)
    free(agenda.urgent.slots)
    free(agenda.normal.slots)
