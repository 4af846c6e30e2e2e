"""Makes a folder of cut-outs from Debian's package of photographs, `tuxpaint-stamps-default`; needs no root.

    apt-get download tuxpaint-stamps-default
    gillnext cutouts --deb tuxpaint-stamps-default_2022.06.04-1_all.deb --out build/photos

Takes the pictures that a table names (--table; the package's own is `photos.csv`: chosen by eye, photographs alone),
trims them to their objects, scales them down to `SIDE` pixels, and writes them with `objects.csv` and
`ATTRIBUTION.txt`. The .deb is read as the archive that it is, and refused unless it has the SHA-256 that stands here.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from gillnext.config.arguments import add_out
from gillnext.miniatures.world import cutouts
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PACKAGE = "tuxpaint-stamps-default_2022.06.04-1_all.deb"
SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
INSIDE = "./usr/share/tuxpaint/stamps/"  # where the package has its pictures
COPYRIGHT = "./usr/share/doc/tuxpaint-stamps-default/copyright"
CHOSEN = Path(__file__).with_name("photos.csv")
SIDE = 192  # pixels of a cut-out's longer side, at most
MOST = 20 << 20  # bytes of a member of the archive, at most
MAGIC, HEADER = b"!<arch>\n", 60
ABOUT = """\
The pictures of this folder come from Debian's package {package}
(SHA-256 {sha256}),
cut to their objects and scaled down to {side} pixels; objects.csv has file, name, licence and author of each.
What the package says of its licence:

{copyright}"""


def members(deb: bytes, where: str) -> dict[str, bytes]:
    """The files of an `ar` archive, by name (deb(5)); `UserError` where it is none."""
    found, at = dict[str, bytes](), len(MAGIC)
    if not deb.startswith(MAGIC):
        raise UserError("no Debian package", where=where, remedy=f"apt-get download {PACKAGE.split('_')[0]}")
    while at + HEADER <= len(deb):
        header = deb[at : at + HEADER]
        size = int(header[48:58])
        found[header[:16].decode("ascii").strip().rstrip("/")] = deb[at + HEADER : at + HEADER + size]
        at += HEADER + size + size % 2
    return found


def unpack(deb: Path, wanted: list[str], sha256: str = SHA256) -> dict[str, bytes]:
    """The files `wanted`, by their path in the package; `UserError` where the package is another or lacks one."""
    if not deb.is_file():
        raise UserError("no such file", where=str(deb), remedy=f"apt-get download {PACKAGE.split('_')[0]}")
    if (found := files.sha256(deb)) != sha256:
        raise UserError(f"SHA-256 {found}, not {sha256}", where=str(deb), remedy=f"download {PACKAGE} again")
    parts = members(deb.read_bytes(), str(deb))
    data = next((body for name, body in parts.items() if name.startswith("data.tar")), b"")
    contents, names = dict[str, bytes](), set(wanted)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        for member in archive:
            if member.name in names and member.isfile() and member.size <= MOST:
                opened = archive.extractfile(member)
                assert opened is not None
                contents[member.name] = opened.read()
    if lacking := sorted(names - set(contents)):
        raise UserError(f"lacks {lacking[0]}", where=str(deb), remedy="mend the table of cut-outs")
    return contents


def trimmed(rgba: np.ndarray, side: int = SIDE) -> Image.Image:
    """A cut-out (H, W, 4) uint8 at `side` pixels or fewer, its colours weighed by their alpha."""
    image = Image.fromarray(rgba)
    scale = min(side / max(image.size), 1)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)


def make(deb: Path, table: Path, out: Path, sha256: str = SHA256) -> int:
    """Write the folder `out`, whole or not at all; returns how many cut-outs it holds."""
    rows = cutouts.read_table(table)
    contents = unpack(deb, [COPYRIGHT, *(INSIDE + row.file for row in rows)], sha256)
    with files.atomic(out) as folder:
        folder.mkdir()
        written = []
        for row in rows:
            name, where = row.file.replace("/", "-"), f"{table}, line {row.line}"
            path = folder / name
            path.write_bytes(contents[INSIDE + row.file])
            trimmed(cutouts.decode(path, where)).save(path, "PNG", optimize=True)
            written.append((name, row.name, row.measure, row.split, row.licence, row.author))
        with open(folder / cutouts.TABLE, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([(*cutouts.NEEDED, *cutouts.BESIDE), *written])
        told = contents[COPYRIGHT].decode("utf-8")
        about = ABOUT.format(package=PACKAGE, sha256=sha256, side=SIDE, copyright=told)
        (folder / "ATTRIBUTION.txt").write_text(about, encoding="utf-8")
        cutouts.read(folder)
    return len(written)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deb", type=Path, required=True, metavar="FILE", help=f"Debian's {PACKAGE}")
    parser.add_argument("--table", type=Path, default=CHOSEN, metavar="CSV", help="which pictures, and their names")
    add_out(parser, "folder of the cut-outs, for world.objects")


def main(args: argparse.Namespace) -> None:
    print(f"{args.out}: {make(args.deb, args.table, args.out)} cut-outs")
