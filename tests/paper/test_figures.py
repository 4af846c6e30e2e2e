"""Figures: all there, the same bytes twice, Chinese drawn by the installed font, missing inputs named."""

from types import SimpleNamespace

import matplotlib.font_manager
import numpy as np
import pytest
from all_figures import draw_all
from PIL import Image

from gillnext.config.model import Arm
from gillnext.paper import style
from gillnext.paper.figure import NAMES
from gillnext.paper.figures import gradients
from gillnext.record import gather
from gillnext.runtime.errors import UserError


def test_every_figure_is_drawn_twice_the_same(results_root, config, tmp_path):
    drawn = draw_all(config, results_root, tmp_path / "one")
    draw_all(config, results_root, tmp_path / "two")
    assert set(drawn) == set(NAMES) - {"gradients"}  # no two arms differ in coordinates alone
    assert not list((tmp_path / "one/gradients").iterdir())
    for name in drawn:
        for file in ("caption.txt", f"{name}.svg", f"{name}.png"):
            first, second = ((tmp_path / n / name / file).read_bytes() for n in ("one", "two"))
            assert first == second, name
    assert np.asarray(Image.open(tmp_path / "one/samples/samples.png").convert("L")).std() > 10


def test_the_chinese_font_has_the_glyphs_of_the_classes():
    style.use()
    path = matplotlib.font_manager.findfont(style.CJK, fallback_to_default=False)
    assert path.startswith(str(style.font_folder()))
    glyphs = matplotlib.font_manager.get_font(path).get_charmap()
    assert all(ord(c) in glyphs for c in "左边是一棵树右座房子猫鱼气球")


def test_without_a_breakdown_its_figure_is_left_out(results_root, config, tmp_path):
    path = results_root / "scores/attn1/0.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"breakdown"', '"other"'), encoding="utf-8")
    gather.gather(config, results_root)
    assert not {"breakdown", "classes", "strata"} & set(draw_all(config, results_root, tmp_path / "f"))


def test_a_missing_sample_is_named_with_its_command(results_root, config):
    for path in (results_root / "samples/attn1/0/test").glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"attn1/0/test.*png") as error:
        gather.gather(config, results_root)
    assert "gillnext sample --arm attn1 --seed 0" in str(error.value)


def test_no_two_coordinate_conventions_look_alike():
    kinds = [(c, f) for c in ("unit", "raw", "clamp") for f in ("gligen", "sin2pi")]
    looks = {str(gradients.look(Arm(coordinates=c, frequencies=f))) for c, f in kinds}
    assert len(looks) == len(kinds)


def test_arms_without_an_adapter_are_grey(config):
    colours = style.arm_colours(config.study.arms)
    assert colours["base"] == "#A6A6A6" and len(set(colours.values())) == 3


def test_gradient_norms_are_drawn_by_the_largest_of_each_window():
    """One step's spike is what the claim is about: a mean over its window would hide it."""
    arms = {"attn2": Arm(), "attn2-raw": Arm(coordinates="raw"), "full": Arm(unet_lr=1e-3)}
    runs = {"attn2": [[1.0] * 80, [2.0] * 80], "attn2-raw": [[1.0] * 79 + [50.0]] * 2}
    results = SimpleNamespace(
        config=SimpleNamespace(study=SimpleNamespace(arms=arms)), histories=lambda arm, file: runs[arm]
    )
    (axes,) = gradients.draw(results)[0].axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines == {"unit, gligen": [1.5] * 40, "raw, gligen": [1.0] * 39 + [50.0]}
    assert gradients.draw(SimpleNamespace(config=SimpleNamespace(study=SimpleNamespace(arms={"a": Arm()})))) is None
