"""A run's record: tables of its scores and trainings, gathered once, from which tables, claims and figures are made."""
