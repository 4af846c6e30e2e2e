"""What pictures are measured with, by role, each read from its folder: detectors, a feature network, a Chinese-CLIP."""
