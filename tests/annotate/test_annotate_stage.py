"""The annotation stage: what is kept, dropped and counted; batches, memory, interruptions."""

import errno
import json
import os
import signal
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gillnext import layouts
from gillnext.annotate import rows as rows_
from gillnext.annotate import stage
from gillnext.annotate.base import Found, Vocabulary
from gillnext.boxes import Convention
from gillnext.cli import main
from gillnext.config.load import from_dict
from gillnext.config.model import Config
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.runtime.journal import Journal
from gillnext.runtime.workers import Workers

VOCABULARY = Vocabulary(["猫", "树", "船"])


class Brightness:
    """A fake annotator: a box that depends on the image's brightness alone, for every name but 船."""

    name, convention, needs_names, max_image_size = "fake", Convention.UNIT, True, None

    def __init__(self, room=10**9, fail_after=10**9):
        self.room, self.fail_after, self.calls, self.seen = room, fail_after, [], 0

    def annotate(self, images, captions, names):
        self.calls.append(len(images))
        if len(images) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if self.seen >= self.fail_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        return [[self.found(i, n) for n in wanted] for i, wanted in zip(images, names, strict=True)]

    def found(self, image, name):
        if name == "船":
            return Found(name, None, 0.0, "object not in the image")
        level = float(np.asarray(image).mean()) / 510
        return Found(name, (level, 0.1, level + 0.123456, 0.9), 0.8)


@pytest.fixture
def index(tmp_path):
    """Ten rows: seven good, one that names nothing, one broken file, one whose only object is not there."""
    rows = []
    for i in range(10):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (8, 8), (i * 20,) * 3).save(path)
        rows.append(
            {"image_path": str(path), "caption": "一只猫和一棵树" if i % 2 else "一只猫", "url": f"u{i}", "row": i}
        )
    rows[3]["caption"] = "特价包邮"
    rows[5]["caption"] = "一艘船"
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:40])
    files.write_jsonl(tmp_path / "index.jsonl", rows)
    return tmp_path / "index.jsonl"


def run(index, out, annotator=None, batch=4, job="job"):
    return annotate(rows_.read_index(index), annotator or Brightness(), out, batch, job)


def annotate(rows, annotator, out, batch=4, job="job", config=Config()):  # noqa: B008 (a frozen dataclass)
    with Workers(lambda: partial(stage.answer_batch, annotator=annotator, vocabulary=VOCABULARY), config) as workers:
        return stage.annotate(rows, workers, batch, out, job)


def test_rows_are_kept_in_order_or_counted_by_reason(index, tmp_path):
    counts = run(index, tmp_path / "out.jsonl")
    kept = layouts.read(tmp_path / "out.jsonl")
    assert [layout.id for layout in kept] == ["0", "1", "2", "4", "6", "8", "9"]
    assert kept[1].names == ("猫", "树") and kept[1].extra == {"url": "u1", "row": 1}
    assert counts["rows_dropped"] == {"no object named": 1, "unreadable image": 1, "no object left": 1}
    assert counts["objects_dropped"] == {"object not in the image": 1}
    assert counts["rows"] == 10 and counts["kept"] == 7 and counts["objects"] == 9
    assert files.read_json(tmp_path / "out.json") == counts
    assert not (tmp_path / "out.jsonl.work").exists()


def test_counts_of_gpus_hold_their_pace_and_those_of_a_cpu_do_not(index, tmp_path):
    rows, cuda = rows_.read_index(index), from_dict({"run": {"device": "cuda"}})
    pace = annotate(rows, Brightness(), tmp_path / "gpu.jsonl", config=cuda).pop("pace")
    assert pace["devices"] == 1 and pace["items"] == 10 and pace["seconds"] > 0
    assert files.read_json(tmp_path / "gpu.json")["pace"] == pace
    assert "pace" not in run(index, tmp_path / "cpu.jsonl")


def test_the_batch_size_changes_nothing(index, tmp_path):
    for batch in (1, 3, 64):
        run(index, tmp_path / f"{batch}.jsonl", batch=batch)
    assert len({(tmp_path / f"{batch}.jsonl").read_bytes() for batch in (1, 3, 64)}) == 1


def test_out_of_memory_halves_the_batch_and_changes_nothing(index, tmp_path):
    small = Brightness(room=1)
    run(index, tmp_path / "small.jsonl", small, batch=8)
    run(index, tmp_path / "large.jsonl", batch=8)
    assert (tmp_path / "small.jsonl").read_bytes() == (tmp_path / "large.jsonl").read_bytes()
    assert max(small.calls) > 1 and 1 in small.calls


def test_an_image_that_never_fits_is_set_aside_and_counted(index, tmp_path):
    counts = run(index, tmp_path / "out.jsonl", Brightness(room=0))
    assert counts["kept"] == 0 and counts["rows_dropped"][stage.OUT_OF_MEMORY] == 8
    journal = tmp_path / "out.jsonl.work"
    with Journal(journal, "job") as interrupted:
        interrupted.add({row.key: stage.nothing(stage.OUT_OF_MEMORY) for row in rows_.read_index(index)})
    assert run(index, tmp_path / "out.jsonl")["kept"] == 7  # as another job's memory is free by now


def test_other_errors_are_not_taken_for_memory(index, tmp_path):
    class Broken(Brightness):
        def annotate(self, images, captions, names):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        run(index, tmp_path / "out.jsonl", Broken())


def test_an_interrupted_run_goes_on_where_it_stopped(index, tmp_path):
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(index, out, Brightness(fail_after=3), batch=2)
    journal = tmp_path / "out.jsonl.work" / "journal.jsonl"
    assert not out.exists()
    with open(journal, "a") as stream:
        stream.write('{"key": "half a li')
    second = Brightness()
    run(index, out, second, batch=2)
    assert second.seen == 8 - 3
    run(index, tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_killed_run_goes_on_where_it_stopped(index, tmp_path):
    class Killed(Brightness):
        def annotate(self, images, captions, names):
            if self.seen >= 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().annotate(images, captions, names)

    child = os.fork()
    if child == 0:
        try:
            run(index, tmp_path / "out.jsonl", Killed(), batch=2)
        finally:  # whatever happens: never a second pytest
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    second = Brightness()
    run(index, tmp_path / "out.jsonl", second, batch=2)
    run(index, tmp_path / "whole.jsonl")
    assert 0 < second.seen < 8
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_the_journal_of_another_job_is_not_believed(index, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(index, tmp_path / "out.jsonl", Brightness(fail_after=3), batch=2, job="old model")
    second = Brightness()
    run(index, tmp_path / "out.jsonl", second, job="new model")
    assert second.seen == 8


def test_images_that_are_all_missing_are_a_mistake_and_not_a_result(tmp_path):
    files.write_jsonl(tmp_path / "index.jsonl", [{"image_path": "gone.png", "caption": "一只猫"}])
    with pytest.raises(UserError, match="not one image is there"):
        run(tmp_path / "index.jsonl", tmp_path / "out.jsonl")


def test_a_tsv_of_file_names_and_captions_gives_the_same(index, tmp_path):
    rows = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    lines = [f"{row['image_path'].rsplit('/', 1)[1]}\t{row['caption']}" for row in rows]
    table = tmp_path / "pairs.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = rows_.read_tsv(table, tmp_path)
    annotate(rows, Brightness(), tmp_path / "tsv.jsonl")
    run(index, tmp_path / "out.jsonl")
    from_tsv = [(a.image_path, a.names, a.boxes) for a in layouts.read(tmp_path / "tsv.jsonl")]
    assert from_tsv == [(a.image_path, a.names, a.boxes) for a in layouts.read(tmp_path / "out.jsonl")]


def test_bad_rows_are_named_by_file_and_line(tmp_path):
    (tmp_path / "t.tsv").write_text("a.png\t一只猫\nb.png 一棵树\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.tsv, line 2"):
        rows_.read_tsv(tmp_path / "t.tsv", tmp_path)
    (tmp_path / "t.tsv").write_bytes("a.png\t左边的一棵树".encode("gbk"))
    with pytest.raises(UserError, match="UTF-8"):
        rows_.read_tsv(tmp_path / "t.tsv", tmp_path)
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": "a.png", "caption": "猫"}, {"image_path": "a.png"}])
    with pytest.raises(UserError, match=r"i\.jsonl, line 2"):
        rows_.read_index(tmp_path / "i.jsonl")
    with pytest.raises(UserError, match="no such index"):
        rows_.read_index(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "row",
    [
        None, [], "猫", {"image_path": "a.png", "caption": None}, {"image_path": None, "caption": "猫"},
        {"image_path": "a.png", "caption": 7}, {"image_path": "a.png", "caption": " "}, {"caption": "猫"},
        {"image_path": "a.png", "caption": "一只\ud83d猫"}, {"image_path": ["a.png"], "caption": "猫"},
    ],
)  # fmt: skip
def test_a_row_of_an_index_without_image_or_caption_is_told(tmp_path, row):
    path = tmp_path / "i.jsonl"
    path.write_text('{"image_path": "a.png", "caption": "猫"}\n\n' + json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=r"i\.jsonl, line 3: .*image_path") as caught:
        rows_.read_index(path)
    assert caught.value.remedy


def test_a_hash_that_is_null_is_none(tmp_path):
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": "a.png", "caption": "猫", "sha256": None}])
    assert [row.sha256 for row in rows_.read_index(tmp_path / "i.jsonl")] == [""]


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_a_tsv_without_rows_is_told(tmp_path, text):
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.tsv: no rows") as caught:
        rows_.read_tsv(tmp_path / "t.tsv", tmp_path)
    assert caught.value.remedy


def test_the_command_tells_the_reasons_of_rows_and_of_objects(index, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stage, "annotator_maker", lambda *_: lambda: partial(
        stage.answer_batch, annotator=Brightness(), vocabulary=VOCABULARY
    ))  # fmt: skip
    config = tmp_path / "config.json"
    config.write_text("{}")
    command = ["annotate", "--index", index, "--model", tmp_path, "--out", tmp_path / "o.jsonl", "--config", config]
    assert main([str(part) for part in command]) == 0
    said = capsys.readouterr().out
    assert "'no object named': 1" in said and "'object not in the image': 1" in said


def test_a_resumed_run_asks_for_batches_of_the_unbroken_one(index, tmp_path):
    """One that was answered in part comes whole again; what its rows had been given stays."""

    def batches(annotator, out, batch=3):
        seen = []

        def answer(rows):
            seen.append([row.image_path for row in rows])
            return stage.answer_batch(rows, annotator, VOCABULARY)

        with Workers(lambda: answer, Config()) as workers:
            stage.annotate(rows_.read_index(index), workers, batch, out, "job")
        return seen

    whole, out = batches(Brightness(), tmp_path / "whole.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        batches(Brightness(fail_after=5), out)
    journal = tmp_path / "out.jsonl.work" / "journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 1 + 6  # the job, and two batches
    journal.write_text("".join(lines[:-1]), encoding="utf-8")
    again = batches(Brightness(), out)
    assert again == whole[1:] and len(whole) == 4
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_images_are_found_from_any_folder(index, tmp_path, monkeypatch):
    """As by an actor on a node whose working directory is another."""
    monkeypatch.chdir(tmp_path)
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": "0.png", "caption": "猫"}])
    (tmp_path / "t.tsv").write_text("0.png\t猫\n", encoding="utf-8")
    rows = [*rows_.read_index(Path("i.jsonl")), *rows_.read_index(Path("i.jsonl"), Path("."))]
    rows += rows_.read_tsv(Path("t.tsv"), Path("."))
    monkeypatch.chdir("/")
    assert [row.image_path for row in rows] == ["0.png"] * 3
    assert all(rows_.read_image(row.path).size == (8, 8) for row in rows)


def test_a_missing_image_is_looked_for_again(index, tmp_path, monkeypatch):
    """In the folder that the error asks for, and in a run that was interrupted."""
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": f"{i}.png", "caption": "一只猫"} for i in (0, 1, 2)])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not one image is there"):
        run(tmp_path / "i.jsonl", tmp_path / "out.jsonl")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "i.jsonl", tmp_path / "out.jsonl")["kept"] == 3


def test_a_box_that_rounding_makes_empty_is_dropped_and_what_is_written_can_be_read(index, tmp_path):
    class Thin(Brightness):
        def found(self, image, name):
            x1, x2 = (0.30004, 0.30006) if name == "猫" else (0.30001, 0.30004)
            return Found(name, (x1, 0.1, x2, 0.9), 0.8)

    counts = run(index, tmp_path / "out.jsonl", Thin())
    kept = layouts.read(tmp_path / "out.jsonl")
    assert {row.names for row in kept} == {("猫",)} and {row.boxes for row in kept} == {((0.3, 0.1, 0.3001, 0.9),)}
    assert counts["objects_dropped"] == {"reversed or empty": 3}


def test_a_row_that_layouts_would_refuse_is_told_before_anything_is_written(index, tmp_path):
    rows = rows_.read_index(index)[:2]
    good, bad = ({"objects": [["猫", box, 1.0]], "dropped": [], "reason": ""} for box in ([0, 0, 1, 1], [0, 0, 1, 1.2]))
    with pytest.raises(UserError, match=r"1\.png.*out of the range"):
        stage.finish(rows, {rows[0].key: good, rows[1].key: bad}, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists() and not (tmp_path / "out.json").exists()


def test_a_caption_of_a_tsv_ends_at_its_newline_alone(tmp_path):
    """Not where Python ends lines besides: U+2028, U+0085, \\x0b, \\r."""
    caption = "左边\u2028是\x85一\x0b只\r猫"
    text = f"\ufeffa.png\t{caption}\r\n\n  \nb.png\t一棵树\tx"
    (tmp_path / "t.tsv").write_bytes(text.encode())
    rows = rows_.read_tsv(tmp_path / "t.tsv", tmp_path)
    assert [row.caption for row in rows] == [caption, "一棵树\tx"]
    assert [row.image_path for row in rows] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


@pytest.mark.parametrize("end", ["c.png 一棵树".encode(), "c.png\t一棵树".encode("gbk")])
def test_blank_lines_of_a_tsv_count(tmp_path, end):
    (tmp_path / "t.tsv").write_bytes("a.png\t一只猫\n\n\nb.png\t一只猫\n".encode() + end)
    with pytest.raises(UserError, match=r"t\.tsv, line 5"):
        rows_.read_tsv(tmp_path / "t.tsv", tmp_path)


def test_a_picture_is_upright_and_whatever_a_decoder_raises_is_a_reason(tmp_path, monkeypatch):
    """Tag 0x0112 is 6, as of a camera held on its side: what is stored on the left belongs on top."""
    stored = Image.new("RGB", (20, 10), (255, 255, 255))
    stored.paste((0, 0, 0), (15, 0, 20, 10))
    tags = Image.Exif()
    tags[0x0112] = 6
    stored.save(tmp_path / "a.png", exif=tags)
    seen = np.asarray(rows_.read_image(tmp_path / "a.png"))
    assert seen.shape == (20, 10, 3) and seen[:15].min() == 255 and seen[15:].max() == 0
    for error in (IndexError("bug in a plugin"), ZeroDivisionError(), struct.error("short header")):

        def fail(path, error=error):
            raise error

        monkeypatch.setattr(rows_.Image, "open", fail)
        assert rows_.read_image(tmp_path / "a.png") == "unreadable image"


def test_what_the_file_system_says_is_no_fault_of_the_picture(tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(rows_.Image, "open", fail)
    with pytest.raises(UserError, match=r"a\.png: cannot be read: Input/output error"):
        rows_.read_image(tmp_path / "a.png")


def test_an_image_that_the_annotator_refuses_costs_no_other(index, tmp_path):
    class Picky(Brightness):
        def annotate(self, images, captions, names):
            if any(np.asarray(image).mean() == 40 for image in images):  # the third, as of a strip that is too long
                raise ValueError("absolute aspect ratio must be smaller than 200")
            return super().annotate(images, captions, names)

    counts = run(index, tmp_path / "out.jsonl", Picky(), batch=8)
    assert counts["rows_dropped"][stage.REFUSED] == 1
    assert [layout.id for layout in layouts.read(tmp_path / "out.jsonl")] == ["0", "1", "4", "6", "8", "9"]


def test_an_annotator_that_answers_nothing_is_a_mistake_and_not_a_result(index, tmp_path):
    class Broken(Brightness):
        def annotate(self, images, captions, names):
            raise ValueError("a bug")

    rows = [row for i, row in enumerate(rows_.read_index(index)) if i not in (3, 7)]  # which reach no annotator
    with pytest.raises(UserError, match=f"not one image could be annotated.*{stage.REFUSED}"):
        annotate(rows, Broken(), tmp_path / "out.jsonl")


class Loses:
    """Workers that lose the images whose key they get, as where no actor lives through them."""

    pace = Workers(None, Config()).pace

    def __init__(self, annotator, keys):
        self.answer, self.keys, self.counts, self.asked = partial(stage.answer_batch, annotator=annotator), keys, {}, []

    def map(self, batches):
        for batch in batches:
            self.asked += [row.key for row in batch]
            lost = any(row.key in self.keys for row in batch)
            yield batch, None if lost else self.answer(batch, vocabulary=VOCABULARY)


def test_an_image_that_no_actor_lived_through_is_not_asked_again_but_where_nothing_worked(index, tmp_path, monkeypatch):
    rows, out = rows_.read_index(index)[:3], tmp_path / "out.jsonl"
    monkeypatch.setattr(stage, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))  # killed at the end
    for lost, asked_again in (({rows[0].key}, []), ({row.key for row in rows}, [row.key for row in rows])):
        first, second = (Loses(Brightness(), lost) for _ in range(2))
        for workers in (first, second):
            with pytest.raises(KeyboardInterrupt):
                stage.annotate(rows, workers, 1, out, str(len(lost)))
        assert first.asked == [row.key for row in rows] and second.asked == asked_again


def test_an_image_is_shrunk_as_it_is_read(tmp_path):
    """To the longest side that the annotator wants: a batch of large ones need not fit in memory."""
    Image.new("RGB", (300, 100)).save(tmp_path / "a.png")
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": "a.png", "caption": "猫"}])
    annotator, seen = Brightness(), []
    annotator.max_image_size = 30
    annotator.annotate = lambda images, captions, names: seen.extend(i.size for i in images) or [[]]
    stage.answer_batch(rows_.read_index(tmp_path / "i.jsonl", tmp_path), annotator, VOCABULARY)
    assert seen == [(30, 10)]


def test_an_image_for_which_memory_runs_out_is_not_an_unreadable_one(tmp_path, monkeypatch):
    def fail(path):
        raise MemoryError

    monkeypatch.setattr(rows_.Image, "open", fail)
    assert rows_.read_image(tmp_path / "a.png") == stage.OUT_OF_MEMORY in stage.PASSING


def test_an_annotator_that_is_not_there_is_told_before_any_image_is_read(index, tmp_path, capsys):
    command = ["annotate", "--index", index, "--model", tmp_path / "Qwen2-VL-7B-Instrct", "--out", tmp_path / "o.jsonl"]
    assert main([str(part) for part in command]) == 2
    assert "--model: no such folder" in capsys.readouterr().err and not (tmp_path / "o.jsonl.work").exists()


def test_a_second_command_for_the_same_layouts_is_refused_while_the_first_is_at_work(index, tmp_path):
    class Second(Brightness):
        def annotate(self, images, captions, names):
            with pytest.raises(UserError, match=f"process {os.getpid()}.*at work here"):
                run(index, tmp_path / "out.jsonl", Brightness())
            return super().annotate(images, captions, names)

    run(index, tmp_path / "out.jsonl", Second())
    assert not list(tmp_path.glob("out.jsonl.*"))  # neither work nor lock is left


def test_relative_paths_start_from_the_images_folder(tmp_path):
    files.write_jsonl(tmp_path / "i.jsonl", [{"image_path": "a.png", "caption": "猫"}])
    row = rows_.read_index(tmp_path / "i.jsonl", tmp_path / "pictures")[0]
    assert row.path == tmp_path / "pictures" / "a.png" and row.image_path == "a.png"


def test_a_job_is_named_by_its_models_files_and_by_no_other(tmp_path, monkeypatch):
    """Without a vocabulary the folder that the command is given in does not count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    first = stage.job_name(Config(), "model")
    (tmp_path / "another").write_text("file")
    assert stage.job_name(Config(), "model") == first
    (tmp_path / "model" / "weights").write_text("2")
    assert stage.job_name(Config(), "model") != first
