"""The tokenizer loses nothing, keeps characters apart, and survives saving."""

import pytest
from transformers import AutoTokenizer

from gillnext.language import batching, model
from gillnext.language.lengths import by_length
from gillnext.language.tokenizer import token_bytes, train_tokenizer

TEXTS = ["左边是一棵树，右边是一座房子", "上海的天气 100元左右", "一只猫在图的左上角"] * 3
HARD = "龘<obj>左边\n的🙂 “x”,é</obj>\t1000"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 600, ["<obj>", "</obj>", "房子"])


def test_any_text_comes_back_and_bytes_agree(tokenizer):
    ids, table = tokenizer(HARD).input_ids, token_bytes(tokenizer)
    assert tokenizer.decode(ids) == HARD
    assert b"".join(table[i] for i in ids).decode() == HARD


def test_no_token_but_the_special_ones_spans_two_characters(tokenizer):
    special = {"<obj>", "</obj>", "房子"}
    for token, raw in zip(tokenizer.convert_ids_to_tokens(range(len(tokenizer))), token_bytes(tokenizer), strict=True):
        if token not in special and raw:
            assert len(raw.decode(errors="replace")) == 1 or len(raw) <= 3
    assert tokenizer.tokenize("座房子<obj>")[-2:] == ["房子", "<obj>"]


def test_saved_folder_loads_with_auto_classes_and_the_same_tokens(tokenizer, tmp_path):
    network = model.build(tokenizer, hidden=32, layers=1, heads=2, name="t", seed=0)
    model.save(network, tokenizer, tmp_path / "lm", {"a": 1}, "notes")
    again = AutoTokenizer.from_pretrained(tmp_path / "lm")
    assert again(HARD).input_ids == tokenizer(HARD).input_ids
    loaded, left = model.load(tmp_path / "lm")
    assert left.padding_side == "left"
    assert type(loaded).__name__ == "Qwen2ForCausalLM"


def test_weights_depend_on_name_and_seed_only(tokenizer):
    sizes = {"hidden": 32, "layers": 1, "heads": 2}
    a, b, c = (model.build(tokenizer, name="t", seed=s, **sizes).model.embed_tokens.weight for s in (0, 0, 1))
    assert (a == b).all()
    assert not (a == c).all()


def test_batches_cover_every_row_once_and_get_longer():
    lengths = [5, 1, 9, 3, 3, 7, 2]
    batches = list(by_length(lengths, 3))
    assert sorted(i for b in batches for i in b) == list(range(7))
    assert [lengths[i] for b in batches for i in b] == sorted(lengths)


def test_padding_is_left_and_positions_count_real_tokens():
    given = batching.inputs([[7, 8, 9], [5]], pad=0)
    assert given["input_ids"].tolist() == [[7, 8, 9], [0, 0, 5]]
    assert given["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert given["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batching.labels([1, 0], [[7, 8, 9], [5]]).tolist() == [[-100, 8, 9], [-100, -100, 5]]
