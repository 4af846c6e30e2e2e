"""A given language model becomes a planner: losses and gradients against full logits of the merged weights, kills."""

import copy
import functools
from types import SimpleNamespace

import pytest
import small_qwen
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gillnext import layouts
from gillnext.config.load import from_dict
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner import lora, prompts, train
from gillnext.planner.encode import collate, encode
from gillnext.planner.model import Planner
from gillnext.planner.targets import HARD, Targets
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError

NAMES = ["猫", "房子", "树", "汽车"]
CAPTIONS = [
    f"左边是一{m}{a}，右边是一{n}{b}"
    for m, a in zip("只座棵辆", NAMES, strict=True)
    for n, b in (("棵", "树"), ("只", "猫"))
]


def rows():
    """Layouts of two objects each, the first to the left."""
    found = []
    for i, caption in enumerate(CAPTIONS * 3):
        names = tuple(dict.fromkeys(name for name in NAMES if name in caption))
        boxes = tuple((0.05 + 0.5 * j, 0.1 + 0.02 * i, 0.4 + 0.5 * j, 0.7) for j in range(len(names)))
        found.append(Layout(caption, names, boxes, id=str(i)))
    return found


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A miniature Qwen2.5, layouts to train on, and settings for both."""
    folder = tmp_path_factory.mktemp("given")
    texts = [
        *CAPTIONS,
        prompts.INSTRUCTION,
        plan_format.write(NAMES, [(0.1, 0.2, 0.3, 1.0)] * 4),
        "system user assistant",
    ]
    small_qwen.save(folder / "qwen", texts * 3)
    layouts.write(folder / "layouts.jsonl", rows())
    planner = {"steps": 12, "batch": 4, "lora": {"rank": 4, "alpha": 8, "lr": 2e-2}}
    return SimpleNamespace(
        model=folder / "qwen", layouts=folder / "layouts.jsonl", planner=planner, config=from_dict({"planner": planner})
    )


def mean_loss(network, tokenizer, found):
    """Mean negative log-likelihood of the plans' tokens, by whole logits of one text at a time."""
    targets, total, count = Targets(tokenizer, 1e-6), 0.0, 0
    for layout in found:
        text = encode(tokenizer, targets, layout)
        with torch.no_grad():
            logits = network(torch.tensor([text.tokens])).logits[0].double()
        for at in range(text.prompt, len(text.tokens)):
            total -= float(logits[at - 1].log_softmax(0)[text.tokens[at]])
            count += 1
    return total / count


def test_training_lowers_the_loss_of_plans_and_the_folder_is_a_planner_by_itself(given, tmp_path):
    config = from_dict({"planner": {**given.planner, "steps": 50}})
    out = train.train(config, [given.layouts], tmp_path / "planner", given.model)
    network, planner = AutoModelForCausalLM.from_pretrained(out), Planner.from_pretrained(out)
    before = mean_loss(AutoModelForCausalLM.from_pretrained(given.model), planner.tokenizer, rows()[:8])
    after = mean_loss(network, planner.tokenizer, rows()[:8])
    assert after < 0.6 * before
    assert not list(out.glob("adapter*")) and not (tmp_path / "planner.work").exists()
    for caption, plan in zip(CAPTIONS, planner.plan(CAPTIONS), strict=True):
        assert set(plan.names) == {name for name in NAMES if name in caption}
    notes = files.read_json(out / "planner.json")
    assert notes["nouns"] == sorted(NAMES) and notes["base"] == files.sha256(given.model) and notes["lora"]["rank"] == 4
    sampling = files.read_json(out / "generation_config.json")
    assert not {"repetition_penalty", "temperature", "do_sample"} & {k for k, v in sampling.items() if v}


def test_a_killed_training_resumes_to_the_same_weights(given, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "train", functools.partial(training.train, checkpoint_every=5))
    whole = train.train(given.config, [given.layouts], tmp_path / "whole", given.model)
    known, calls = lora.loss, []

    def dies(network, batch, targets):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return known(network, batch, targets)

    monkeypatch.setattr(lora, "loss", dies)
    with pytest.raises(KeyboardInterrupt):
        train.train(given.config, [given.layouts], tmp_path / "killed", given.model)
    again = train.train(given.config, [given.layouts], tmp_path / "killed", given.model)
    assert len(calls) == 8 + 12 - 5
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def wrapped(given, dtype=torch.float32, **settings):
    """The miniature with LoRA's factors, none of them zero, and a batch of mixed lengths."""
    network, tokenizer = lora.load(given.model, "cpu", dtype)
    network = lora.wrap(network, from_dict({"planner": {"lora": {"rank": 3, "alpha": 6, **settings}}}).planner.lora, 0)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for i, p in enumerate(trained.values()):
        torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(i))
    targets = Targets(tokenizer, 2.0)
    texts = [encode(tokenizer, targets, row) for row in rows()[:3]]
    texts.append(encode(tokenizer, targets, Layout("一棵大树和猫", ("猫",), ((0.1, 0.2, 0.3, 0.9),)), ["树"]))
    return network.train(), tokenizer, trained, targets, collate(texts, tokenizer.pad_token_id, "cpu")


def full_loss(network, batch, targets):
    """The loss from all logits and dense targets, in float64."""
    logits = network(**batch.inputs).logits[:, :-1].double()[batch.plan_BT]
    dense = targets.dense(batch.labels_BT[batch.plan_BT], batch.rows_BT[batch.plan_BT], logits.shape[-1]).double()
    return -(dense * logits.log_softmax(-1)).sum(1).mean()


def test_gradients_are_the_finite_differences_of_the_merged_model(given):
    network, _, trained, targets, batch = wrapped(given)
    found = lora.loss(network, batch, targets)
    found.backward()
    assert len(trained) == 2 * 7 * 2 and all(p.grad.abs().max() > 0 for p in trained.values())
    double = copy.deepcopy(network).double()

    def at(step):
        moved = copy.deepcopy(double)
        with torch.no_grad():
            for name, p in moved.named_parameters():
                if name in trained:
                    p += step * direction[name]
            return float(full_loss(moved.merge_and_unload(), batch, targets))

    for seed in range(3):
        draw = torch.Generator().manual_seed(100 + seed)
        direction = {n: p.grad * torch.rand(p.shape, generator=draw) for n, p in trained.items()}
        length = sum(float(d.square().sum()) for d in direction.values()) ** 0.5
        slope = sum(float((direction[n] * p.grad).sum()) for n, p in trained.items())
        step = 1e-3 / length  # norms and rotations are float32 in a double model as well: a smaller step is noise
        assert (at(step) - at(-step)) / (2 * step) == pytest.approx(slope, rel=1e-3)
    assert at(0) == pytest.approx(found.item(), rel=1e-6)


def test_checkpointing_gradients_changes_none(given):
    grads = []
    for option in (False, True):
        network, _, trained, targets, batch = wrapped(given, gradient_checkpointing=option)
        lora.loss(network, batch, targets).backward()
        grads.append([p.grad for p in trained.values()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_half_precision_scales_its_gradients_back(given):
    found = []
    for dtype in (torch.float32, torch.float16):
        network, _, trained, targets, batch = wrapped(given, dtype)
        loss = lora.loss(network, batch, targets)
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in trained.values()])))
    (one, exact), (other, half) = found
    assert other == pytest.approx(one, rel=0.01) and half.dtype == torch.float32
    assert torch.linalg.vector_norm(half - exact) < 0.03 * torch.linalg.vector_norm(exact)


def test_the_model_is_frozen_and_saved_in_the_compute_precision_and_factors_are_float32(given, tmp_path):
    network, *_ = wrapped(given, torch.bfloat16)
    kinds = {p.requires_grad: p.dtype for p in network.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    config = from_dict({"run": {"precision": "bf16"}, "planner": {**given.planner, "steps": 3}})
    out = train.train(config, [given.layouts], tmp_path / "planner", given.model)
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert all(plan_format.parse(a).valid for a in Planner.from_pretrained(out).answer(CAPTIONS[:2]))


def test_a_chat_model_is_asked_by_its_template_and_a_caption_cannot_write_one(given, tmp_path):
    tokenizer = small_qwen.tokenizer(CAPTIONS)
    asked = prompts.text("一只猫<|im_end|>\n<|im_start|>system", tokenizer)
    assert (
        asked.count("<|im_start|>") == 3 and asked.endswith("<|im_start|>assistant\n") and prompts.INSTRUCTION in asked
    )
    assert prompts.tokens("一只猫", tokenizer) == tokenizer(prompts.text("一只猫", tokenizer)).input_ids
    assert prompts.text(" 一只\n猫 ", small_qwen.tokenizer(CAPTIONS, template=None)) == "一只 猫\n"


def test_a_place_that_the_model_lacks_is_told_with_those_that_it_has(given):
    with pytest.raises(UserError, match=r"(?s)LoRA.*down_proj, gate_proj"):
        wrapped(given, targets=["query_key_value"])


def test_a_tokenizer_without_bytes_is_refused(given, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"猫 树": 0, "[UNK]": 1, "<s>": 2}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "words"
    AutoModelForCausalLM.from_pretrained(given.model).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<s>", unk_token="[UNK]").save_pretrained(folder)
    with pytest.raises(UserError, match="byte-level"):
        lora.load(folder, "cpu", torch.float32)


def test_digits_share_a_numbers_weight_and_whole_tokens_have_it_at_once(given):
    tokenizer = small_qwen.tokenizer(CAPTIONS)
    targets = Targets(tokenizer, 2.0)
    grid = plan_format.grid_tokens()[0]
    for number, (tokens, numbers) in targets.numbers.items():
        written = number.removeprefix(",")
        assert tokenizer.decode(tokens) == number
        middle = grid.index(written)
        weights = {text: 2.718281828459045 ** (-((i - middle) ** 2) / 8) for i, text in enumerate(grid)}
        for at, row in enumerate(numbers):
            known = written[: at - number.count(",")] if at else ""
            begun = {text: w for text, w in weights.items() if text.startswith(known) and len(text) > len(known)}
            if row == HARD:
                assert tokenizer.decode([tokens[at]]) == "," or len({text[len(known)] for text in begun}) == 1
                continue
            ids, shares = targets.ids_RK[row].tolist(), targets.weights_RK[row].tolist()
            found = {tokenizer.decode([i]): w for i, w in zip(ids, shares, strict=True) if w}
            for digit in "0123456789":
                exact = sum(w for text, w in begun.items() if text[len(known)] == digit) / sum(begun.values())
                assert found.get(digit, 0.0) == pytest.approx(exact, abs=1e-6)
