"""Makes a folder of cut-outs, for `world.objects`, from a package of pictures: Debian's photographs, or emoji.

    apt-get download tuxpaint-stamps-default
    gillnext cutouts --deb tuxpaint-stamps-default_2022.06.04-1_all.deb --out build/photos

    npm pack emoji-datasource-google@16.0.0 emojibase-data@17.0.0
    gillnext cutouts --emoji emoji-datasource-google-16.0.0.tgz --names emojibase-data-17.0.0.tgz --out build/emoji

Takes the pictures that a table names (--table; the package's own are `photos.csv` and `emoji.csv`), trims them to their
objects, scales them down to 192 pixels, and writes them with `objects.csv` and `ATTRIBUTION.txt`. Needs no root, and
runs nothing of what it reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gillnext.config.arguments import add_out
from gillnext.miniatures import collection, emoji, stamps
from gillnext.runtime.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--deb", type=Path, metavar="FILE", help=f"Debian's {stamps.PACKAGE}")
    source.add_argument("--emoji", type=Path, metavar="TGZ", help=f"what {emoji.SPRITES.get} wrote")
    parser.add_argument("--names", type=Path, metavar="TGZ", help=f"with --emoji: what {emoji.NAMES.get} wrote")
    parser.add_argument("--table", type=Path, metavar="CSV", help="which pictures, and their names")
    add_out(parser, "folder of the cut-outs, for world.objects")


def main(args: argparse.Namespace) -> None:
    if bool(args.emoji) != bool(args.names):
        raise UserError("--emoji and --names go together", where="cutouts", remedy=emoji.NAMES.get)
    if args.deb:
        found = stamps.read(args.deb, args.table or stamps.CHOSEN)
    else:
        found = emoji.read(args.emoji, args.names, args.table or emoji.CHOSEN)
    print(f"{args.out}: {collection.write(found, args.out)} cut-outs")
