"""Zero-shot detectors, through `load` on miniatures of the real classes, and with answers put in their mouths."""

import numpy as np
import pytest
import torch
from PIL import Image
from zero_shot_miniatures import LOW, WORDS, folder, saying

from gillnext.config.data import ZeroShot
from gillnext.instruments import zero_shot
from gillnext.runtime.errors import UserError

SIZES = [(40, 80), (64, 64), (90, 30), (64, 64), (1, 7)]
EASY = ZeroShot(least=0.3, text=0.5)
ONE_TOKEN = torch.full((1, 32), LOW).index_fill(1, torch.tensor([1]), 3.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("zero-shot")
    return {kind: folder(kind, root / kind) for kind in ("grounding-dino", "owlv2")}


@pytest.fixture(scope="module", params=["grounding-dino", "owlv2"])
def kind(request):
    return request.param


def pictures(sizes=SIZES):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


def same(a, b):
    return a.labels.tolist() == b.labels.tolist() and np.allclose(a.boxes, b.boxes, atol=1e-4)


def test_a_batch_of_any_sizes_and_texts_is_seen_as_each_picture_alone(folders, kind):
    detector = zero_shot.load(folders[kind], EASY)
    asked = [WORDS[:2], WORDS, WORDS[1:2], ["cat"], WORDS[::-1]]
    together = detector.look(pictures(), asked, 5)
    alone = [detector.look([p], [a], 1)[0] for p, a in zip(pictures(), asked, strict=True)]
    assert sum(len(s.labels) for s in together) > 10, "nothing to compare"
    for one, other, names in zip(together, alone, asked, strict=True):
        assert same(one, other) and one.unsure == other.unsure and one.nameless == other.nameless
        assert (one.labels < len(names)).all() and (np.diff(one.scores) <= 0).all()
        assert ((one.boxes >= 0) & (one.boxes <= 1)).all() and (one.boxes[:, :2] < one.boxes[:, 2:]).all()


def test_pictures_may_be_of_pillow_and_may_be_asked_for_nothing(folders, kind):
    detector = zero_shot.load(folders[kind], EASY)
    (array,) = detector.look(pictures()[:1], [["cat"]], 1)
    pillow, nothing = detector.look([Image.fromarray(pictures()[0])] * 2, [["cat"], []], 2)
    assert same(array, pillow) and len(nothing.labels) == 0


@pytest.mark.parametrize("size", [(40, 80), (90, 30), (64, 64)])
def test_a_box_of_owlv2_lies_where_its_picture_lies_in_the_filled_square(folders, size):
    """The network sees a square; where a known box of the picture lies in it is found by looking at its pixels."""
    height, width = size
    wanted = np.array([0.25, 0.5, 0.75, 0.9])
    picture = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = (wanted * (width, height, width, height)).round().astype(int)
    picture[y1:y2, x1:x2] = 255
    detector = zero_shot.load(folders["owlv2"], EASY)
    seen = detector.processor.image_processor(images=[Image.fromarray(picture)], return_tensors="np")["pixel_values"]
    rows, columns = np.nonzero(seen[0, 0] > seen[0, 0].mean() + seen[0, 0].std())
    side = seen.shape[-1]
    a, b, c, d = columns.min() / side, rows.min() / side, (columns.max() + 1) / side, (rows.max() + 1) / side
    box = [[(a + c) / 2, (b + d) / 2, c - a, d - b]]
    fake = saying(folders["owlv2"], box, lambda ids: torch.tensor([[LOW, 3.0]]), EASY)
    (found,) = fake.look([picture], [["cat", "dog"]], 1)
    assert found.labels.tolist() == [1]
    assert np.allclose(found.boxes[0], wanted, atol=3 / min(size))


def test_a_box_of_grounding_dino_is_a_fraction_of_the_picture(folders):
    fake = saying(folders["grounding-dino"], [[0.5, 0.5, 0.5, 0.2]], lambda ids: ONE_TOKEN, EASY)
    (found,) = fake.look(pictures([(40, 80)]), [["cat"]], 1)
    assert np.allclose(found.boxes, [[0.25, 0.4, 0.75, 0.6]])


def test_grounding_dino_names_a_box_only_where_all_its_tokens_lie_in_one_phrase(folders):
    """Text: [CLS] red car . blue car . cat . [SEP]; a row of logits is a box."""
    tokens = {"red": 1, "car": 2, ".": 3, "blue": 4, "car2": 5, "cat": 7}
    boxes = {"red car": ["red", "car"], "part of it": ["car2"], "two": ["car", "car2"], "none": [], "stop": ["."]}
    boxes |= {"with a full stop": ["cat", "."]}

    def logits(ids):
        given = torch.full((len(boxes), 32), LOW)
        for row, on in enumerate(boxes.values()):
            given[row, [tokens[t] for t in on]] = 4.0 - 0.1 * row
            given[row, 0] = 0.0 if not on else LOW  # what frames a text
        return given

    where = [[0.1 + 0.1 * i, 0.5, 0.1, 0.1] for i in range(len(boxes))]
    fake = saying(folders["grounding-dino"], where, logits, ZeroShot(least=0.3, text=0.6))
    asked = ["red car", "blue car", "cat"]
    (found,) = fake.look(pictures()[:1], [asked], 1)
    assert [(asked[k], round(x, 2)) for k, x in zip(found.labels, found.boxes[:, 0], strict=True)] == [
        ("red car", 0.05), ("blue car", 0.15), ("cat", 0.55),
    ]  # fmt: skip
    assert found.unsure == ((0, 1),) and found.nameless == 2


def test_the_processors_own_texts_agree_with_the_names(folders):
    """Where the processor decodes exactly one phrase that was asked for, it is the phrase that the box is given."""
    detector = zero_shot.load(folders["grounding-dino"], ZeroShot(least=0.3, text=0.5))
    said = []
    real = detector.processor.post_process_grounded_object_detection

    def listen(*args, **kwargs):
        answers = real(*args, **kwargs)
        said.extend(zip(answers[0]["text_labels"], answers[0]["scores"].tolist(), strict=False))
        return answers

    detector.processor.post_process_grounded_object_detection = listen
    exact = 0
    for picture in pictures():
        said.clear()
        (found,) = detector.look([picture], [WORDS], 1)
        ours = {round(float(s), 5): WORDS[k] for k, s in zip(found.labels, found.scores, strict=True)}
        for text, score in said:
            plain = text.replace(".", "").strip()
            if plain in WORDS and round(score, 5) in ours:
                assert ours[round(score, 5)] == plain
                exact += 1
    assert exact > 3


def test_names_that_fit_no_single_text_are_asked_in_several(folders):
    detector = zero_shot.load(folders["grounding-dino"], EASY)
    phrases = [*WORDS, *(f"{a} {b}" for a in WORDS for b in ("tree", "dog"))]
    chunks = detector.chunks(phrases)
    assert len(chunks) > 1 and [i for chunk in chunks for i in chunk] == list(range(len(phrases)))
    for chunk in chunks:
        text = " ".join(f"{phrases[i]}." for i in chunk)
        assert len(detector.tokenizer(text).input_ids) <= detector.network.config.max_text_len
    (whole,) = detector.look(pictures()[:1], [phrases], 1)
    parts = [detector.look(pictures()[:1], [[phrases[i] for i in chunk]], 1)[0] for chunk in chunks]
    assert len(whole.labels) == sum(len(p.labels) for p in parts)
    for chunk, part in zip(chunks, parts, strict=True):
        assert same(part, zero_shot.Seen(*[x[np.isin(whole.labels, chunk)] for x in _arrays(whole, chunk)]))


def _arrays(seen, chunk):
    places = {place: i for i, place in enumerate(chunk)}
    return seen.boxes, np.array([places.get(k, -1) for k in seen.labels]), seen.scores


def test_a_phrase_is_read_or_is_not(folders, kind):
    detector = zero_shot.load(folders[kind], EASY)
    assert all(detector.reads(word) for word in WORDS)
    assert not detector.reads("猫") and not detector.reads("") and not detector.reads("cat " * 40)
    assert detector.reads("zebra") == (kind == "owlv2")  # letters are bytes, and no word of the small vocabulary


def test_boxes_of_a_name_that_overlap_are_thinned_out_where_asked_and_the_protocol_tells(folders):
    boxes = [[0.5, 0.5, 0.4, 0.4], [0.51, 0.5, 0.4, 0.4], [0.52, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]]
    scores = [[1.0, LOW], [2.0, LOW], [LOW, 3.0], [0.5, LOW]]
    for nms, kept in ((0.0, [1, 0, 0, 0]), (0.5, [1, 0, 0])):
        fake = saying(folders["owlv2"], boxes, lambda ids: torch.tensor(scores), ZeroShot(least=0.3, nms=nms))
        (found,) = fake.look(pictures()[:1], [["cat", "dog"]], 1)
        assert found.labels.tolist() == kept
        assert ("no NMS" if not nms else "NMS at IoU 0.5") in fake.description


def test_other_folders_are_refused_by_name(folders, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "detr"}')
    with pytest.raises(UserError, match="'detr'"):
        zero_shot.load(tmp_path, EASY)
    for file in folders["owlv2"].iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r"cannot load the detector[^\0]*gillnext convert"):
        zero_shot.load(tmp_path, EASY)


def test_a_tokenizer_whose_full_stop_ends_no_phrase_is_refused(folders):
    detector = zero_shot.load(folders["grounding-dino"], EASY)
    detector.network.model.special_tokens.fill_(5)
    with pytest.raises(UserError, match="read as one"):
        zero_shot.GroundingDino(detector.network, detector.processor, EASY)
