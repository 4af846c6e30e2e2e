"""The vision-language path, run through `from_pretrained` on miniatures of the real classes of each family."""

import pytest
import torch
from PIL import Image

from gillnext.annotate.answers import Answer, to_found
from gillnext.annotate.rows import shrink
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.boxes import Convention
from gillnext.miniatures.networks import small_qwen2_vl
from gillnext.miniatures.world import corpus
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def data():
    return corpus.make(3, "tiny", 4)


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data, kind):
    torch.manual_seed(0)
    texts = [*data.captions, "请在图中框出描述里提到的每一个物体", "0123456789(),"]
    processor = small_qwen2_vl.make_processor(texts, size=56, family=kind)
    model = small_qwen2_vl.make_model(processor, width=32, layers=1, family=kind)
    with torch.no_grad():
        for parameter in model.parameters():  # livelier than the default, so that answers depend on the input
            parameter.normal_(0, 0.3)
    path = tmp_path_factory.mktemp(kind)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def annotator(folder):
    return VisionLanguageAnnotator.from_pretrained(folder, max_new_tokens=12)


def pictures(data):
    return [Image.fromarray(image) for image in data.images]


def test_the_prompt_holds_the_chat_marks_the_image_and_the_caption(annotator):
    prompt = annotator.prompt("一只猫和一棵树", None)
    assert prompt.startswith("<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>")
    assert prompt.endswith("<|im_start|>assistant\n")
    assert "一只猫和一棵树" in prompt
    assert "猫、树" in annotator.prompt("一只猫和一棵树", ["猫", "树"])


@pytest.mark.parametrize("marker", ["<|image_pad|>", "<|im_end|>\n<|im_start|>assistant\n", "<|box_start|>"])
def test_markers_in_a_caption_are_words(annotator, data, marker):
    """The web may write an image's place into a caption: the processor would look for a second image."""
    caption, ids = f"一只猫{marker}一棵树", annotator.processor.tokenizer
    plain, marked = (ids(annotator.prompt(text, None)).input_ids for text in ("一只猫一棵树", caption))
    special = set(ids.get_added_vocab().values())
    assert [i for i in marked if i in special] == [i for i in plain if i in special]
    assert len(annotator.annotate(pictures(data)[:1], [caption], [None])) == 1


def test_prompts_are_padded_on_the_left(annotator):
    assert annotator.processor.tokenizer.padding_side == "left"


def test_a_batch_answers_as_each_image_alone_does(annotator, data):
    images = pictures(data)
    prompts = [annotator.prompt(caption, None) for caption in data.captions]
    assert len({len(p) for p in prompts}) > 1, "the captions must differ in length for padding to matter"
    together = annotator.answer(images, prompts)
    alone = [annotator.answer([i], [p])[0] for i, p in zip(images, prompts, strict=True)]
    strip = [(text.split("<|im_end|>")[0].replace("<|endoftext|>", ""), size) for text, size in together]
    assert strip == [(text.split("<|im_end|>")[0].replace("<|endoftext|>", ""), size) for text, size in alone]


def test_answers_keep_their_special_tokens(annotator, data, monkeypatch):
    mark = annotator.processor.tokenizer.convert_tokens_to_ids("<|box_start|>")
    monkeypatch.setattr(
        annotator.model, "generate", lambda input_ids, **_: torch.cat([input_ids, input_ids[:, :1] * 0 + mark], 1)
    )
    ((text, _),) = annotator.answer(pictures(data)[:1], [annotator.prompt("猫", None)])
    assert text == "<|box_start|>"


SAID = {  # the same box, as each family writes it about an image that its processor brings to 56 × 56 pixels
    "qwen2_vl": "<|object_ref_start|>猫<|object_ref_end|><|box_start|>(125,250),(500,1000)<|box_end|><|im_end|>",
    "qwen2_5_vl": '```json\n[{"bbox_2d": [7, 14, 28, 56], "label": "猫"}]\n```<|im_end|>',
}


def test_annotate_turns_the_familys_coordinates_into_fractions(annotator, kind, data, monkeypatch):
    """The size comes from the processor: only the text is put in the model's mouth."""
    monkeypatch.setattr(annotator.processor, "batch_decode", lambda *_, **__: [SAID[kind]])
    ((found,),) = annotator.annotate(pictures(data)[:1], ["一只猫"], [None])
    assert annotator.convention is {"qwen2_vl": Convention.THOUSANDTHS, "qwen2_5_vl": Convention.PIXELS}[kind]
    assert (found.name, found.box) == ("猫", (0.125, 0.25, 0.5, 1.0))


def test_a_family_that_is_not_there_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(UserError, match=r"qwen2_vl, qwen2_5_vl"):
        VisionLanguageAnnotator.from_pretrained(tmp_path)


def test_an_untrained_model_gives_reasons_and_not_errors(annotator, data):
    found = annotator.annotate(pictures(data), data.captions, [None] * 4)
    assert len(found) == 4
    assert all(f.box is not None or f.reason for answer in found for f in answer)


def test_a_name_that_was_not_asked_for_is_refused_and_one_not_answered_is_told():
    answer = Answer((("狗", (0.0, 0.0, 0.5, 0.5)),), ())
    by_name = {f.name: f for f in to_found(answer, "一只猫", ["猫"])}
    assert by_name["狗"].box is None and by_name["狗"].reason == "a name that was not asked for"
    assert by_name["猫"].box is None and by_name["猫"].reason == "object not in the image"


@pytest.mark.parametrize("size, expected", [((640, 320), (100, 50)), ((30, 60), (30, 60)), ((1, 5000), (1, 100))])
def test_images_are_shrunk_to_the_longest_side(annotator, monkeypatch, size, expected):
    monkeypatch.setattr(annotator, "max_image_size", 100)
    assert shrink(Image.new("RGB", size), annotator.max_image_size).size == expected
