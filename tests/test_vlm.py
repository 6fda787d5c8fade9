"""Attributes from a vision-language model: tiny checkpoints of the real architectures, loaded as any other."""

import json
import shutil

import pytest
from PIL import Image
from tiny_vlm import FAMILIES, tiny_vlm

from intra.components import ATTRIBUTE_SOURCES
from intra.data import Sticker
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.generation.attributes import describe
from intra.generation.prompts import PROMPT_VERSION
from intra.generation.store import GenerationStore
from intra.generation.vlm import VisionLanguageAttributes

PICTURES = {"red": (40, 40), "blue": (90, 50), "green": (300, 20), "black": (30, 60), "gold": (64, 64)}
TOKENS = 12


@pytest.fixture(scope="module", autouse=True)
def short_answers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intra.generation.vlm.ANSWER_TOKENS", TOKENS)
        yield


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    return tiny_vlm(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return tiny_vlm(tmp_path_factory.mktemp("qwen2-vl"))


@pytest.fixture(scope="module")
def stickers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stickers")
    for colour, size in PICTURES.items():
        Image.new("RGB", size, colour).save(folder / f"{colour}.png")
    return [Sticker(colour, ("train",), folder / f"{colour}.png") for colour in PICTURES]


def greedy_by_hand(folder, image):
    """The conversation about one picture, token by token: prompts as strings, a whole pass for each token."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    ask = "This is a sticker used in conversation, please provide several keywords to describe the {}."
    prompt, answers = "", []
    for turn, attribute in enumerate(["gesture", "posture", "facial expression", "verbal"]):
        seen = "" if turn else "<|vision_start|><|image_pad|><|vision_end|>"
        prompt += f"<|im_start|>user\n{seen}{ask.format(attribute)}<|im_end|>\n<|im_start|>assistant\n"
        inputs = processor(text=[prompt], images=[image], return_tensors="pt")
        asked = inputs["input_ids"].shape[1]
        while inputs["input_ids"].shape[1] < asked + TOKENS:
            with torch.inference_mode():
                token = model(**inputs, use_cache=False).logits[:, -1:].argmax(-1)
            if token.item() == processor.tokenizer.eos_token_id:
                break
            inputs["input_ids"] = torch.cat([inputs["input_ids"], token], 1)
            for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
                inputs[name] = torch.cat([inputs[name], torch.full_like(token, value)], 1)
        answers.append(processor.tokenizer.decode(inputs["input_ids"][0, asked:], skip_special_tokens=True))
        prompt += f"{answers[-1]}<|im_end|>\n"
    return answers


def test_the_conversation_is_decoded_greedily(checkpoint, stickers):
    settings = json.loads((checkpoint / "generation_config.json").read_text())
    assert settings["do_sample"] and settings["repetition_penalty"] > 1  # as real ones; neither may have effect
    (said,) = VisionLanguageAttributes(checkpoint).describe(stickers[:1])
    assert list(said.answers) == list(said.states) == list(ATTRIBUTES)
    assert list(said.answers.values()) == greedy_by_hand(checkpoint, Image.open(stickers[0].image))


def test_an_answer_does_not_depend_on_its_batch(checkpoint, stickers):
    alone = list(VisionLanguageAttributes(checkpoint, batch_size=1).describe(stickers))
    assert list(VisionLanguageAttributes(checkpoint, batch_size=3).describe(stickers)) == alone
    assert len({str(said.answers) for said in alone}) == len(stickers)  # the picture decides


def test_pictures_are_seen_as_the_other_parts_see_them(qwen2, stickers, tmp_path):
    transparent = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    transparent.save(tmp_path / "transparent.png")
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("blue", "white", "green")]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (40, 40), "white").save(tmp_path / "white.png")
    seen = [Sticker(path.name, ("train",), path) for path in sorted(tmp_path.iterdir())]
    assert len(seen) == 3
    assert len({str(said.answers) for said in VisionLanguageAttributes(qwen2).describe(seen)}) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (1500, 1000)])
def test_a_picture_of_any_size_is_described(qwen2, tmp_path, size):
    Image.new("RGB", size, "red").save(tmp_path / "odd.png")
    (said,) = VisionLanguageAttributes(qwen2).describe([Sticker("odd", ("train",), tmp_path / "odd.png")])
    assert len(said.answers) == 4


def test_a_checkpoint_runs_in_its_own_precision(qwen2, stickers, tmp_path):
    import torch
    from transformers import AutoModelForImageTextToText

    shutil.copytree(qwen2, tmp_path / "half")
    AutoModelForImageTextToText.from_pretrained(qwen2).bfloat16().save_pretrained(tmp_path / "half")
    source = VisionLanguageAttributes(tmp_path / "half")
    assert all(len(said.answers) == 4 for said in source.describe(stickers[:2]))
    assert {weight.dtype for weight in source._model.parameters()} == {torch.bfloat16}


class Dying:
    """A source that is killed before a sticker."""

    def __init__(self, source, before):
        self.source, self.before, self.name = source, before, source.name

    def describe(self, stickers):
        for number, said in enumerate(self.source.describe(stickers)):
            if number == self.before:
                raise KeyboardInterrupt
            yield said


@pytest.mark.parametrize("before", [1, 4])
def test_a_killed_generation_goes_on_to_the_same_store(qwen2, stickers, tmp_path, before):
    source = VisionLanguageAttributes(qwen2, batch_size=2)
    whole = describe(stickers, source, GenerationStore(tmp_path / "whole.jsonl"))
    with pytest.raises(KeyboardInterrupt):
        describe(stickers, Dying(source, before), GenerationStore(tmp_path / "killed.jsonl"))
    assert len(GenerationStore(tmp_path / "killed.jsonl").entries()) == before
    again = Dying(source, len(stickers) - before)  # one sticker more would kill it
    assert describe(stickers, again, GenerationStore(tmp_path / "killed.jsonl")) == whole
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_the_name_tells_what_decides_an_answer(qwen2, tmp_path):
    name = VisionLanguageAttributes(qwen2).name
    label, rest = name.split("@")
    assert label == qwen2.name and rest[8:] == f"/{PROMPT_VERSION}/greedy-{TOKENS}"
    assert VisionLanguageAttributes(str(qwen2), batch_size=1).name == name
    other = tmp_path / qwen2.name
    tiny_vlm(other, "qwen2.5-vl")
    assert VisionLanguageAttributes(other).name != name and str(tmp_path) not in VisionLanguageAttributes(other).name


def test_a_model_from_the_hub_is_pinned_to_its_commit(qwen2, stickers, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--Someone--Tiny-VL"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / commit).symlink_to(qwen2)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = VisionLanguageAttributes("Someone/Tiny-VL")
    assert source.name == f"Someone/Tiny-VL@01234567/{PROMPT_VERSION}/greedy-{TOKENS}"
    assert list(source.describe(stickers[:1])) == list(VisionLanguageAttributes(qwen2).describe(stickers[:1]))


def test_the_profile_finds_the_model_in_the_folder_of_models(qwen2, stickers, tmp_path, monkeypatch):
    place = tmp_path / "Qwen" / "Qwen2-VL-2B-Instruct"
    place.parent.mkdir()
    place.symlink_to(qwen2)
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path))
    source = ATTRIBUTE_SOURCES["qwen-vl"](None)
    assert list(source.describe(stickers[:1])) == list(VisionLanguageAttributes(qwen2).describe(stickers[:1]))


def test_a_checkpoint_that_is_not_there_is_told_in_one_line(qwen2, stickers, tmp_path):
    with pytest.raises(IntraError) as error:
        VisionLanguageAttributes("nobody/nothing").name  # noqa: B018
    assert "\n" not in str(error.value) and "hf download nobody/nothing" in str(error.value)
    for file in qwen2.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 1000 if file.suffix == ".safetensors" else None])
    with pytest.raises(IntraError, match=r"cannot be loaded \(.+INTRA_MODELS") as error:
        list(VisionLanguageAttributes(tmp_path).describe(stickers[:1]))
    assert "\n" not in str(error.value)
