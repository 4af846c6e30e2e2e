"""Which layouts a planner learns from, what each teaches, and that they are read when their turn comes."""

import gc
import tracemalloc

import pytest
import torch

from gillnext import layouts
from gillnext.config.model import Planner as Settings
from gillnext.language import batching
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner.encode import collate, encode, gaps
from gillnext.planner.rows import Rows, largest
from gillnext.planner.targets import HARD, Targets
from gillnext.planner.train import make_tokenizer
from gillnext.runtime.errors import UserError

LEFT, RIGHT, SMALL = (0.0, 0.3, 0.3, 0.6), (0.6, 0.3, 0.9, 0.6), (0.1, 0.1, 0.2, 0.2)
FULL = Layout("左边是猫，右边是树", ("树", "猫"), (RIGHT, LEFT))
POOR = Layout("左边是猫，右边是树", ("猫",), (LEFT,))
LONG = Layout("一只猫", ("猫", "很长很长很长很长很长很长的名字"), (LEFT, RIGHT))


def rows_of(tmp_path, found, **settings):
    layouts.write(tmp_path / "layouts.jsonl", found)
    return Rows([tmp_path / "layouts.jsonl"], Settings(**settings))


def test_layouts_without_an_object_of_their_caption_are_left_out_or_kept(tmp_path):
    found = [FULL, POOR, LONG, Layout("空", (), ())]
    rows = rows_of(tmp_path, found)
    assert rows.nouns == ["树", "猫"] and not rows.unlisted
    assert [rows[i].layout.names for i in range(len(rows))] == [("猫", "树")]
    assert rows.counts == {"layouts": 4, "used": 1, "object_missing": 1, "long_name": 1, "no_objects": 1}
    rows = rows_of(tmp_path, found, incomplete="keep")
    assert [rows[i].layout.names for i in range(len(rows))] == [("猫", "树"), ("猫",), ("猫",)]
    assert [(rows[i].missing, rows[i].complete) for i in range(3)] == [((), True), (("树",), True), ((), False)]
    assert rows.counts == {"layouts": 4, "used": 3, "incomplete": 2, "no_objects": 1}


def test_of_a_complete_layout_what_else_its_caption_names_is_not_there(tmp_path):
    absent = Layout("有船吗？没有。有猫和树", ("猫", "树"), (LEFT, SMALL), extra={"complete": True})
    found = [absent, Layout("一艘船", ("船",), (SMALL,)), Layout("有船吗？没有。有猫", ("猫",), (LEFT,))]
    rows = rows_of(tmp_path, found)
    assert [rows[i].layout.names for i in range(len(rows))] == [("猫", "树"), ("船",)]
    assert (rows[0].missing, rows[0].complete) == ((), True)
    assert rows.counts == {"layouts": 3, "used": 2, "object_missing": 1}
    cut = rows_of(tmp_path, [absent], boxes=1, incomplete="keep")[0]
    assert (cut.layout.names, cut.missing) == (("猫",), ("树",))


def test_of_more_objects_than_a_plan_has_the_largest_are_taken_and_counted(tmp_path):
    many = Layout("猫、树和船", ("猫", "树", "船"), (LEFT, SMALL, RIGHT))
    assert largest(many, 2).names == ("猫", "船") and largest(many, 2).boxes == (LEFT, RIGHT)
    rows = rows_of(tmp_path, [many, Layout("猫", ("猫", "猫", "猫"), (LEFT, SMALL, RIGHT))], boxes=2, incomplete="keep")
    assert [rows[i].layout.names for i in range(2)] == [("猫", "船"), ("猫", "猫")]
    assert [rows[i].missing for i in range(2)] == [("树",), ()]
    assert rows.counts == {"layouts": 2, "used": 2, "objects_cut": 2, "incomplete": 1}


def test_the_nouns_are_the_most_frequent_and_others_may_be_named_all_the_same(tmp_path):
    found = [FULL, POOR, Layout("船", ("船",), (LEFT,)), Layout("花", ("花",), (LEFT,))]
    rows = rows_of(tmp_path, found, nouns=3)
    assert rows.nouns == ["树", "猫", "船"] and rows.unlisted  # of equals the first in the order of characters
    assert [rows[i].layout.names for i in range(len(rows))] == [("猫", "树"), ("船",), ("花",)]
    assert rows_of(tmp_path, found, nouns=0).counts["used"] == 4


def test_rows_are_read_from_their_lines_whatever_stands_between(tmp_path):
    layouts.write(tmp_path / "a.jsonl", [FULL, POOR])
    one, two = (tmp_path / "a.jsonl").read_bytes().splitlines()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + one + b"\n\n  \n" + two)
    layouts.write(tmp_path / "b.jsonl", [Layout("船", ("船",), (LEFT,), "b")])
    rows = Rows([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], Settings(incomplete="keep"))
    assert [rows[i].layout.caption for i in range(3)] == [FULL.caption, POOR.caption, "船"]
    assert rows[2].layout.id == "b"
    (tmp_path / "b.jsonl").write_text('{"caption": "船", "objects": [{"name": "船", "bbox": [0, 0, 2, 1]}]}\n')
    with pytest.raises(UserError, match=r"b\.jsonl, line 1"):
        Rows([tmp_path / "b.jsonl"], Settings())
    with pytest.raises(UserError, match="no such file"):
        Rows([tmp_path / "c.jsonl"], Settings())


def test_memory_is_an_index_and_not_the_layouts(tmp_path):
    def held(count):
        extra = {"url": "http://example.com/" + "x" * 300}
        layouts.write(
            tmp_path / "many.jsonl", (Layout("猫", ("猫",), (LEFT,), str(i), extra=extra) for i in range(count))
        )
        gc.collect()
        tracemalloc.start()
        rows = Rows([tmp_path / "many.jsonl"], Settings())
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(rows) == count
        return used

    assert held(1_500) - held(500) < 1_000 * 50  # 12 bytes a row, and what arrays grow ahead; a layout takes 1,000


@pytest.fixture(scope="module")
def made():
    tokenizer = make_tokenizer([FULL.caption, "一艘红色的船"], ["树", "猫", "树木"])
    return tokenizer, Targets(tokenizer, 2.0)


def test_pieces_are_cut_as_the_whole_plan_is(made):
    tokenizer, targets = made
    layout = Layout("一句话", ("猫", "树木", "3025只cat", "船，a b"), (LEFT, RIGHT, SMALL, (0.0, 0.0, 1.0, 1.0)))
    found = encode(tokenizer, targets, layout)
    whole = tokenizer("一句话\n" + plan_format.write(layout.names, layout.boxes, plan_format.GRID)).input_ids
    assert found.tokens == [*whole, tokenizer.eos_token_id] and found.prompt == len(tokenizer("一句话\n").input_ids)
    assert all(found.taught) and found.rows.count(HARD) == len(found.tokens) - 4 * 4


def test_whole_numbers_have_the_gaussian_of_their_neighbours(made):
    tokenizer, targets = made
    labels = torch.arange(len(tokenizer))
    rows = torch.zeros(len(tokenizer), dtype=torch.long)
    expected = torch.eye(len(tokenizer))
    for texts in plan_format.grid_tokens():
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(texts))
        rows[ids] = torch.tensor([targets.numbers[text][1][0] for text in texts])
        apart = torch.arange(len(texts))[:, None] - torch.arange(len(texts))
        weights = torch.exp(-0.5 * (apart / 2.0) ** 2)
        expected[ids[:, None], ids] = weights / weights.sum(1, keepdim=True)
    assert torch.equal(targets.dense(labels, rows, len(tokenizer)), expected)  # the same bits


def test_an_incomplete_layout_teaches_neither_its_end_nor_what_follows_a_missing_object(made):
    tokenizer, targets = made
    layout = Layout("猫、花、树和船", ("猫", "树", "船"), (LEFT, RIGHT, SMALL))
    assert gaps(layout, ["花"]) == [False, True, False] and gaps(layout, []) == [False] * 3
    assert gaps(Layout("花和猫", ("猫", "外"), (LEFT, RIGHT)), ["花"]) == [True, False]
    found = encode(tokenizer, targets, layout, ["花"])
    untaught = [t for t, taught in zip(found.tokens, found.taught, strict=True) if not taught]
    assert tokenizer.decode(untaught) == "树" + tokenizer.eos_token
    whole = encode(tokenizer, targets, layout)
    assert found.tokens == whole.tokens and all(whole.taught)
    assert not encode(tokenizer, targets, layout, (), complete=False).taught[-1]


def test_a_batch_teaches_plans_and_captions_apart(made):
    tokenizer, targets = made
    texts = [encode(tokenizer, targets, FULL), encode(tokenizer, targets, POOR, ["树"])]
    batch = collate(texts, tokenizer.pad_token_id, "cpu")
    tokens = batch.inputs["input_ids"]
    assert torch.equal(
        batch.labels_BT[batch.plan_BT | batch.caption_BT], tokens[:, 1:][batch.plan_BT | batch.caption_BT]
    )
    for i, text in enumerate(texts):
        plan = text.tokens[text.prompt :] if not i else text.tokens[text.prompt : -1]
        assert batch.labels_BT[i][batch.plan_BT[i]].tolist() == plan
        assert batch.labels_BT[i][batch.caption_BT[i]].tolist() == text.tokens[1 : text.prompt]
    assert not (batch.labels_BT[batch.plan_BT | batch.caption_BT] == batching.IGNORE).any()


def test_a_tokenizer_that_keeps_numbers_has_one_row_each():
    tokenizer = train_tokenizer(["0123456789,"], 600, plan_format.tokens())
    targets = Targets(tokenizer, 2.0)
    assert targets.ids_RK.shape == (1 + 2 * 41, 41)
    torch.testing.assert_close(targets.weights_RK.sum(1), torch.ones(83))
