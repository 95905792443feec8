cimport cython

cdef unsigned long long _MASK
cdef unsigned long long _STEP
cdef unsigned long long _MIX_1
cdef unsigned long long _MIX_2


@cython.locals(x=cython.ulonglong)
cpdef unsigned long long child(unsigned long long parent, unsigned long long purpose) noexcept
cpdef double uniform(unsigned long long bits) noexcept
