"""Learnable Regions (Lin et al., CVPR 2024): pictures edited by a text alone, the region of the edit being learned."""
