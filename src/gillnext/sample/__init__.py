"""Sampling: the grounded pipeline, the held-out sets, and single pictures for a person."""
