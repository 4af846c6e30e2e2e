"""The roles that models play, and where each comes from: made by this workflow, or given. Standard library alone."""
