"""Fingerprints: hashes of content and looks, sizes as they are seen, reasons for what cannot be read, and kills."""

import hashlib
import io
import os
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFilter
from scipy.fft import dctn

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.split import fingerprint, perceptual
from gillnext.split.perceptual import phash


def picture(seed, size=(160, 120)):
    """A smooth coloured picture with some edges."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(256, size=(6, 8, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))


def apart(a, b):
    return (phash(a) ^ phash(b)).bit_count()


def test_the_hash_is_the_cosine_transforms_sign_about_its_median():
    """Against SciPy's transform; whole-number cosines may turn a bit that lies at the median."""
    for seed in range(20):
        image = picture(seed)
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
        low = dctn(grey)[:8, :8].ravel()  # the unnormalised transform, as ours is
        bits = "".join("1" if value > np.median(low) else "0" for value in low)
        assert (phash(image) ^ int(bits, 2)).bit_count() <= 2


def test_the_cosines_are_whole_numbers():
    assert perceptual.COSINES.dtype == np.int64 and (perceptual.COSINES[0] == 4096).all()


def test_copies_are_near_and_other_pictures_are_not():
    for seed in range(10):
        image, other = picture(seed), picture(seed + 100)
        buffer = io.BytesIO()
        image.resize((90, 70)).save(buffer, "JPEG", quality=50)
        assert apart(image, Image.open(buffer)) <= 4
        assert apart(image, other) > 10


def rows_of(folder, images):
    """Layouts of these pictures, as `annotate` writes them."""
    box = (0.1, 0.1, 0.9, 0.9)
    rows = [
        Layout("一只猫", ("猫",), (box,), str(i), name, {"url": f"http://example.org/{i}"})
        for i, name in enumerate(images)
    ]
    layouts.write(folder / "layouts.jsonl", rows)
    return folder / "layouts.jsonl"


@pytest.fixture
def part(tmp_path):
    """A good picture, one turned by EXIF, a broken one, a missing one."""
    picture(0).save(tmp_path / "good.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    picture(1).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    return rows_of(tmp_path, ["good.png", "turned.jpg", "broken.png", "missing.png"])


def test_a_part_has_a_row_a_layout_with_hash_size_and_reason(part, tmp_path):
    counts = fingerprint.fingerprint(part, tmp_path / "out" / "0.parquet", tmp_path)
    table = pl.read_parquet(tmp_path / "out" / "0.parquet")
    assert table["image_path"].to_list() == ["good.png", "turned.jpg", "broken.png", "missing.png"]
    assert table["reason"].to_list() == ["", "", "unreadable image", "image missing"]
    assert table["url"][1] == "http://example.org/1"
    assert (table["width"][0], table["height"][0]) == (160, 120)
    assert (table["width"][1], table["height"][1]) == (120, 160)  # as it is seen
    for name, row in zip(["good.png", "turned.jpg"], table.iter_rows(named=True), strict=False):
        assert row["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert table["phash"][0] == phash(picture(0))
    assert dict(counts) == {"": 2, "unreadable image": 1, "image missing": 1}


def test_a_picture_that_is_not_the_downloaded_one_is_told(tmp_path):
    picture(0).save(tmp_path / "a.png")
    row = Layout("猫", ("猫",), ((0, 0, 1, 1),), "a", "a.png", {"sha256": "0" * 64})
    layouts.write(tmp_path / "l.jsonl", [row])
    assert dict(fingerprint.fingerprint(tmp_path / "l.jsonl", tmp_path / "o.parquet", tmp_path)) == {
        fingerprint.CHANGED: 1
    }


def test_a_part_whose_pictures_are_all_gone_is_refused(tmp_path):
    part = rows_of(tmp_path, ["a.png", "b.png"])
    with pytest.raises(UserError, match="not one of 2 pictures is there") as told:
        fingerprint.fingerprint(part, tmp_path / "0.parquet", tmp_path)
    assert "--images" in told.value.remedy
    assert not (tmp_path / "0.parquet").exists()


def test_a_part_without_rows_is_an_empty_table(tmp_path):
    part = rows_of(tmp_path, [])
    fingerprint.fingerprint(part, tmp_path / "0.parquet", tmp_path)
    assert fingerprint.read(tmp_path / "0.parquet").height == 0


def test_a_layout_without_a_picture_is_told_with_its_line(tmp_path):
    part = rows_of(tmp_path, [""])
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 1: a layout without a picture"):
        fingerprint.fingerprint(part, tmp_path / "0.parquet", tmp_path)


def test_what_is_no_table_of_fingerprints_is_told(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="no table of fingerprints"):
        fingerprint.read(tmp_path / "x.parquet")


def test_a_killed_run_goes_on_and_a_missing_picture_is_looked_for_again(tmp_path, monkeypatch):
    """SIGKILL in the third of three batches; then it, and that with the missing picture, are looked at."""
    names = [f"{i}.png" for i in range(6)]
    for i, name in enumerate(names):
        picture(i).save(tmp_path / name)
    (tmp_path / "2.png").rename(tmp_path / "away.png")
    part, out = rows_of(tmp_path, names), tmp_path / "0.parquet"
    script = (
        "import os, sys; from pathlib import Path; from gillnext.split import fingerprint as f; f.BATCH = 2\n"
        "look, seen = f.look, []\n"
        "def stop(row, images):\n"
        "    seen.append(row)\n"
        f"    if len(seen) == 5: os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "    return look(row, images)\n"
        "f.look = stop; f.fingerprint(*map(Path, sys.argv[1:]))"
    )
    killed = subprocess.run([sys.executable, "-c", script, part, out, tmp_path], env=os.environ, capture_output=True)
    assert killed.returncode == -signal.SIGKILL and not out.exists()
    (tmp_path / "away.png").rename(tmp_path / "2.png")
    looked, look = [], fingerprint.look
    monkeypatch.setattr(fingerprint, "BATCH", 2)
    monkeypatch.setattr(fingerprint, "look", lambda row, images: looked.append(row.id) or look(row, images))
    fingerprint.fingerprint(part, out, tmp_path)
    assert looked == ["2", "3", "4", "5"]
    monkeypatch.setattr(fingerprint, "look", look)
    fingerprint.fingerprint(part, tmp_path / "whole.parquet", tmp_path)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not (tmp_path / "0.parquet.work").exists()
