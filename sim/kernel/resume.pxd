cpdef object resume(object generator, object value)
