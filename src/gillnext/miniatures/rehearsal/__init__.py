"""The rehearsal: what a lab has, in miniature: a release with pictures as the web has them, and checkpoints."""
