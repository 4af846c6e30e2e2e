"""What is given for a role is looked at before anything begins: its kind, and that all of it is there."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from gillnext.adapter.folders import BASES
from gillnext.roles.checkpoints import check, kind
from gillnext.roles.sources import ROLES
from gillnext.runtime.errors import UserError
from gillnext.runtime.weights import variant_of

SHARDS = "100KB"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A causal language model as transformers saves it: in shards, beside a tokenizer's file."""
    folder = tmp_path_factory.mktemp("models") / "qwen"
    config = Qwen2Config(
        vocab_size=600, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder, max_shard_size=SHARDS)
    (folder / "tokenizer.json").write_text("{}")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture
def language(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "qwen")


@pytest.fixture
def base(tiny_base, tmp_path):
    """A Kolors pipeline that works, to be damaged."""
    return shutil.copytree(tiny_base, tmp_path / "base")


def refusal(role, folder):
    with pytest.raises(UserError) as error:
        check(role, folder)
    assert error.value.remedy
    return str(error.value)


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def first(folder):
    return min(folder.glob("*.safetensors"))


def test_whole_checkpoints_are_taken(language, base):
    check("classifier", language)
    check("planner", language)
    check("base", base)
    assert kind(base) == "KolorsPipeline" and kind(language) == "causal language model"


def test_a_checkpoint_of_another_kind_is_told_with_what_the_role_takes(language, base, tmp_path):
    assert "is a causal language model" in refusal("base", language)
    assert "KolorsPipeline, StableDiffusionXLPipeline" in refusal("base", language)
    assert "is a KolorsPipeline" in refusal("image_text", base)
    edit(base / "model_index.json", _class_name="FluxPipeline")
    assert "is a FluxPipeline" in refusal("base", base)
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refusal("evaluator", tmp_path / "empty")
    (tmp_path / "file").write_text("")
    assert "a file, and no folder" in refusal("base", tmp_path / "file")


@pytest.mark.parametrize("name", ["weights", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_told(language, name):
    path = first(language) if name == "weights" else language / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4952\n")
    assert f"{path}: a pointer of Git LFS" in refusal("classifier", language)


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_quantised_weights_are_told(language, method):
    edit(language / "config.json", quantization_config={"quant_method": method, "bits": 4})
    assert f"quantised weights ({method})" in refusal("classifier", language)


def test_pickles_alone_are_refused_with_a_command_that_converts_them(language):
    """The command is run: what it writes is taken, and has the same tensors."""
    parts = [load_file(path) for path in language.glob("*.safetensors")]
    for path in language.glob("*.safetensors*"):
        path.unlink()
    tensors = {name: tensor for part in parts for name, tensor in part.items()}
    torch.save(tensors, language / "pytorch_model.bin")
    told = refusal("classifier", language)
    assert "a pickle" in told and str(language / "pytorch_model.bin") in told
    program, *command = shlex.split(told[told.index("the new folder: ") + len("the new folder: ") :])
    assert program == "gillnext"
    subprocess.run([sys.executable, "-m", "gillnext.cli", *command], check=True)
    made = language.with_name(f"{language.name}-safetensors")
    check("classifier", made)
    converted = load_file(made / "model.safetensors")
    assert converted.keys() == tensors.keys() and all(torch.equal(converted[k], v) for k, v in tensors.items())


def test_no_weights_and_missing_shards_are_told(language):
    path = first(language)
    path.unlink()
    assert f"{path}: missing" in refusal("classifier", language)
    for other in language.glob("*.safetensors"):
        other.unlink()
    assert "no weights here" in refusal("classifier", language)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_weights_that_break_off_are_told(language, keep):
    path = first(language)
    path.write_bytes(path.read_bytes()[:keep])
    told = refusal("classifier", language)
    assert str(path) in told and ("no safetensors" in told or "its header says" in told)


def test_weights_of_a_type_that_is_not_computed_with_are_told(language):
    path = first(language)
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(path).items()}, path)
    assert "weights of type F8_E4M3" in refusal("classifier", language)


def test_a_part_that_is_missing_from_a_pipeline_is_told(base):
    shutil.rmtree(base / "vae")
    assert "its part 'vae' is missing" in refusal("base", base)


def test_a_part_without_weights_or_tokenizer_is_told_by_its_folder(base):
    first(base / "unet").unlink()
    assert f"{base / 'unet'}: no weights here" in refusal("base", base)
    for path in (base / "tokenizer").glob("*"):
        path.unlink()
    assert f"{base / 'tokenizer'}: no tokenizer" in refusal("base", base)


def test_a_variant_in_half_precision_is_taken_and_another_is_told(base):
    for path in list(base.rglob("*.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    check("base", base)
    path = first(base / "vae")
    path.rename(path.with_name(path.name.replace(".fp16.", ".non_ema.")))
    assert "a variant that is not known" in refusal("base", base)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("model.safetensors", ""),
        ("model-00001-of-00004.safetensors", ""),
        ("model.fp16-00002-of-00004.safetensors", ".fp16"),
        ("diffusion_pytorch_model.fp16.safetensors", ".fp16"),
        ("diffusion_pytorch_model-00001-of-00002.fp16.safetensors", ".fp16"),
        ("model.safetensors.index.json", ""),
        ("diffusion_pytorch_model.safetensors.index.fp16.json", ".fp16"),
    ],
)
def test_names_as_transformers_and_diffusers_give_them(name, found):
    assert variant_of(name) == found


def test_json_that_is_none_is_told_by_its_file(language):
    (language / "config.json").write_text("{")
    assert f"{language / 'config.json'}: cannot be read" in refusal("classifier", language)
    (language / "config.json").write_text("[]")
    assert "holds no object" in refusal("classifier", language)


def test_the_bases_that_can_be_given_are_those_that_pipelines_are_made_of():
    assert set(ROLES["base"].takes) == set(BASES)
