"""What moves the simulator's own components on SimPy's clock."""
