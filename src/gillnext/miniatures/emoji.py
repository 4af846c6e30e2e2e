"""Emoji: Google's Noto sprites out of the npm package `emoji-datasource-google`, without npm's running anything.

`emoji.csv` lists those that were chosen: concrete things alone, a sprite by its code points, as the package names its
files. Their nouns are checked against the Chinese names of another package, `emojibase-data`: a noun is the emoji's
name, or the column `why` says why it is another. `gillnext cutouts --emoji --names` makes a folder of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gillnext.miniatures import packages
from gillnext.miniatures.collection import Collection
from gillnext.miniatures.world import cutouts
from gillnext.runtime import files
from gillnext.runtime.errors import UserError


class Package(NamedTuple):
    """A version of an npm package, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str

    @property
    def get(self) -> str:
        """The command that downloads it."""
        return f"npm pack {self.name}@{self.version}"


SPRITES = Package(
    "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
)
NAMES = Package("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a")
INSIDE = "package/img/google/64/"  # where the package has its sprites, of 64 pixels
LICENCE, README = "package/LICENSE", "package/README.md"
CHINESE = "package/zh/data.json"
CHOSEN = Path(__file__).with_name("emoji.csv")
ABOUT = """\
The pictures of this folder are Google's Noto emoji, out of the npm package {sprites.name} {sprites.version}
(SHA-256 {sprites.sha256}),
cut to their objects; objects.csv has file, name, licence and author of each. Their Chinese names were checked against
the npm package {names.name} {names.version} (SHA-256 {names.sha256}).

What the package's own documentation (README.md) says of these pictures:

{images}

What the package's own licence (LICENSE) says:

{licence}"""


def chinese_names(found: dict[str, bytes], where: str) -> dict[str, str]:
    """Code points -> Chinese name, as emojibase has them; `UserError` where its file is another."""
    try:
        rows = json.loads(packages.text(found, CHINESE, where), object_pairs_hook=files.unique)
        return {_code(row["hexcode"]): str(row["label"]) for row in rows}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        said = f"{CHINESE} is no list of hexcode and label: {error!r}"
        raise UserError(said, where=where, remedy=NAMES.get) from error


def _code(points: str) -> str:
    """Code points in capitals, without the selector of a coloured form, which some tables leave out."""
    return "-".join(point for point in points.upper().split("-") if point != "FE0F")


def check_names(rows: Sequence[cutouts.Row], names: dict[str, str], table: Path) -> None:
    """Refuse a noun that is not its emoji's name, unless the row says why; and a reason that nothing needs."""
    for row in rows:
        where, code = f"{table}, line {row.line}", Path(row.file).stem
        called, why = names.get(_code(code)), row.more.get("why", "")
        if called is None:
            raise UserError(f"no emoji {code.upper()}", where=where, remedy="name the file by its code points")
        if (called == row.name) == bool(why):
            said = f"{row.name} is called {called}" + (f": {why}" if why else "")
            raise UserError(said, where=where, remedy="the column why says why a noun is another than the name")


def read(
    sprites: Path, names: Path, table: Path = CHOSEN, of: Package = SPRITES, named_by: Package = NAMES
) -> Collection:
    """The sprites of a package that the table names; `UserError` where a package is another, or a noun is not right."""
    rows = cutouts.read_table(table)
    said = packages.contents(packages.known(names, named_by.sha256, named_by.get), [CHINESE], str(names))
    check_names(rows, chinese_names(said, str(names)), table)
    wanted = [LICENCE, README, *(INSIDE + row.file for row in rows)]
    found = packages.contents(packages.known(sprites, of.sha256, of.get), wanted, str(sprites))
    pictures = {row.file: found[INSIDE + row.file] for row in rows if INSIDE + row.file in found}
    readme, licence = (packages.text(found, name, str(sprites)) for name in (README, LICENCE))
    images = "\n".join(line for line in readme.splitlines() if "Noto" in line)
    return Collection(table, rows, pictures, ABOUT.format(sprites=of, names=named_by, images=images, licence=licence))
