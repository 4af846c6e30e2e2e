"""Settings are read strictly: every error names the file, the key, and what to write instead."""

import dataclasses
import json
from pathlib import Path

import pytest
from snakemake.cli import parse_config

from gillnext.config import load
from gillnext.config.load import from_dict, schema
from gillnext.config.model import Config
from gillnext.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
TIERS = {
    "smoke": "config/smoke.yaml",
    "scratch": "config/scratch.yaml",
    "foundations": "config/foundations.yaml",
    "seeds": "config/seeds.yaml",
    "study": "config/study.yaml",
    "photos": "config/photos.yaml",
    "foundations-photos": "config/foundations-photos.yaml",
    "smoke-emoji": "config/emoji.yaml",
    "gpu": "config/gpu.yaml",
    "wukong": "config/wukong.yaml",
}


def yaml(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_schema_file_is_the_dataclasses_schema():
    written = json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8"))
    assert written == schema(), "run `make schema`"


def test_every_setting_is_documented():
    for section in dataclasses.fields(Config):
        value = getattr(Config(), section.name)
        for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else [section]:
            assert field.metadata.get("doc"), f"{section.name}: {field.name}"


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_goes_on_top_of_the_demo(tier):
    config = load(ROOT / "config.yaml", ROOT / TIERS[tier])
    assert config.run.tier == tier
    assert config.study.reference in config.study.arms


def test_the_demo_is_the_default():
    config = load(ROOT / "config.yaml")
    assert config.run.tier == "demo" and len(config.study.seeds) == 3
    default = Config()
    assert dataclasses.replace(config, study=default.study, run=default.run, models=default.models) == default
    sources = dataclasses.asdict(config.models)
    assert sources.pop("planner") == "made" and set(sources.values()) == {"kept"}


ARMS = {"base": {"site": "none"}, "a": {}, "b": {"site": "attn1"}, "c": {"bias": "box"}}


def test_only_the_arms_of_the_subset_are_there_in_the_order_of_the_rows():
    study = from_dict({"study": {"arms": ARMS, "subset": ["b", "base"], "reference": "b"}}).study
    assert list(study.arms) == ["base", "b"]
    assert list(from_dict({"study": {"arms": ARMS, "reference": "a"}}).study.arms) == list(ARMS)


def test_arms_of_a_headline_contrast_get_the_headline_seeds():
    settings = {"arms": ARMS, "reference": "a", "seeds": [7], "headline": [["a", "b"]], "headline_seeds": [1, 2]}
    study = from_dict({"study": settings}).study
    assert [study.seeds_of(arm) for arm in ARMS] == [[7], [1, 2], [1, 2], [7]]
    part = from_dict({"study": settings | {"subset": ["base", "a"]}}).study
    assert part.headline == [] and part.seeds_of("a") == [7]  # a contrast counts where both its arms run
    assert from_dict({"study": settings | {"headline_seeds": []}}).study.seeds_of("a") == [7]


def test_of_arms_that_differ_in_site_and_bias_alone_the_longest_is_told():
    study = load(ROOT / "config.yaml", ROOT / "config/study.yaml").study
    assert study.longest == {
        ("attn1", "fourier"): "attn1", ("attn2", "fourier"): "attn2", ("both", "fourier"): "both",
        ("attn1", "box"): "attn1-box", ("attn2", "box"): "attn2-box", ("gated", "none"): "gated",
        ("attn1", "none"): "attn1-none-long", ("attn2", "none"): "attn2-none-long",
    }  # fmt: skip


def test_an_arm_with_anothers_adapters_has_its_settings_and_seeds():
    rows = ARMS | {"d": {"site": "attn1", "bias": "none", "phrases": False}, "e": {"adapter": "d", "local": 0.25}}
    rows |= {"f": {"adapter": "b", "seeds": 2}}
    settings = {"arms": rows, "reference": "a", "headline": [["a", "b"]], "headline_seeds": [1, 2, 3], "seeds": [7, 8]}
    study = from_dict({"study": settings}).study
    assert study.arms["e"] == dataclasses.replace(study.arms["d"], adapter="d", local=0.25)
    assert study.trained == ["a", "b", "c", "d"] and set(study.longest.values()) <= set(study.trained)
    assert {arm: study.adapter_of(arm) for arm in study.arms} == {
        "base": None, "a": "a", "b": "b", "c": "c", "d": "d", "e": "d", "f": "b"
    }  # fmt: skip
    assert [study.seeds_of(arm) for arm in "bdef"] == [[1, 2, 3], [7, 8], [7, 8], [1, 2]]
    again = from_dict({"study": dataclasses.asdict(study)}).study
    assert again == study


def test_an_arm_may_have_fewer_seeds():
    settings = {"arms": ARMS | {"d": {"seeds": 2}, "e": {"seeds": 9}}, "reference": "a", "seeds": [4, 5, 6]}
    study = from_dict({"study": settings}).study
    assert [study.seeds_of(arm) for arm in "ade"] == [[4, 5, 6], [4, 5], [4, 5, 6]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subset": ["base", "d"]}, ["study.subset", "'d' is no arm", "base, a, b, c"]),
        ({"subset": ["base"]}, ["study.subset", "'a' is not in it"]),
        ({"headline": [["a", "d"]]}, ["study.headline", "'d' is no arm"]),
        ({"headline": [["a"]]}, ["study.headline", "no pair of arms"]),
        ({"arms": ARMS | {"d": {"boxes": "caption"}}}, ["study.arms.d.boxes", "site: none"]),
        ({"arms": ARMS | {"d": {"adapter": "e"}}}, ["study.arms.d.adapter", "'e' is no arm", "one of a, b, c"]),
        ({"arms": ARMS | {"d": {"adapter": "d"}}}, ["study.arms.d.adapter", "'d' is no arm with adapters of its own"]),
        ({"arms": ARMS | {"d": {"adapter": "base"}}}, ["study.arms.d.adapter", "'base' is no arm with adapters"]),
        ({"arms": ARMS | {"d": {"adapter": "a"}, "e": {"adapter": "d"}}}, ["study.arms.e.adapter", "'d' is no arm"]),
        ({"arms": ARMS | {"d": {"adapter": "a", "local": 1.5}}}, ["study.arms.d.local", "from 0 to 1"]),
        ({"arms": ARMS | {"d": {"adapter": "a", "local": -0.5}}}, ["study.arms.d.local", "negative"]),
        ({"arms": ARMS | {"d": {"local": 0.5}}}, ["study.arms.d.local", "name that arm as `adapter`"]),
        ({"arms": ARMS | {"d": {"adapter": "a", "bias": "box"}}}, ["study.arms.d.bias", "what a has", "leave it out"]),
        (
            {"arms": ARMS | {"d": {"site": "gated"}, "e": {"adapter": "d", "local": 0.5}}},
            ["study.arms.e.local", "every slot"],
        ),
        (
            {"arms": ARMS | {"d": {"adapter": "b"}}, "subset": ["a", "d"]},
            ["study.subset", "'b', whose adapters d draws with", "add it"],
        ),
        ({"arms": ARMS | {"d": {"adapter": "a"}}, "reference": "d"}, ["study.reference", "has the adapters of 'a'"]),
    ],
)
def test_arms_that_do_not_fit_together_are_told(settings, message):
    with pytest.raises(UserError) as error:
        from_dict({"study": {"arms": ARMS, "reference": "a"} | settings})
    assert all(part in str(error.value) for part in message), str(error.value)


def test_more_validation_layouts_than_there_are_is_told():
    with pytest.raises(UserError, match=r"curve\.images: 65 of 64 validation layouts"):
        from_dict({"curve": {"images": 65}})
    assert from_dict({"curve": {"images": 65}, "sample": {"val": 65}}).sample.val == 65


def test_the_resolved_settings_come_back_from_json(tmp_path):
    config = load(ROOT / "config.yaml")
    path = yaml(tmp_path / "config.json", json.dumps(dataclasses.asdict(config)))
    assert load(path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adaptor: {}", ["adaptor", "did you mean 'adapter'?"]),
        ("adapter: { stepps: 3 }", ["adapter.stepps", "did you mean 'steps'?"]),
        ("study: { arms: { a: { sit: attn1 } } }", ["study.arms.a.sit", "did you mean 'site'?"]),
        ("study: { arms: { a: { site: attn3 } } }", ["study.arms.a.site", "'attn3'", "'attn1', 'attn2'"]),
        ("study: { seeds: 3 }", ["study.seeds", "expected a list"]),
        ("study: { seeds: [0, one] }", ["study.seeds[1]", "expected integer"]),
        ("vae: { lr: high }", ["vae.lr", "expected number"]),
        ("vae: { steps: 1.5 }", ["vae.steps", "expected integer"]),
        ("vae: { steps: true }", ["vae.steps", "expected integer"]),
        ("vae: { steps: -1 }", ["vae.steps", "negative"]),
        ("vae: 3", ["vae", "expected a mapping"]),
        ("vae: { lr: -1 }", ["vae.lr", "negative"]),
        ("vae: { lr: .nan }", ["vae.lr", "not a finite number"]),
        ("vae: { lr: .inf }", ["vae.lr", "not a finite number"]),
        ("vae: { lr: 1e999 }", ["vae.lr", "not a finite number"]),
        ("vae: { lr: true }", ["vae.lr", "expected number"]),
        ("vae: { lr: 1" + "0" * 400 + " }", ["vae.lr", "expected number"]),
        ("vae: { lr: [2e-3] }", ["vae.lr", "expected number"]),
        ("vae: { lr: }", ["vae.lr", "expected number, not None"]),
        ("vae: { steps: 5.0e+2 }", ["vae.steps", "expected integer"]),
        ('vae: { steps: "5.5" }', ["vae.steps", "expected integer"]),
        ("vae: { steps: 0100 }", ["line 1", "0100 is 64", "leading zeros"]),
        ("vae: { steps: 1:30 }", ["line 1", "1:30 is 90"]),
        ("vae: { lr: 1:30.5 }", ["line 1", "1:30.5 is 90.5"]),
        ("vae: { steps: " + "9" * 5000 + " }", ["not YAML"]),
        ("vae:", ["vae", "expected a mapping, not None", "delete the line"]),
        ("study: { arms: { attn2: } }", ["study.arms.attn2", "expected a mapping, not None"]),
        ("study: { arms: { a: 0 } }", ["study.arms.a", "expected a mapping, not 0"]),
        ("study: { arms: { null: {} } }", ["study.arms", "None is no name", "quotes"]),
        ("study: { arms: { 1: {} } }", ["study.arms", "1 is no name", "quotes"]),
        ("study: { arms: [a] }", ["study.arms", "expected a mapping"]),
        ("study: { arms: { a: { phrases: 1 } } }", ["study.arms.a.phrases", "expected boolean"]),
        ("run: { precision: no }", ["run.precision", "False", "'no'", "quotes"]),
        ("run: { tier: null }", ["run.tier", "None is not a value"]),
        ("run: { device: 0 }", ["run.device", "expected string"]),
        ("world: { release: 2026-13-45 }", ["not YAML"]),
        ("vae: { steps: 1 }\nvae: { steps: 2 }", ["line 2", "'vae' comes twice"]),
        ("vae: { steps: 1, steps: 2 }", ["line 1", "'steps' comes twice"]),
        ('{"vae": {"steps": 1, "steps": 2}}', ["line 1", "'steps' comes twice"]),
        ("? [vae]\n: 1", ["line 1", "not YAML"]),
        ("[1, 2]", ["expected a mapping at the top"]),
        ("5", ["expected a mapping at the top"]),
        ("false", ["expected a mapping at the top"]),
        ("vae: {", ["not YAML"]),
        ("vae:\n\tsteps: 3", ["line 2", "not YAML", "spaces"]),
        ("vae:\n  steps: 3\n batch: 4", ["line 3", "not YAML"]),
        ("vae: { steps：3 }", ["vae", "unknown key"]),
        ("vae： { steps: 3 }", ["vae：", "unknown key"]),
        ("vae: { steps: 1 }\n---\nvae: { steps: 2 }", ["line 2", "not YAML"]),
        ("vae: !!python/object:os.system {}", ["line 1", "not YAML"]),
        ("[" * 5000, ["not YAML"]),
        ("run: { device: 左边 }".encode("gbk"), ["line 1", "not UTF-8"]),
        ("vae: { steps: 3 }".encode("utf-16"), ["line 1", "not UTF-8"]),
    ],
)
def test_a_wrong_setting_is_told_with_file_and_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load(ROOT / "config.yaml", path)
    assert all(part in str(caught.value) for part in [str(path), *message]), str(caught.value)
    assert caught.value.remedy


def test_a_number_is_one_however_it_is_written(tmp_path):
    """To YAML 1.1 5e-3 is text."""
    path = yaml(
        tmp_path / "a.yaml", 'vae: { lr: 5e-3, steps: "7", batch: 1_0 }\nclip: { lr: 1E-3 }\ntext_encoder: { lr: 1 }'
    )
    config = load(path)
    assert (config.vae.lr, config.vae.steps, config.vae.batch) == (0.005, 7, 10)
    assert (config.clip.lr, config.text_encoder.lr) == (0.001, 1.0) and isinstance(config.text_encoder.lr, float)


def test_mappings_after_the_workflows_config_are_read_as_in_a_file():
    """Snakemake reads a mapping after --config as texts."""
    words = ["vae={lr: 5e-3, steps: 7}", "study={arms: {attn2: {phrases: false, seeds: null, unet_lr: 6.0e-4}}}"]
    config = from_dict(parse_config(words))
    row = config.study.arms["attn2"]
    assert (config.vae.lr, config.vae.steps) == (0.005, 7)
    assert (row.phrases, row.seeds, row.unet_lr) == (False, None, 0.0006)
    for wrong in ("vae={steps: 7.5}", "vae={lr: nan}", "study={arms: {attn2: {phrases: 1}}}"):
        with pytest.raises(UserError):
            from_dict(parse_config([wrong]))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "\ufeff# nothing"])
def test_an_empty_file_changes_nothing(tmp_path, text):
    assert load(ROOT / "config.yaml", yaml(tmp_path / "a.yaml", text)) == load(ROOT / "config.yaml")


def test_a_reference_that_is_no_arm_is_told():
    with pytest.raises(UserError, match=r"study\.reference") as caught:
        from_dict({"study": {"reference": "atn2", "arms": {"attn2": {}}}})
    assert "attn2" in caught.value.remedy


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load(tmp_path / "none.yaml")


def test_later_files_go_on_top_key_by_key(tmp_path):
    first = yaml(tmp_path / "a.yaml", "vae: { steps: 5, batch: 3 }")
    second = yaml(tmp_path / "b.yaml", "vae: { steps: 7 }")
    config = load(first, second)
    assert (config.vae.steps, config.vae.batch) == (7, 3)
