"""Print the JSON schema of config.yaml, generated from the dataclasses (kept as config/schema.json)."""

from __future__ import annotations

import argparse
import json

from gillnext.config.load import schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def main(args: argparse.Namespace) -> None:
    print(json.dumps(schema(), ensure_ascii=False, indent=1))
