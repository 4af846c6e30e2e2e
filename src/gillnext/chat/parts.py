"""What the stages of a conversation share: the options that name the models, and the Talker opened from them."""

from __future__ import annotations

import argparse
from pathlib import Path

from gillnext.config.model import Config
from gillnext.gill.talker import Talker
from gillnext.runtime import training
from gillnext.sample.pictures_folder import dtype


def add_talker(parser: argparse.ArgumentParser) -> None:
    """The options that name a trained GILL and the frozen models that it was trained on."""
    parser.add_argument("--gill", type=Path, required=True, metavar="FOLDER", help="folder of `gillnext gill`")
    parser.add_argument("--language", type=Path, required=True, metavar="FOLDER", help="its frozen language model")
    parser.add_argument("--eyes", type=Path, required=True, metavar="FOLDER", help="its frozen visual encoder")


def open_talker(cfg: Config, args: argparse.Namespace) -> Talker:
    """The Talker that the options of `add_talker` name, on the settings' device."""
    training.setup(cfg.run.threads, cfg.run.device)
    return Talker.load(args.gill, args.language, args.eyes, cfg.run.device, dtype(cfg))
