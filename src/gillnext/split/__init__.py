"""From the layouts of a release's parts to training and held-out sets."""
