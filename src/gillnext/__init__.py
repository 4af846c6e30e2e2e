"""GILL-Next-CN: pictures from Chinese sentences, with every object where the layout says."""

__version__ = "0.1.0"
