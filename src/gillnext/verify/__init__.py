"""What is kept of a run, and whether another run agrees with it."""
