"""A dialogue: what is read, what comes back, and that bad input is told and loses nothing."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from gillnext import cli
from gillnext.chat import commands, index, stage
from gillnext.chat.commands import Said
from gillnext.chat.session import Models, Session
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

BOX = (0.1, 0.2, 0.5, 0.6)


class Brush:
    """Draws grey pictures, and remembers what in."""

    planner, cfg = None, None

    def __init__(self):
        self.boxes = []

    def draw(self, captions, keys, layouts=None, embeds=None):
        assert len(captions) == len(keys) == len(embeds[0]) == 1
        self.boxes.append(layouts)
        return np.full((1, 8, 8, 3), 128, np.uint8)


class Says:
    """Retrieves where the score is high."""

    def retrieve(self, images, scores):
        return scores > 0.99


@pytest.fixture
def album(tmp_path, talker, paint):
    paint(tmp_path / "album/red.png", (250, 0, 0))
    paint(tmp_path / "album/red2.png", (240, 0, 0))
    paint(tmp_path / "album/blue.png", (0, 0, 250))
    return index.build(talker, tmp_path / "album", tmp_path / "index")


@pytest.fixture
def models(talker, album):
    def speak(turns, root, number):
        return f"听到了{len(turns)}句：{turns[-1].text}"

    return Models(talker, Brush(), speak, album, Says())


@pytest.fixture
def session(models, tmp_path):
    return Session(models, tmp_path / "chat")


def rows(session):
    return json.loads((session.folder / "transcript.json").read_text())["turns"]


def test_a_turn_is_answered_by_words_and_by_a_picture_found_or_drawn(session, album):
    found = session.say("红色的。")
    assert found.answer == "听到了1句：红色的。" and found.how.startswith("找到") and "red" in found.how
    assert found.picture.read_bytes() in {album.path(i).read_bytes() for i in range(2)} | {album.path(2).read_bytes()}
    drawn = session.say("还有绿色的和蓝色的。")
    assert drawn.how.startswith("画的") and Image.open(drawn.picture).size == (8, 8)
    assert [turn.text for turn in session.turns] == ["红色的。", "还有绿色的和蓝色的。"]
    assert [row["text"] for row in rows(session)] == ["红色的。", "还有绿色的和蓝色的。"]


def test_what_is_asked_for_is_done_whatever_would_be_decided(session, models):
    assert session.say("红色的。", want="draw").how.startswith("画的")
    assert session.say("绿色的。", want="find").how.startswith("找到")
    assert session.say("蓝色的。", want="none").picture is None
    boxes = Layout("…", ("猫",), (BOX,))
    entry = session.say(boxes=boxes)
    assert entry.picture and entry.layout == boxes and models.artist.boxes[-1] == [boxes]
    assert len(session.turns) == 3  # the last asked for another picture of what was said
    assert rows(session)[-1]["boxes"] == [{"name": "猫", "bbox": list(BOX)}]


def test_a_shown_picture_is_captioned_and_read_from_then_on(session, talker, tmp_path, paint):
    path = paint(tmp_path / "me/蓝 图.PNG", (0, 0, 250))
    entry = session.say("这是什么？", path)
    assert entry.answer == "蓝" and entry.picture is None and entry.shown.name == "001-shown.png"
    path.unlink()  # what was shown has been kept
    session.say("红色的。")
    asked, pictures = talker.asked[-1]
    assert [turn.picture for turn in asked[0]] == ["001-shown.png", ""] and pictures
    session.say(picture=entry.shown, want="draw")
    assert [turn.picture for turn in talker.asked[-1][0][0]] == ["001-shown.png", "", "003-shown.png", ""]


def test_bad_turns_are_told_and_change_nothing(session, tmp_path):
    assert "nothing was said yet" in session.say("").notes[0]
    assert "no such file" in session.say("看。", tmp_path / "none.png").notes[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "not a readable picture" in session.say("", tmp_path / "broken.png").notes[0]
    assert session.turns == [] and len(rows(session)) == 3
    assert session.say("红色的。").answer == "听到了1句：红色的。"
    assert rows(session)[1]["text"] == "看。"  # what was typed is in the transcript


def test_pictures_that_are_gone_are_told_and_the_next_is_found(session, album):
    first = session.say("红色的。").how
    gone = album.path(next(i for i, name in enumerate(album.paths) if name in first))
    gone.unlink()
    entry = session.say(want="find")
    assert "missing: the next picture is taken" in entry.notes[0] and entry.picture
    for name in album.paths:
        (album.root / name).unlink(missing_ok=True)
    entry = session.say(want="find")
    assert entry.picture is None and "no picture to be found" in entry.notes[-1]


def test_without_an_index_everything_is_drawn(models, tmp_path):
    import dataclasses

    session = Session(dataclasses.replace(models, index=None, policy=None), tmp_path / "chat")
    assert session.say("红色的。").how.startswith("画的")


def test_fifty_turns_are_kept_and_cut_ones_told(session, talker, monkeypatch):
    read = talker.read

    def short(turns, root, **more):
        found = read(turns, root, **more)
        return type(found)(found.images, found.embeddings, found.states, found.pooled, (max(len(turns[0]) - 12, 0),))

    monkeypatch.setattr(talker, "read", short)
    entries = [session.say(f"第{i}句，红。") for i in range(50)]
    assert all(entry.answer and entry.picture for entry in entries) and len(rows(session)) == 50
    assert entries[11].notes == [] and "first 38 turns are no longer read" in entries[49].notes[0]
    page = (session.folder / "transcript.html").read_text()
    assert page.count('class="turn"') == 50 and "第49句" in page


def test_an_interruption_keeps_what_was_said(session, models, monkeypatch):
    session.say("红色的。")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.artist, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        session.say("绿色的和蓝色的。")
    assert rows(session)[1]["text"] == "绿色的和蓝色的。" and "interrupted" in rows(session)[1]["notes"][0]


def test_the_page_is_whole_and_escapes_what_people_type(session):
    session.say("<script>alert(1)</script>&\"'")
    page = (session.folder / "transcript.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert 'src="http' not in page and "@import" not in page and page.count("data:image/jpeg;base64,") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("一只猫。", Said("一只猫。")),
        ("/图 a.png", Said(picture=commands.Path("a.png"))),
        ("/image 'my cat.png' 这是 什么？", Said("这是 什么？", commands.Path("my cat.png"))),
        ("/画", Said(want="draw")),
        ("/找 一只猫", Said("一只猫", want="find")),
        ('/框 {"猫": [0.1, 0.2, 0.5, 0.6]} 一只猫', Said("一只猫", boxes=Layout("…", ("猫",), (BOX,)), want="draw")),
        ("/退出", "quit"),
        ("/help", "help"),
    ],
)
def test_lines_become_turns(line, said):
    assert commands.parse(line) == said


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("", "nothing was said"), ("   ", "nothing was said"), ("/图", "no picture is named"), ("/走", "no command"),
        ("/框 {猫: 1}", "no boxes"), ('/框 {"猫": [0.5, 0.2, 0.1, 0.6]}', "猫"), ('/框 {"猫": [1, 2]}', "猫"),
        ('/框 {"猫": [0,0,1,1], "猫": [0,0,1,1]}', "twice"), ("/框 3", "list"),
    ],
)  # fmt: skip
def test_bad_lines_are_refused(line, what):
    with pytest.raises(UserError, match=what):
        commands.parse(line)


def test_a_name_may_have_several_boxes():
    assert commands.boxes_of({"猫": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], "树": [0, 0, 1, 1]}, "x").names == (
        "猫",
        "猫",
        "树",
    )


def test_a_terminal_dialogue_goes_on_after_bad_lines_and_ends_with_its_input(session, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("红色的。\n\n/走\n/图 none.png\n/help\n绿色的和蓝色的。\n"))
    stage.converse(session, "decided")
    out = capsys.readouterr().out
    assert [row["text"] for row in rows(session) if "text" in row] == ["红色的。", "绿色的和蓝色的。"]
    assert "nothing was said" in out and "no command is called /走" in out and "no such file" in out and "/框" in out


def test_a_new_dialogue_does_not_write_over_an_old_one(tmp_path):
    assert stage.free(tmp_path / "chat") == tmp_path / "chat"
    for name in ("chat", "chat-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "transcript.html").write_text("old")
    assert stage.free(tmp_path / "chat") == tmp_path / "chat-3"


def write(path, *rows_):
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows_)
    path.write_text(text, encoding="utf-8")
    return path


def test_scripts_are_played_and_what_got_no_answer_is_told(models, tmp_path, paint):
    paint(tmp_path / "p.png", (0, 250, 0))
    turns = [
        {"text": "红色的。"}, {"text": "看。", "picture": "p.png"},
        {"text": "蓝色的。", "boxes": {"猫": list(BOX)}, "want": "draw"}, {"text": "好。", "want": "none"},
    ]  # fmt: skip
    stage.play(models, write(tmp_path / "one.json", {"turns": turns}), tmp_path / "one", "", "decided")
    told = json.loads((tmp_path / "one/transcript.json").read_text())["turns"]
    assert [row.get("how", "")[:2] for row in told] == ["找到", "", "画的", ""] and told[1]["answer"] == "绿"
    both = [{"id": "a", "turns": turns}, {"id": "../b", "turns": [{"text": "", "picture": "gone.png"}, turns[0]]}]
    with pytest.raises(UserError, match="1 of 6 turns got no answer"):
        stage.play(models, write(tmp_path / "two.jsonl", *both), tmp_path / "two", "", "decided")
    assert {p.name for p in (tmp_path / "two").iterdir()} == {"a", "00002"}
    told = json.loads((tmp_path / "two/00002/transcript.json").read_text())["turns"]
    assert "no such file" in told[0]["notes"][0] and told[1]["how"].startswith("找到")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"turns": [{"text": "一"}, {"text": ""}]}, "turn 2: says nothing"),
        ({"turns": [{"text": "一", "want": "sing"}]}, "turn 1: 'want' is 'sing'"),
        ({"turns": [{"text": "一", "boxes": {"猫": [1, 0, 0, 1]}}]}, "turn 1"),
        ({"turns": [{"text": "一"}] * 65}, "65 turns"),
        ({"turns": [{"text": "一", "picture": "/etc/x.png"}]}, "not inside"),
        ([], "turns"),
    ],
)
def test_bad_scripts_are_refused_with_their_turn(row, what, tmp_path):
    with pytest.raises(UserError, match=what):
        list(commands.script(write(tmp_path / "x.json", row)))


def test_parts_that_are_not_there_are_named(tmp_path, capsys, monkeypatch):
    assert cli.main(["chat", "--results", str(tmp_path), "--out", str(tmp_path / "chat")]) == 2
    err = capsys.readouterr().err
    assert "the gill is not there" in err and "make supplement" in err
    assert cli.main(["chat", "--top-p", "0"]) == 2
    assert "above 0" in capsys.readouterr().err


def test_the_parts_are_those_of_the_results_unless_they_are_named(tmp_path, tiny_config, capsys):
    import argparse
    import dataclasses

    results, eyes = tmp_path / "results", tmp_path / "eyes"
    for name in ("supplement/gill", "supplement/language", "supplement/index", "models/base", "adapters/attn2/0"):
        (results / name).mkdir(parents=True)
    (tmp_path / "other").mkdir()
    eyes.mkdir()
    cfg = dataclasses.replace(tiny_config, gill=dataclasses.replace(tiny_config.gill, eyes=str(eyes)))
    named = dict.fromkeys(stage.PARTS) | {"results": results, "index": tmp_path / "other"}
    parts = stage.folders(cfg, argparse.Namespace(**named))
    assert parts == {
        "gill": results / "supplement/gill", "language": results / "supplement/language", "eyes": eyes,
        "base": results / "models/base", "adapter": results / "adapters/attn2/0", "index": tmp_path / "other",
    }  # fmt: skip
    err = capsys.readouterr().err
    assert "no planner" in err and "no decision" in err
    (results / "supplement/gill/adapter").mkdir()  # trained with GILL, through the UNet
    assert stage.folders(cfg, argparse.Namespace(**named))["adapter"] == results / "supplement/gill/adapter"
    with pytest.raises(UserError, match="the decision is not there"):
        stage.folders(cfg, argparse.Namespace(**named | {"decision": tmp_path / "none"}))
