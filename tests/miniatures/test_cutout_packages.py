"""Packages of pictures become folders of cut-outs: made-up ones here, in the real ones' formats."""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gillnext.filter.keyword import has_term
from gillnext.filter.lexicon import read_lexicon
from gillnext.miniatures import collection, emoji, packages, stamps
from gillnext.miniatures import cutouts as stage
from gillnext.miniatures.world import cutouts
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cutout_folder
from cutout_folder import ROWS, write

HEADER = "file,name,measure,split,licence,author,medium,why"
SPRITES = [  # code points, noun, measure, split, why; and the name that the other package has
    ("1f415", "狗", "条", "", "", "狗"),
    ("1f34e", "苹果", "个", "train", "its colour", "红苹果"),
    ("1f34f", "苹果", "个", "heldout", "its colour", "青苹果"),
    ("1f43f-fe0f", "松鼠", "只", "", "", "松鼠"),
    ("1f350", "梨", "个", "", "", "梨"),
    ("26f5", "帆船", "艘", "", "", "帆船"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cutout_folder.make(tmp_path_factory.mktemp("cutouts") / "folder")


def tar(contents, mode, links=()):
    """A tar archive of these files, and of `links` (name, target)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, body in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return data.getvalue()


def deb(path, contents):
    """A Debian package of these files, by the formats' own rules: `ar` around a `tar.xz`."""
    packed = b"!<arch>\n"
    data = tar(contents, "w:xz")
    for name, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), ("data.tar.xz", data)):
        packed += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    path.write_bytes(packed)
    return files.sha256(path)


def test_a_debian_package_becomes_a_folder_of_cut_outs(folder, tmp_path):
    table = write(tmp_path / "t", [(f"animals/{name}", *rest) for name, *rest in ROWS]) / "objects.csv"
    contents = {stamps.INSIDE + f"animals/{name}": (folder / name).read_bytes() for name, *_ in ROWS}
    contents |= {stamps.COPYRIGHT: b"License: GPL-2\n", "./usr/bin/other": b"never read"}
    sha256 = deb(tmp_path / "some.deb", contents)
    found = stamps.read(tmp_path / "some.deb", table, sha256)
    assert collection.write(found, tmp_path / "out") == len(ROWS)
    made, given = cutouts.read(tmp_path / "out"), cutouts.read(folder)
    assert [cut.kind for cut in made] == [cut.kind for cut in given]
    assert all(np.array_equal(one.rgba, other.rgba) for one, other in zip(made, given, strict=True))
    assert {cut.medium for cut in made} == {"photograph"}
    assert "License: GPL-2" in (tmp_path / "out/ATTRIBUTION.txt").read_text()
    with pytest.raises(UserError, match="SHA-256"):
        stamps.read(tmp_path / "some.deb", table)
    write(tmp_path / "t", [("gone.png", "羊", "只"), *[(f"animals/{name}", *rest) for name, *rest in ROWS]])
    with pytest.raises(UserError, match=r"no picture gone\.png") as error:
        collection.write(stamps.read(tmp_path / "some.deb", table, sha256), tmp_path / "other")
    assert error.value.where.endswith("objects.csv, line 2") and not (tmp_path / "other").exists()


def sprite(number):
    """A PNG of a slanted shape, 64 pixels a side, with a palette for every other one."""
    image = Image.new("RGBA", (64, 64))
    image.paste((40 * number, 200 - 30 * number, 90, 255), (6, 10, 40 + number, 52))
    data = io.BytesIO()
    (image.quantize() if number % 2 else image).save(data, "PNG")
    return data.getvalue()


class Made:
    """The two packages as files, and their table; `read` reads them with their true hashes."""

    def __init__(self, root, sprites=SPRITES, more=None, links=(), names=None):
        root.mkdir(exist_ok=True)
        rows = [(f"{code}.png", *rest[:3], "Apache-2.0", "Somebody", "drawing", rest[3]) for code, *rest in sprites]
        self.table = write(root, rows, HEADER) / "objects.csv"
        pictures = {f"{emoji.INSIDE}{row[0]}.png": sprite(i) for i, row in enumerate(SPRITES)}
        words = {emoji.LICENCE: b"The MIT License\n", emoji.README: b"# Emoji\nNoto images: Apache\nOther: none\n"}
        known = [{"hexcode": code.upper().removesuffix("-FE0F"), "label": row[-1]} for code, *row in SPRITES]
        self.sprites, self.names = root / "sprites.tgz", root / "names.tgz"
        self.sprites.write_bytes(tar(pictures | words | (more or {}), "w:gz", links))
        said = json.dumps(known, ensure_ascii=False).encode() if names is None else names
        self.names.write_bytes(tar({emoji.CHINESE: said}, "w:gz"))

    def read(self):
        of = emoji.SPRITES._replace(sha256=files.sha256(self.sprites))
        named_by = emoji.NAMES._replace(sha256=files.sha256(self.names))
        return emoji.read(self.sprites, self.names, self.table, of, named_by)


def test_two_npm_packages_become_a_folder_of_drawn_cut_outs(tmp_path):
    assert collection.write(Made(tmp_path / "in").read(), tmp_path / "out") == 6
    found = cutouts.read(tmp_path / "out")
    assert [cut.kind.phrase for cut in found][:3] == ["一条狗", "一个苹果", "一个苹果"]
    assert [cut.file for cut in found if cut.held_out] == ["1f34f.png"]
    assert {(cut.medium, cut.licence, cut.author) for cut in found} == {("drawing", "Apache-2.0", "Somebody")}
    for number, cut in enumerate(found):
        with Image.open(tmp_path / "out" / cut.file) as image:
            assert image.mode == "RGBA" and image.size == (34 + number, 42)
        assert (cut.rgba[..., 3] == 255).all()
    about = (tmp_path / "out/ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert "The MIT License" in about and "Noto images: Apache" in about and "Other: none" not in about
    assert emoji.SPRITES.name in about and emoji.NAMES.version in about


def test_other_packages_than_the_known_ones_are_refused(tmp_path):
    made = Made(tmp_path / "in")
    with pytest.raises(UserError, match=f"SHA-256 .*, not {emoji.NAMES.sha256}") as error:
        emoji.read(made.sprites, made.names, made.table)
    assert error.value.where == str(made.names) and "npm pack emojibase-data@" in str(error.value.remedy)
    right = emoji.NAMES._replace(sha256=files.sha256(made.names))
    with pytest.raises(UserError, match=f"SHA-256 .*, not {emoji.SPRITES.sha256}"):
        emoji.read(made.sprites, made.names, made.table, named_by=right)
    with pytest.raises(UserError, match="no such file"):
        emoji.read(made.sprites, tmp_path / "gone.tgz", made.table)


@pytest.mark.parametrize("name", ["package/../../outside.png", "/outside.png"])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path, name):
    made = Made(tmp_path / "in", more={name: b"x"})
    with pytest.raises(UserError, match="leads out of the archive") as error:
        made.read()
    assert error.value.where == str(made.sprites)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "names.tgz", "objects.csv", "sprites.tgz"]


def test_links_are_no_pictures_and_a_row_may_name_no_path_out_of_the_package(tmp_path):
    elsewhere = ("1f98a", "狐狸", "只", "", "why", "")
    link = (f"{emoji.INSIDE}1f98a.png", f"{tmp_path}/some.png")
    known = [{"hexcode": row[0].upper(), "label": row[-1] or "狐狸脸"} for row in [*SPRITES, elsewhere]]
    made = Made(tmp_path / "a", [*SPRITES, elsewhere], links=[link], names=json.dumps(known).encode())
    with pytest.raises(UserError, match=r"no picture 1f98a\.png"):
        collection.write(made.read(), tmp_path / "out")
    with pytest.raises(UserError, match="no path inside the folder"):
        Made(tmp_path / "b", [*SPRITES, ("../../LICENSE", *elsewhere[1:])]).read()


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    made = Made(tmp_path / "in", more={"package/img/other.bin": b"0" * 5000})
    made.read()
    monkeypatch.setattr(packages, "WHOLE", 4000)
    with pytest.raises(UserError, match="too large"):
        made.read()
    monkeypatch.undo()
    monkeypatch.setattr(packages, "MOST", 20)
    with pytest.raises(UserError, match="too large"):
        made.read()


def test_a_sprite_that_is_not_there_is_told_with_its_line(tmp_path):
    known = [{"hexcode": row[0].upper(), "label": row[-1]} for row in [*SPRITES, ("1f98a", "狐狸")]]
    rows = [*SPRITES[:2], ("1f98a", "狐狸", "只", "", "", ""), *SPRITES[2:]]
    made = Made(tmp_path / "in", rows, names=json.dumps(known).encode())
    with pytest.raises(UserError, match=r"no picture 1f98a\.png in the package") as error:
        collection.write(made.read(), tmp_path / "out")
    assert error.value.where == f"{made.table}, line 4" and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (("1f415", "小狗", "条", "", "", ""), "小狗 is called 狗"),
        (("1f415", "狗", "条", "", "its size", ""), "狗 is called 狗: its size"),
        (("1f999", "羊驼", "只", "", "", ""), "no emoji 1F999"),
    ],
)
def test_a_noun_is_the_emojis_name_or_the_row_says_why(tmp_path, row, what):
    made = Made(tmp_path / "in", [row, *SPRITES[1:]])
    with pytest.raises(UserError, match=what) as error:
        made.read()
    assert error.value.where == f"{made.table}, line 2" and error.value.remedy


@pytest.mark.parametrize("said", [b"{}", b"[1]", b"[", b'[{"hexcode": 1, "label": 2}]', b"\xff"])
def test_names_of_another_form_are_refused(tmp_path, said):
    made = Made(tmp_path / "in", names=said)
    with pytest.raises(UserError) as error:
        made.read()
    assert str(made.names) in str(error.value.where) or "line 2" in str(error.value.where)


def test_what_is_no_archive_is_refused(tmp_path):
    made = Made(tmp_path / "in")
    for broken in (b"no archive", made.names.read_bytes()[:60]):
        made.names.write_bytes(broken)
        with pytest.raises(UserError, match=r"no archive|lacks package/zh"):
            made.read()
    with pytest.raises(UserError, match="no Debian package"):
        packages.debian(b"no archive", "some.deb")
    with pytest.raises(UserError, match="without files"):
        packages.debian(packages.MAGIC, "some.deb")


def test_emoji_and_their_names_are_given_together(tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    stage.add_arguments(parser)
    with pytest.raises(UserError, match="go together"):
        stage.main(parser.parse_args(["--emoji", "a.tgz", "--out", str(tmp_path / "out")]))


@pytest.mark.parametrize("table", [stamps.CHOSEN, emoji.CHOSEN], ids=lambda path: path.name)
def test_the_committed_tables_name_forty_kinds_and_more_that_captions_can_tell_from_places(table):
    rows = cutouts.read_table(table)
    names = {row.name for row in rows}
    assert len(names) >= 40 and all(row.licence and row.author for row in rows)
    assert not [name for name in names if has_term(name, read_lexicon())]
    several = [name for name in names if sum(row.name == name for row in rows) > 1]
    assert all({row.split for row in rows if row.name == name} == {"train", "heldout"} for name in several)


def test_the_makefile_downloads_the_versions_that_the_code_knows():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for package in (emoji.SPRITES, emoji.NAMES):
        assert f"{package.name}@{package.version};" in makefile and f"{package.name}-{package.version}.tgz" in makefile
    assert stamps.PACKAGE in makefile
