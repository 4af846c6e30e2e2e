"""A local page to draw on: a sentence and boxes in, pictures with and without the adapter out."""
