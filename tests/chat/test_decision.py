"""The decision head against logistic regression by hand, and policies judged by arithmetic."""

import json

import numpy as np
import pytest
import torch

from gillnext import conversations
from gillnext.chat import compared, decision, index, policy
from gillnext.chat.similarity import ImageText
from gillnext.conversations import Conversation, Turn
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

BOX = (0.1, 0.1, 0.6, 0.6)
COLOURS = {"红": (250, 0, 0), "绿": (0, 250, 0), "蓝": (0, 0, 250)}


def separable(n=200, seed=3):
    """States and scores, and gains that both tell of: some large, some small, and some zero."""
    rng = np.random.default_rng(seed)
    states, scores = torch.from_numpy(rng.normal(size=(n, 2, 4))), rng.normal(size=n)
    gains = states[:, :, 1].mean(1).numpy() + 0.8 * scores + 0.3 * rng.normal(size=n)
    gains[::10] = 0
    return states, scores, gains


def test_the_head_is_the_least_penalised_logistic_loss():
    states, scores, gains = separable()
    x = policy.features_of(states, scores)
    head = policy.fit(x, gains, 0.1)
    z = (x - x.mean(0)) / (x.std(0) + 1e-8)
    p = 1 / (1 + np.exp(-(z @ head.weights_D + head.bias)))
    weights, y = np.abs(gains) / np.abs(gains).mean(), gains > 0
    # At the minimum the gradient is zero: mean of a (p - y) z + penalty w, and of a (p - y), of weights a.
    np.testing.assert_allclose(z.T @ (weights * (p - y)) / len(p) + 0.1 * head.weights_D, 0, atol=1e-7)
    assert abs((weights * (p - y)).mean()) < 1e-7
    assert head.loss(x, gains) == pytest.approx(-np.mean(weights * np.log(np.where(y, p, 1 - p))))
    np.testing.assert_allclose(head.probability(states, scores), p)


def test_an_example_counts_by_its_gain():
    assert policy.weights_of(np.array([0.2, -0.4, 0.0])).tolist() == pytest.approx([1, 2, 0])
    assert policy.weights_of(np.zeros(3)).tolist() == [1, 1, 1]


def test_it_learns_what_states_and_score_tell_and_validation_chooses_the_penalty():
    states, scores, gains = separable()
    other = separable(100, 4)
    train, val = (policy.features_of(states, scores), gains), (policy.features_of(*other[:2]), other[2])
    head, penalty = policy.chosen(train, val)
    known = other[2] != 0
    assert (head.retrieve(*other[:2]) == (other[2] > 0))[known].mean() > 0.85
    losses = {p: policy.fit(*train, p).loss(*val) for p in policy.PENALTIES}
    assert penalty == min(losses, key=losses.get) and len(set(losses.values())) == 4
    weights = np.abs(head.weights_D)
    assert set(np.argsort(weights)[-2:]) == {1, 4}  # the second coordinate, and the score


def test_a_head_is_saved_and_one_of_another_model_is_refused(tmp_path):
    states, scores, gains = separable()
    head = policy.fit(policy.features_of(states, scores), gains, 0.1)
    head.save(tmp_path)
    with pytest.raises(UserError, match="no decision head"):
        policy.Policy.load(tmp_path, "a" * 64)
    (tmp_path / policy.ABOUT).write_text(json.dumps({"hashes": {"gill": "a" * 64}}))
    loaded = policy.Policy.load(tmp_path, "a" * 64)
    np.testing.assert_array_equal(loaded.probability(states, scores), head.probability(states, scores))
    with pytest.raises(UserError, match="another model"):
        policy.Policy.load(tmp_path, "b" * 64)


def test_policies_are_judged_by_what_they_show():
    retrieve, gains = np.array([True, True, False, False]), np.array([0.3, -0.1, -0.2, 0.4])
    found, drawn = np.array([1.0, 0.2, 0.0, 0.5]), np.array([0.4, 0.6, 0.8, 0.5])
    told = decision.judged(retrieve, gains, found, drawn, ["a", "a", "b", "b"])
    assert told["metrics"]["f1"] == pytest.approx((1.0 + 0.2 + 0.8 + 0.5) / 4)
    assert told["metrics"]["accuracy"] == 2 / 4 and told["metrics"]["retrieved"] == 2 / 4
    assert told["metrics"]["accuracy_evaluator"] == pytest.approx(2 / 3, abs=1e-6)  # of the last both are as good
    assert told["baseline"] == {
        "f1_retrieve": 0.425, "f1_generate": 0.575, "accuracy_retrieve": 0.5, "accuracy_generate": 0.5,
    }  # fmt: skip
    assert told["ceiling"]["f1"] == pytest.approx((1 + 0.6 + 0.8 + 0.5) / 4)
    assert told["chance"] == {"accuracy": 0.5, "f1": 0.5}
    assert told["contrasts"]["decided − generate"]["f1"]["value"] == pytest.approx(0.05)
    assert told["by"]["a"] == {"n": 2, "retrieved": 1.0, "decided": 0.6, "retrieve": 0.6, "generate": 0.5}


@pytest.fixture
def world(tmp_path, paint):
    """Three files of stories whose every picture is one colour, the last of them white, and an album of train's."""

    def story(split, number, words):
        turns = []
        for i, word in enumerate(words):
            path = f"{split}-{number}-{i}.png"
            paint(tmp_path / path, COLOURS.get(word, (255, 255, 255)), dot=number)
            names = (word,) if word in COLOURS else tuple(COLOURS)
            turns.append(Turn(word, path, Layout("、".join(names), names, (BOX,) * len(names))))
        return Conversation(f"{split}-{number}", "story", tuple(turns))

    paths = {}
    for split, count in (("train", 40), ("val", 12), ("test", 12)):
        rows = [story(split, i, ["红绿蓝"[(i + k) % 3] for k in range(2)] + ["白"]) for i in range(count)]
        paths[split] = tmp_path / f"{split}.jsonl"
        conversations.write(paths[split], rows)
    return paths


def mean(image):
    return image[1:].reshape(-1, 3).mean(0) / 255


def unit(rows):
    return np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


class Seen:
    """Stands in for the evaluators: finds the channels that are bright."""

    classes, description = list(COLOURS), "channels"

    def detect(self, images, batch):
        found = [np.flatnonzero(mean(image) > 0.5) for image in images]
        return [Detections(np.tile(BOX, (len(f), 1)), f, np.full(len(f), 0.9)) for f in found]


class Fits(ImageText):
    """Stands in for the image-text scorer: the angle between a picture's channels and those that a text names."""

    description = "angles"

    def __init__(self): ...

    def pictures(self, paths):
        return unit([mean(index.read_picture(p)[0]) for p in paths])

    def texts(self, texts):
        return unit([[float(word in text) for word in COLOURS] for text in texts])


class Brush:
    """Draws all three colours, whatever is said: right at the end of a story, and not before."""

    planner = None

    def __init__(self):
        self.drawn = 0

    def draw(self, captions, keys, layouts, embeds):
        assert layouts is None and len(embeds[0]) == len(captions) == len(keys)
        self.drawn += len(captions)
        return np.full((len(captions), 8, 8, 3), 255, np.uint8)


def test_a_head_that_is_trained_beats_both_constant_policies(world, talker, tiny_config, tmp_path):
    album = index.build(talker, world["train"], tmp_path / "index", objects=1)
    brush, judge = Brush(), Seen()
    following = Brush()
    scores = decision.decide(
        tiny_config, talker, album, brush, {"second_evaluator": judge, "image_text": Fits()}, judge, world,
        {"evaluator": "e"}, tmp_path / "decision", lambda: following,
    )  # fmt: skip
    told = json.loads((tmp_path / "decision" / policy.ABOUT).read_text())
    assert told["scores"] == scores and told["hashes"]["gill"] == talker.hash and told["examples"] == 40
    assert brush.drawn == 64 and not (tmp_path / "decision.work").exists()
    assert told["labels"] == "second_evaluator" and set(scores["val"]) == {"second_evaluator", "image_text"}
    assert scores["test"]["image_text"]["metrics"]["accuracy"] == 1.0
    test = scores["test"]["second_evaluator"]
    assert test["n"] == 12 and test["ceiling"]["f1"] > 0.9
    assert test["baseline"]["f1_generate"] < 1 and test["baseline"]["f1_retrieve"] < 1
    assert test["metrics"]["f1"] > max(test["baseline"]["f1_retrieve"], test["baseline"]["f1_generate"])
    assert test["metrics"]["accuracy"] == 1.0
    assert following.drawn == 12 and scores["test"]["next"]["metrics"]["f1"] == test["baseline"]["f1_generate"]
    head = policy.Policy.load(tmp_path / "decision", talker.hash)
    assert head.weights_D.shape == (7,)


def test_examples_end_at_any_known_turn_the_same_every_time(world):
    found = compared.examples(world["train"], 7)
    assert {len(e.row.turns) for e in found} == {1, 2, 3}
    assert compared.examples(world["train"], 7) == found
    some = compared.examples(world["train"], 7, 5)
    assert len(some) == 5 and all(e in found for e in some)
    conversations.write(world["val"], [Conversation("x", "dialogue", (Turn("问"),))])
    with pytest.raises(UserError, match="no conversation with a picture"):
        compared.examples(world["val"], 7)


def test_a_conversations_own_pictures_are_not_found_for_it_nor_those_that_are_gone(
    world, talker, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(compared, "SPARE", 1)
    album = index.build(talker, world["train"], tmp_path / "index", objects=1)
    asked = [e for e in compared.examples(world["train"], 7) if len(e.row.turns) == 1]
    read = talker.read([e.row.turns for e in asked], [e.root for e in asked]).embeddings.numpy()
    scores, paths = compared.nearest(album, asked, read)
    for example, path, score in zip(asked, paths, scores, strict=True):
        word, own = example.row.turns[0].text, (example.root / example.row.turns[0].picture).resolve()
        assert path != own and score > 0.99
        assert index.read_picture(path)[0][-1, -1].argmax() == list(COLOURS).index(word)
    for path in {*paths}:
        path.unlink()
    again = compared.nearest(album, asked, read)[1]
    assert not {*again} & {*paths} and "pictures are missing or changed" in capsys.readouterr().err
    for row in album.paths:
        (album.root / row).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no picture for"):
        compared.nearest(album, asked, read)
