"""Motion: services, networks, callers, brokers, arrivals and faults as generator-style processes on SimPy's clock."""
