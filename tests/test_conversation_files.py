"""Conversations as files: what is written is read again, and what is wrong is told with its line and turn."""

import json

import pytest

from gillnext import conversations
from gillnext.conversations import Conversation, Turn, text_of
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

SHOWN = Layout("一只猫和一棵树", ("猫", "树"), ((0.1, 0.2, 0.5, 0.6), (0.6, 0.1, 0.9, 0.9)))
STORY = Conversation(
    "story-1",
    "story",
    (Turn("从前有一只猫。"), Turn("猫的右边有一棵树。", "pictures/a.png", SHOWN, ((1, "right", 0), (0, "left", None)))),
)


def written(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def script(**turn):
    return {"id": "a", "kind": "script", "turns": [{"text": "一只猫"}, turn]}


def test_what_is_written_is_read_again(tmp_path):
    rows = [STORY, Conversation("", "script", (Turn("一只猫"), Turn("", "猫.png")))]
    conversations.write(tmp_path / "rows.jsonl", rows)
    assert conversations.read(tmp_path / "rows.jsonl") == rows


def test_a_persons_script_needs_turns_alone(tmp_path):
    path = written(tmp_path / "rows.jsonl", {"turns": [{"text": "你好"}, {"picture": "a/b.png"}]})
    assert conversations.read(path) == [Conversation("", "script", (Turn("你好"), Turn("", "a/b.png")))]


def test_the_text_is_a_line_a_turn():
    assert text_of(STORY.turns) == "从前有一只猫。\n猫的右边有一棵树。"


def test_sixty_four_turns_are_read_and_sixty_five_refused(tmp_path):
    most = written(tmp_path / "most.jsonl", {"turns": [{"text": "一"}] * 64})
    assert len(conversations.read(most)[0].turns) == 64
    with pytest.raises(UserError, match="65 turns") as told:
        conversations.read(
            written(tmp_path / "more.jsonl", {"turns": [{"text": "一"}]}, {"turns": [{"text": "一"}] * 65})
        )
    assert "more.jsonl, line 2" in str(told.value)


TURN = {"text": "一", **{key: SHOWN.to_row()[key] for key in ("caption", "objects")}}
BAD = {
    "nothing": {},
    "blank": {"text": "  \n"},
    "number": {"text": 3},
    "outside": {"text": "一", "picture": "../a.png"},
    "inside out": {"text": "一", "picture": "pictures/../../a.png"},
    "absolute": {"text": "一", "picture": "/a.png"},
    "half a pair": {"text": "\ud800"},
    "unknown relation": {**TURN, "relations": [[0, "near", 1]]},
    "third of two": {**TURN, "relations": [[2, "left", 1]]},
    "true is no number": {**TURN, "relations": [[True, "left", 0]]},
    "no subject": {**TURN, "relations": [[None, "left", 0]]},
    "relation of nothing": {"text": "一", "relations": [[0, "left", None]]},
    "objects without a caption": {"text": "一", "objects": []},
    "box out of range": {"text": "一", "caption": "一只猫", "objects": [{"name": "猫", "bbox": [0, 0, 2, 1]}]},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_turn_is_told_with_file_line_and_turn(tmp_path, name):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(script(text="一")) + "\n" + json.dumps(script(**BAD[name])) + "\n")
    with pytest.raises(UserError) as told:
        conversations.read(path)
    assert "rows.jsonl, line 2, turn 2" in str(told.value)


ONE = {"turns": [{"text": "一"}]}


@pytest.mark.parametrize(
    "row", [[], {"turns": "一"}, {"turns": []}, {"turns": [1]}, ONE | {"kind": "poem"}, ONE | {"id": 3}]
)
def test_what_is_no_conversation_is_refused(tmp_path, row):
    with pytest.raises(UserError, match="line 1"):
        conversations.read(written(tmp_path / "rows.jsonl", row))


def test_what_is_not_json_is_told_with_its_line(tmp_path):
    path = written(tmp_path / "rows.jsonl", script(text="一"))
    path.write_text(path.read_text() + '{"turns": [}\n')
    with pytest.raises(UserError, match="not JSON") as told:
        conversations.read(path)
    assert "line 2" in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        conversations.read(tmp_path / "none.jsonl")
