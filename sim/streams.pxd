cimport cython

cdef unsigned long long _MASK


@cython.locals(x=cython.ulonglong)
cpdef unsigned long long child(unsigned long long parent, unsigned long long purpose) noexcept
cpdef double uniform(unsigned long long bits) noexcept
