"""Talking with a trained GILL: it finds pictures, draws them, decides between the two, and is scored at all of it."""
