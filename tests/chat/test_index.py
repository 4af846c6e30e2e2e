"""The retrieval index against brute force; what is missing, changed, or another model's is told."""

import json

import numpy as np
import pytest

from gillnext import conversations, layouts
from gillnext.chat import index
from gillnext.conversations import Conversation, Turn
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError


def brute(queries, rows, k):
    """Every product, sorted in Python by falling score and then by place."""
    table = [[sum(float(a) * float(b) for a, b in zip(q, row, strict=True)) for row in rows] for q in queries]
    places = [sorted(range(len(rows)), key=lambda i: (-line[i], i))[:k] for line in table]
    return [[line[i] for i in one] for line, one in zip(table, places, strict=True)], places


@pytest.mark.parametrize("k", [1, 3, 40, 100])
@pytest.mark.parametrize("chunk", [1, 7, 39, 40, 1000])
def test_top_is_brute_force_with_ties_across_any_chunks(k, chunk):
    # Eighths multiply and add exactly in float32, so that ties are ties in any order of sums.
    rng = np.random.default_rng(5)
    rows = rng.integers(-2, 3, (40, 4)).astype(np.float32) / 8
    queries = rng.integers(-2, 3, (9, 4)).astype(np.float32) / 8
    scores, places = index.top(queries, rows, k, chunk)
    expected_scores, expected = brute(queries, rows, k)
    assert places.tolist() == expected and scores.tolist() == expected_scores
    assert k == 1 or any(len(set(line)) < len(line) for line in scores.tolist())


def test_queries_are_answered_in_batches_and_none_are_answered_with_nothing(monkeypatch):
    monkeypatch.setattr(index, "QUERIES", 4)
    rng = np.random.default_rng(6)
    queries, rows = rng.normal(size=(11, 3)).astype(np.float32), rng.normal(size=(30, 3)).astype(np.float32)
    scores, places = index.top(queries, rows, 5)
    np.testing.assert_array_equal(places, np.argsort(-(queries @ rows.T), axis=1)[:, :5])
    np.testing.assert_allclose(scores, -np.sort(-(queries @ rows.T), axis=1)[:, :5], rtol=1e-6)
    nothing, nowhere = index.top(queries[:0], rows, 5)
    assert nothing.shape == nowhere.shape == (0, 5)


COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (200, 200, 0), (250, 0, 0)]


@pytest.fixture
def album(tmp_path, paint):
    """Conversations with five pictures, one named twice, of which the file of the fourth is not there."""
    for i, colour in enumerate(COLOURS):
        if i != 3:
            paint(tmp_path / f"album/p/{i}.png", colour, dot=i)
    names = [("猫",), ("猫", "树"), ("猫", "树", "车"), ("猫",), ("树",)]
    boxes = (0.1, 0.1, 0.4, 0.4)
    turns = [Turn(f"第{i}句", f"p/{i}.png", Layout("、".join(n), n, (boxes,) * len(n))) for i, n in enumerate(names)]
    rows = [Conversation("a", "story", tuple(turns[:2])), Conversation("b", "story", (turns[0], *turns[2:]))]
    conversations.write(tmp_path / "album/train.jsonl", rows)
    return tmp_path / "album/train.jsonl"


def test_an_index_finds_by_colour_and_counts_what_is_missing(album, talker, tmp_path, capsys):
    built = index.build(talker, album, tmp_path / "out/index")
    assert [built.paths[i] for i in range(len(built))] == ["p/0.png", "p/1.png", "p/2.png", "p/4.png"]
    assert built.missing == {"p/3.png": "no such file"}
    assert "1 of 5 pictures are missing or changed, first p/3.png (no such file)" in capsys.readouterr().err
    assert isinstance(built.embeddings_NE, np.memmap) and built.embeddings_NE.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(built.embeddings_NE, axis=1), 1, rtol=1e-5)
    _, places = built.find(talker.read([[Turn("绿色")], [Turn("蓝色")]], album.parent).embeddings.numpy(), 1)
    assert [built.path(p).resolve() for p in places[:, 0]] == [album.parent / "p/1.png", album.parent / "p/2.png"]
    assert not (tmp_path / "out/index.work").exists()


def test_only_pictures_of_few_objects_are_taken_when_asked_for(album, talker, tmp_path):
    built = index.build(talker, album, tmp_path / "index", objects=2)
    assert built.paths == ("p/0.png", "p/1.png", "p/4.png")
    with pytest.raises(UserError, match="how many objects"):
        index.build(talker, album.parent, tmp_path / "index", objects=2)


def test_layouts_and_folders_are_sources_too(album, talker, tmp_path):
    rows = [Layout("猫", ("猫",), ((0, 0, 1, 1),), image_path=f"p/{i}.png") for i in (2, 0)]
    layouts.write(album.parent / "rows.jsonl", rows)
    assert index.build(talker, album.parent / "rows.jsonl", tmp_path / "a").paths == ("p/2.png", "p/0.png")
    (album.parent / "p/broken.png").write_bytes(b"\x89PNG")
    built = index.build(talker, album.parent, tmp_path / "b")
    assert built.paths == ("p/0.png", "p/1.png", "p/2.png", "p/4.png")
    assert built.missing["p/broken.png"].startswith("not a readable picture")


def test_another_models_index_is_refused_and_a_damaged_one(album, talker, other_talker, tmp_path):
    folder = tmp_path / "index"
    index.build(talker, album, folder)
    with pytest.raises(UserError, match="another model"):
        index.Index.open(folder, other_talker.hash)
    np.save(folder / index.EMBEDDINGS, np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match="4 pictures of width 3"):
        index.Index.open(folder, talker.hash)
    (folder / index.EMBEDDINGS).write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        index.Index.open(folder, talker.hash)
    with pytest.raises(UserError, match="no index here"):
        index.Index.open(tmp_path / "nowhere", talker.hash)


def test_pictures_that_go_or_change_later_are_told(album, talker, tmp_path, paint):
    built = index.build(talker, album, tmp_path / "index")
    (album.parent / "p/0.png").unlink()
    paint(album.parent / "p/2.png", (9, 9, 9))
    assert built.problems() == {"p/3.png": "missing", "p/0.png": "missing", "p/2.png": "changed"}
    assert [built.problem(i) for i in range(4)] == ["missing", "", "changed", ""]


def test_an_index_without_any_picture_is_refused(talker, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="none of 0 pictures"):
        index.build(talker, tmp_path / "empty", tmp_path / "index")


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(album, talker, other_talker, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "PART", 2)
    whole = index.build(talker, album, tmp_path / "whole")
    see, seen = talker.see, []

    def dies(pictures, batch=64):
        seen.append(len(pictures))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return see(pictures)

    monkeypatch.setattr(talker, "see", dies)
    with pytest.raises(KeyboardInterrupt):
        index.build(talker, album, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    resumed = index.build(talker, album, tmp_path / "killed")
    assert seen == [2, 1, 1, 1]  # the first part was not embedded again
    np.testing.assert_array_equal(resumed.embeddings_NE, whole.embeddings_NE)
    told = [json.loads((tmp_path / name / index.ABOUT).read_text()) for name in ("whole", "killed")]
    assert told[0]["pictures"] == told[1]["pictures"] and told[0]["missing"] == told[1]["missing"]
