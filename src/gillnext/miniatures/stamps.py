"""Debian's photographs: the package `tuxpaint-stamps-default`, read without root.

`photos.csv` lists those that were chosen by eye, photographs with a clean outline alone; `gillnext cutouts --deb` makes
a folder of them.
"""

from __future__ import annotations

from pathlib import Path

from gillnext.miniatures import packages
from gillnext.miniatures.collection import SIDE, Collection
from gillnext.miniatures.world import cutouts

PACKAGE = "tuxpaint-stamps-default_2022.06.04-1_all.deb"
SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
GET = "apt-get download tuxpaint-stamps-default"
INSIDE = "./usr/share/tuxpaint/stamps/"  # where the package has its pictures
COPYRIGHT = "./usr/share/doc/tuxpaint-stamps-default/copyright"
CHOSEN = Path(__file__).with_name("photos.csv")
ABOUT = """\
The pictures of this folder come from Debian's package {package}
(SHA-256 {sha256}),
cut to their objects and scaled down to {side} pixels; objects.csv has file, name, licence and author of each.
What the package says of its licence:

{copyright}"""


def read(deb: Path, table: Path = CHOSEN, sha256: str = SHA256) -> Collection:
    """The pictures of the package that the table names; `UserError` where it is another package, or is broken."""
    rows = cutouts.read_table(table)
    tar = packages.debian(packages.known(deb, sha256, GET), str(deb))
    found = packages.contents(tar, [COPYRIGHT, *(INSIDE + row.file for row in rows)], str(deb))
    pictures = {row.file: found[INSIDE + row.file] for row in rows if INSIDE + row.file in found}
    copyright = packages.text(found, COPYRIGHT, str(deb))
    about = ABOUT.format(package=PACKAGE, sha256=sha256, side=SIDE, copyright=copyright)
    return Collection(table, rows, pictures, about)
