"""Boxes for the objects that a caption names: annotators and their stage."""
