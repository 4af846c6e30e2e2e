"""What a run is told by: tables of its scores and its trainings, gathered once and read by all that tells of it."""
