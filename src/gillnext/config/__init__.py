"""Configuration: frozen dataclasses, read strictly from YAML, with a JSON schema generated from them."""

from gillnext.config.load import load
from gillnext.config.model import Config

__all__ = ["Config", "load"]
