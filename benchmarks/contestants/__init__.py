"""One file per contestant: the model as its users would write it, and nothing else."""
