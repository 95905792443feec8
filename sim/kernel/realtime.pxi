# A clock that keeps pace with the wall's. Part of core.pyx.


class RealtimeEnvironment(Environment):
    """An environment in which a unit of time takes `factor` seconds; for simulations with people or hardware in the loop.

    `step` raises RuntimeError if an event is more than one unit late, unless `strict` is False.
    """

    def __init__(self, initial_time=0, factor=1.0, strict=True):
        super().__init__(initial_time)
        self.env_start = initial_time
        self.real_start = monotonic()
        self._factor = factor
        self._strict = strict

    @property
    def factor(self):
        """Seconds that a unit of time takes."""
        return self._factor

    @property
    def strict(self):
        """Whether being late is an error."""
        return self._strict

    def sync(self):
        """Count from now: what was computed before `run` is not held against the simulation."""
        self.real_start = monotonic()

    def step(self):
        """Wait until the next event is due, then process it. Raises EmptySchedule if there is none."""
        next_time = self.peek()
        if next_time is Infinity:
            raise EmptySchedule
        due = self.real_start + (next_time - self.env_start) * self._factor
        late = monotonic() - due
        if self._strict and late > self._factor:
            raise RuntimeError(f"Simulation too slow for real time ({late:.3f}s).")
        while late < 0:
            sleep(-late)
            late = monotonic() - due
        super().step()
