"""Trained miniatures of the published classes that look for what they are asked for, as reference/models keeps them."""
