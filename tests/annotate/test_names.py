"""The table of names that a language model writes: the whole stage on a miniature, and answers put in its mouth."""

import json

import pytest

from gillnext.annotate import names
from gillnext.cli import main
from gillnext.instruments import phrases
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.runtime.errors import UserError

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NAMES = ["猫", "红绿灯", "盆栽", "小狗", "树"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "chat"
    tokenizer = train_tokenizer([names.INSTRUCTION, *NAMES, "cat traffic light"], vocabulary=400, minimum=1)
    tokenizer.chat_template = TEMPLATE
    model.save(model.build(tokenizer, hidden=32, layers=1, heads=2, name="chat", seed=1), tokenizer, folder, {}, "chat")
    return folder


@pytest.mark.parametrize(
    ("text", "phrase", "reason"),
    [
        ("cat", "cat", ""),
        (' "A Traffic Light."\n', "traffic light", ""),
        ("the T-shirt", "t-shirt", ""),
        ("”men's shoe”", "men's shoe", ""),
        ("", "", "no answer"),
        ("。", "", "no answer"),
        ("猫 (cat)", "", "Chinese"),
        ("a small cat that sits there", "", "more than 4 words"),
        ("cat. dog", "", "not a phrase of English words"),
        ("cat/dog", "", "not a phrase of English words"),
        ("12", "", "not a phrase of English words"),
        ("cat\n\ncat", "", "not a phrase of English words"),
        ("café", "", "not a phrase of English words"),
    ],
)
def test_an_answer_is_one_short_phrase_or_is_counted(text, phrase, reason):
    assert names.read_answer(text) == (phrase, reason)
    assert phrases.problem(phrase) == ""


def test_the_stage_writes_a_row_for_every_name_and_the_counts(chat, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    (tmp_path / "config.yaml").write_text("filter: {batch: 2}\n")
    command = ["names", "--config", tmp_path / "config.yaml", "--names", tmp_path / "names.txt", "--model", chat]
    assert main([str(part) for part in [*command, "--out", tmp_path / "names.tsv"]]) == 0
    counts = json.loads((tmp_path / "names.json").read_text())
    rows = phrases.read(tmp_path / "names.tsv")
    assert list(rows) == NAMES and counts["names"] == counts["asked"] == 5
    assert counts["blank"] == sum(not phrase for phrase in rows.values()) == sum(counts["refused"].values())
    assert not (tmp_path / "names.tsv.work").exists()


def test_a_batch_answers_as_each_name_alone_does(chat):
    translator = names.Translator(*model.load(chat))
    together = translator.answer(NAMES)
    assert together == [translator.answer([name])[0] for name in NAMES]
    assert len({len(translator.tokenizer(name).input_ids) for name in NAMES}) > 1, "padding would not matter"


def test_a_model_without_a_chat_template_is_refused(tiny_language):
    with pytest.raises(UserError, match="chat template"):
        names.Translator(*model.load(tiny_language)).answer(["猫"])


class Speaker:
    """Answers from a table, and dies after a number of batches."""

    def __init__(self, said, batches=99):
        self.said, self.batches, self.asked = said, batches, []

    def answer(self, part):
        if len(self.asked) == self.batches:
            raise KeyboardInterrupt
        self.asked.append(list(part))
        return [self.said[name] for name in part]


SAID = {"猫": "Cat", "红绿灯": "traffic light", "盆栽": "盆栽植物", "小狗": "dog", "树": "dog"}


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    first, second, out = Speaker(SAID, batches=2), Speaker(SAID), tmp_path / "names.tsv"
    with pytest.raises(KeyboardInterrupt):
        names.translate(NAMES, {}, first, 2, out, "job")
    assert not out.exists()
    counts = names.translate(NAMES, {}, second, 2, out, "job")
    assert first.asked == [["猫", "树"], ["盆栽", "小狗"]] and second.asked == [["红绿灯"]]
    assert phrases.read(out) == {"猫": "cat", "红绿灯": "traffic light", "盆栽": "", "小狗": "dog", "树": "dog"}
    assert counts["refused"] == {"Chinese": 1} and counts["phrases_of_several_names"] == 1
    fresh = Speaker(SAID)
    names.translate(NAMES, {}, fresh, 2, tmp_path / "other.tsv", "job")
    assert (tmp_path / "other.tsv").read_bytes() == out.read_bytes()


def test_what_a_person_wrote_is_kept_and_what_is_blank_is_asked_again(tmp_path):
    out, mended = tmp_path / "names.tsv", tmp_path / "mended.tsv"
    out.write_text("猫\tkitten\n盆栽\tpotted plant\n红绿灯\t\n", encoding="utf-8")
    mended.write_text("猫\ttom cat\n别的\tother\n", encoding="utf-8")
    known = names.kept(out, mended)
    assert known == {"猫": "tom cat", "盆栽": "potted plant", "别的": "other"}
    speaker = Speaker(SAID)
    counts = names.translate(NAMES[:3], known, speaker, 8, out, "job")
    assert speaker.asked == [["红绿灯"]] and counts["kept"] == 2
    assert phrases.read(out) == {"猫": "tom cat", "红绿灯": "traffic light", "盆栽": "potted plant"}
    assert names.kept(tmp_path / "none.tsv", None) == {}
