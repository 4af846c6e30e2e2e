"""Scores of sets of pictures."""
