"""What can be computed from the numbers that the paper prints, and from nothing else."""
