"""Scores of image sets, and the small networks that the scores look through."""
