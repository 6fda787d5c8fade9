"""CLIP checkpoints of open_clip, on tiny ones of the same architecture, against transformers' own CLIP."""

import json
import logging
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from intra.components import TEXT_ENCODERS, VISION_ENCODERS, Components
from intra.encoders.clip import ClipEncoder, ClipTextEncoder
from intra.errors import IntraError

SIZE, PATCH, WIDTH, SPACE = 32, 8, 64, 24
ARCHITECTURE = {
    "embed_dim": SPACE,
    "vision_cfg": {"image_size": SIZE, "layers": 2, "width": WIDTH, "head_width": 16, "patch_size": PATCH},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEXTS = ["a cat", "谢谢老板！", "", "one two three four five six seven eight nine ten eleven twelve thirteen"]


def scrambled(model):
    """Every weight moved, so that no layer norm stays at 1 and 0 and every one matters."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def write_folder(folder, architecture, model, preprocess):
    folder.mkdir(parents=True)
    described = {"model_cfg": architecture, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        return scrambled(open_clip.CLIP(**ARCHITECTURE))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "org" / "tiny-clip"
    return write_folder(place, ARCHITECTURE, model, {"mean": MEAN, "std": STD})


@pytest.fixture
def known(monkeypatch):
    """open_clip knows the tiny architecture by name."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", ARCHITECTURE)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """An empty cache of the hub, which tests cannot reach."""
    cache = tmp_path / "hub"
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("INTRA_MODELS", raising=False)
    return cache


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five pictures of exactly the model's size, so that nothing is scaled."""
    place, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = [place / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(path)
    return paths


def pixels_of(paths, mean=MEAN, std=STD):
    values = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]) / 255
    return torch.from_numpy(((values - mean) / std).transpose(0, 3, 1, 2)).float()


# transformers' CLIP, with the weights brought over by hand


def put_blocks(layers, prefix, state):
    for number, layer in enumerate(layers):
        block = f"{prefix}resblocks.{number}."
        for kind in ("weight", "bias"):
            joined = state[f"{block}attn.in_proj_{kind}"].chunk(3)
            for name, part in zip(("q_proj", "k_proj", "v_proj"), joined, strict=True):
                getattr(getattr(layer.self_attn, name), kind).copy_(part)
            for name, own in (
                ("attn.out_proj", layer.self_attn.out_proj),
                ("ln_1", layer.layer_norm1),
                ("ln_2", layer.layer_norm2),
                ("mlp.c_fc", layer.mlp.fc1),
                ("mlp.c_proj", layer.mlp.fc2),
            ):
                getattr(own, kind).copy_(state[f"{block}{name}.{kind}"])


def put_norm(norm, prefix, state):
    norm.weight.copy_(state[f"{prefix}.weight"])
    norm.bias.copy_(state[f"{prefix}.bias"])


@torch.no_grad()
def other_vision(model, activation="gelu"):
    """From pixels to patch tokens and class token after the last norm, and the latter projected, by transformers."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    other = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=WIDTH // 16,
            image_size=SIZE,
            patch_size=PATCH,
            projection_dim=SPACE,
            hidden_act=activation,
        )
    ).eval()
    state = {name.removeprefix("visual."): tensor for name, tensor in model.state_dict().items()}
    inner = getattr(other.vision_model, "vision_model", other.vision_model)
    inner.embeddings.class_embedding.copy_(state["class_embedding"])
    inner.embeddings.position_embedding.weight.copy_(model.visual.positional_embedding)
    inner.embeddings.patch_embedding.weight.copy_(state["conv1.weight"])
    put_norm(inner.pre_layrnorm, "ln_pre", state)
    put_norm(inner.post_layernorm, "ln_post", state)
    put_blocks(inner.encoder.layers, "transformer.", {k: v for k, v in model.visual.state_dict().items()})
    other.visual_projection.weight.copy_(model.visual.proj.T)

    def run(pixels):
        with torch.no_grad():
            found = other(pixel_values=pixels)
            tokens = inner.post_layernorm(found.last_hidden_state).numpy()
            return tokens[:, 1:], tokens[:, 0], found.image_embeds.numpy()

    return run


@torch.no_grad()
def other_text(model, tokens):
    """Projected texts, by transformers."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    other = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=32,
            intermediate_size=128,
            projection_dim=SPACE,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=12,
            hidden_act="gelu",
            eos_token_id=49407,
        )
    ).eval()
    state = model.state_dict()
    inner = getattr(other.text_model, "text_model", other.text_model)
    inner.embeddings.token_embedding.weight.copy_(state["token_embedding.weight"])
    inner.embeddings.position_embedding.weight.copy_(state["positional_embedding"])
    put_norm(inner.final_layer_norm, "ln_final", state)
    put_blocks(inner.encoder.layers, "transformer.", state)
    other.text_projection.weight.copy_(state["text_projection"].T)
    return other(input_ids=tokens).text_embeds.numpy()


# Pictures


def test_tokens_and_pooled_vector_are_those_of_another_implementation(model, folder, pictures):
    features = ClipEncoder(folder).encode(pictures)
    tokens, class_tokens, pooled = other_vision(model)(pixels_of(pictures))
    assert features.regions.shape == (5, (SIZE // PATCH) ** 2, WIDTH) and features.pooled.shape == (5, SPACE)
    assert features.regions.dtype == features.class_tokens.dtype == features.pooled.dtype == np.float32
    assert features.regions == pytest.approx(tokens, abs=1e-4)
    assert features.class_tokens == pytest.approx(class_tokens, abs=1e-4)
    assert features.pooled == pytest.approx(pooled, abs=1e-4)
    assert np.abs(tokens - tokens[:1])[1:].max() > 1e-2, "the probe must tell pictures apart"


def test_batch_size_does_not_change_features(folder, pictures):
    whole, parts = ClipEncoder(folder).encode(pictures), ClipEncoder(folder, batch_size=2).encode(pictures)
    assert parts.regions == pytest.approx(whole.regions, abs=1e-5)
    assert parts.pooled == pytest.approx(whole.pooled, abs=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_layers_finish_what_enters_them(layers, folder, pictures):
    encoder = ClipEncoder(folder, batch_size=2)
    states = encoder.token_states(pictures, layers)
    assert states.shape == (5, 1 + (SIZE // PATCH) ** 2, WIDTH) and states.dtype == np.float32
    with torch.inference_mode():
        finished = encoder.last_layers(layers)(torch.from_numpy(states)).numpy()
    assert finished == pytest.approx(encoder.encode(pictures).pooled, abs=1e-4)


def test_layers_that_are_not_there_are_one_line(folder, pictures):
    encoder = ClipEncoder(folder)
    for ask in (encoder.last_layers, lambda count: encoder.token_states(pictures, count)):
        with pytest.raises(IntraError, match=r"tuned_layers is 3, but tiny-clip@.* has 2 layers"):
            ask(3)


def test_transparency_lies_on_white(folder, tmp_path):
    rng = np.random.default_rng(1)
    colours, alpha = rng.integers(0, 256, (SIZE, SIZE, 3)), rng.choice([0, 51, 255], (SIZE, SIZE, 1))
    Image.fromarray(np.concatenate([colours, alpha], axis=2).astype(np.uint8)).save(tmp_path / "clear.png")
    over = np.round(colours * alpha / 255 + 255 * (1 - alpha / 255)).astype(np.uint8)
    Image.fromarray(over).save(tmp_path / "white.png")
    Image.fromarray((colours * (alpha > 0)).astype(np.uint8)).save(tmp_path / "black.png")
    clear, white, black = (
        ClipEncoder(folder).encode([tmp_path / f"{n}.png" for n in ("clear", "white", "black")]).pooled
    )
    assert clear == pytest.approx(white, abs=0.02)  # Pillow rounds in another place: a level of 255
    assert np.abs(clear - black).max() > 0.1


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_an_animation_is_its_middle_frame(kind, folder, tmp_path):
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "lime", "blue", "yellow", "black")]
    arguments = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / f"moving.{kind}", save_all=True, append_images=frames[1:], **arguments)
    for number, frame in enumerate(frames):
        frame.save(tmp_path / f"still-{number}.bmp")
    paths = [tmp_path / f"moving.{kind}", *(tmp_path / f"still-{number}.bmp" for number in range(5))]
    moving, *still = ClipEncoder(folder).encode(paths).regions
    distances = [np.abs(moving - each).max() for each in still]
    assert distances[2] < 1e-5 and min(distances[:2] + distances[3:]) > 1e-2


def test_edges_of_a_wide_sticker_are_seen(folder, tmp_path):
    plain = Image.new("RGB", (3 * SIZE, SIZE), "white")
    captioned = plain.copy()
    captioned.paste("black", (0, 0, 12, SIZE))  # a crop of the middle third would not show it
    plain.save(tmp_path / "plain.png")
    captioned.save(tmp_path / "captioned.png")
    one, other = ClipEncoder(folder).encode([tmp_path / "plain.png", tmp_path / "captioned.png"]).pooled
    assert np.abs(one - other).max() > 0.1


# Texts


def test_texts_are_those_of_another_implementation(model, folder):
    found = ClipEncoder(folder, batch_size=3).encode_text(TEXTS)
    tokens = open_clip.SimpleTokenizer(context_length=12)(TEXTS)
    assert found.shape == (4, SPACE) and found.dtype == np.float32
    assert found == pytest.approx(other_text(model, tokens), abs=1e-4)


def test_cosines_are_those_that_the_model_itself_ranks_by(model, folder, pictures):
    encoder = ClipEncoder(folder)
    images, texts = encoder.encode(pictures).pooled, encoder.encode_text(TEXTS)
    with torch.no_grad():
        logits, _ = model.get_logits(pixels_of(pictures), open_clip.SimpleTokenizer(context_length=12)(TEXTS))
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (images, texts)]
    assert unit[0] @ unit[1].T == pytest.approx((logits / model.logit_scale.exp()).detach().numpy(), abs=1e-4)


def test_texts_of_a_profile_are_unit_vectors_of_the_joint_space(model, folder):
    texts = ClipTextEncoder(ClipEncoder(folder))
    expected = other_text(model, open_clip.SimpleTokenizer(context_length=12)(TEXTS))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = texts.encode(TEXTS)
    assert found.dtype == np.float32 and texts.dim == SPACE
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(texts.encode(TEXTS, "passage"), found)
    assert texts.name.startswith(ClipEncoder(folder).name) and texts.name != ClipEncoder(folder).name


def test_a_text_that_is_too_long_loses_its_first_lines(folder):
    """Twelve places, two of them for control tokens; every word is one token."""
    encoder = ClipEncoder(folder)
    newest = "eight nine\nten eleven"
    full = f"one two three four five six\n{newest}"  # ten words, which just fit
    kept, cut, whole = encoder.encode_text([newest, f"{full} twelve", full])
    assert cut == pytest.approx(encoder.encode_text([f"{newest} twelve"])[0], abs=1e-5)
    assert np.abs(whole - kept).max() > 1e-2


def test_pairs_are_one_text(folder):
    texts = ClipTextEncoder(ClipEncoder(folder))
    found = texts.encode_pairs(["a cat", "a cat", ""], ["", "two dogs", "two dogs"])
    assert found == pytest.approx(texts.encode(["a cat", "a cat\ntwo dogs", "two dogs"]), abs=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_what_the_text_side_cannot_give_is_one_line(folder):
    texts = ClipTextEncoder(ClipEncoder(folder))
    for ask, told in (
        (lambda: texts.token_vectors(["a"]), "gives no vector a token"),
        (lambda: texts.last_layers(2), "tuned_layers is 2, expected 0 with the text side of .*tiny-clip"),
    ):
        with pytest.raises(IntraError, match=told) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_multilingual_text_tower(tmp_path, monkeypatch, pictures):
    """XLM-R as text tower: its configuration and tokenizer are found by name, its weights in the checkpoint."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    words = ["<s>", "<pad>", "</s>", "<unk>", *"一二三四五"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    named = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(tmp_path / "tiny-xlm-r")
    XLMRobertaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=20,
    ).save_pretrained(tmp_path / "tiny-xlm-r")
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path))
    text = {"hf_model_name": "tiny-xlm-r", "hf_tokenizer_name": "tiny-xlm-r", "context_length": 10}
    architecture = ARCHITECTURE | {"text_cfg": text | {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}}
    here = text | {"hf_model_name": str(tmp_path / "tiny-xlm-r"), "hf_model_pretrained": False}
    with torch.random.fork_rng():
        model = scrambled(open_clip.CustomTextCLIP(**architecture | {"text_cfg": here}))
    name = "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"
    write_folder(tmp_path / name, architecture, model, {"mean": MEAN, "std": STD})

    encoder = VISION_ENCODERS["clip-multilingual"]()
    found = encoder.encode_text(["一二三", "五"])
    tower = XLMRobertaModel(model.text.config, add_pooling_layer=False).eval()
    tower.load_state_dict(model.text.transformer.state_dict())
    for vector, ids in zip(found, ([0, 4, 5, 6, 2], [0, 8, 2]), strict=True):
        with torch.no_grad():
            hidden = tower(torch.tensor([ids])).last_hidden_state[0]
            expected = model.text.proj(hidden.mean(dim=0))
        assert vector == pytest.approx(expected.numpy(), abs=1e-4)
    tokens, *_ = other_vision(model)(pixels_of(pictures))
    assert encoder.encode(pictures).regions == pytest.approx(tokens, abs=1e-4)
    texts = TEXT_ENCODERS["clip-multilingual"]()
    assert texts.encode(["一二三", "五"]) == pytest.approx(
        found / np.linalg.norm(found, axis=1, keepdims=True), abs=1e-5
    )
    assert Components("clip").text.dim == encoder.encode(pictures).pooled.shape[1]


# Where checkpoints come from


@pytest.mark.parametrize("form", ["safetensors", "pt", "training"])
def test_local_weights_of_a_known_architecture(form, model, known, pictures, tmp_path):
    path = tmp_path / f"weights.{'safetensors' if form == 'safetensors' else 'pt'}"
    if form == "safetensors":
        save_file(model.state_dict(), path)
    elif form == "pt":
        torch.save(model.state_dict(), path)
    else:  # as open_clip's training with several processes writes it
        state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"epoch": 1, "state_dict": state}, path)
    encoder = ClipEncoder("tiny-clip", path)
    tokens, _, pooled = other_vision(model)(pixels_of(pictures, OPENAI_MEAN, OPENAI_STD))
    features = encoder.encode(pictures)
    assert features.regions == pytest.approx(tokens, abs=1e-4)
    assert features.pooled == pytest.approx(pooled, abs=1e-4)
    assert encoder.name.startswith("tiny-clip@")


@pytest.mark.parametrize("quick", [False, True])
def test_a_tag_brings_its_activation_and_its_colours(quick, model, known, folder, pictures, monkeypatch):
    tag = {"file": str(folder / "open_clip_model.safetensors"), "hf_hub": "org/tiny-clip/", "mean": MEAN, "std": STD}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"own": tag | {"quick_gelu": quick}})
    tokens, _, pooled = other_vision(model, "quick_gelu" if quick else "gelu")(pixels_of(pictures))
    encoder = ClipEncoder("tiny-clip", "own")
    features = encoder.encode(pictures)
    assert features.regions == pytest.approx(tokens, abs=1e-4)
    assert features.pooled == pytest.approx(pooled, abs=1e-4)
    assert np.abs(tokens - other_vision(model, "gelu" if quick else "quick_gelu")(pixels_of(pictures))[0]).max() > 1e-3


def test_a_hub_name_is_read_from_the_cache(folder, no_hub, pictures):
    commit, cached = "0123456789" * 4, no_hub / "models--org--tiny-clip"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    found, expected = ClipEncoder("org/tiny-clip"), ClipEncoder(folder)
    assert found.name == expected.name
    assert np.array_equal(found.encode(pictures).regions, expected.encode(pictures).regions)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("clip-vit-b-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("clip-vit-b-16", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    ],
)
def test_registered_checkpoints_lie_in_the_folder_of_models(key, name, folder, tmp_path, monkeypatch, pictures):
    shutil.copytree(folder, tmp_path / name)
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path))
    encoder = VISION_ENCODERS[key]()
    assert encoder.name.startswith(name.split("/")[1] + "@")
    assert np.array_equal(encoder.encode(pictures).pooled, ClipEncoder(folder).encode(pictures).pooled)
    if key == "clip-vit-b-32":
        assert Components("base").vision.name == Components("paper").vision.name == encoder.name


def test_registered_names_are_those_that_open_clip_lists():
    listed = {tag["hf_hub"].rstrip("/") for tags in open_clip.pretrained._PRETRAINED.values() for tag in tags.values()}
    registered = {VISION_ENCODERS[key]().model for key in VISION_ENCODERS if key.startswith("clip")}
    assert len(registered) == 3 and registered <= listed


# Names, loading and mistakes


def test_name_tells_apart_what_changes_features(folder, model, tmp_path):
    def name(change):
        copy = shutil.copytree(folder, tmp_path / change / "tiny-clip")
        if change == "colours":
            described = {"model_cfg": ARCHITECTURE, "preprocess_cfg": {"mean": STD, "std": STD}}
            (copy / "open_clip_config.json").write_text(json.dumps(described))
        elif change == "architecture":
            described = {"model_cfg": ARCHITECTURE | {"quick_gelu": True}, "preprocess_cfg": {"mean": MEAN, "std": STD}}
            (copy / "open_clip_config.json").write_text(json.dumps(described))
        elif change == "weights":
            state = model.state_dict() | {"logit_scale": torch.tensor(1.0)}
            save_file(state, copy / "open_clip_model.safetensors")
        return ClipEncoder(copy).name

    names = [name(change) for change in ("none", "colours", "architecture", "weights")]
    assert names[0] == ClipEncoder(folder).name
    assert len(set(names)) == 4


def test_loading_is_lazy_silent_and_leaves_the_generator_alone(folder, pictures, capfd, caplog):
    encoder = ClipEncoder(folder)
    assert not {"_clip", "_checkpoint", "_accelerator"} & set(vars(encoder))
    before = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        encoder.encode(pictures)
        encoder.encode_text(["a"])
    assert torch.equal(before, torch.get_rng_state())
    assert not caplog.records and capfd.readouterr() == ("", "")
    assert not encoder._clip.training


def test_precision_is_that_of_accelerate(folder, pictures, monkeypatch):
    from accelerate.state import AcceleratorState

    full = ClipEncoder(folder)
    expected = full.encode(pictures).regions
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    AcceleratorState._reset_state(True)
    try:
        half = ClipEncoder(folder)
        assert half.name == f"{full.name}/bf16"
        found = half.encode(pictures).regions
        assert half.encode_text(["a"]).dtype == found.dtype == np.float32
    finally:
        AcceleratorState._reset_state(True)
    assert 1e-4 < np.abs(found - expected).max() < 0.2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("org/no-such-model",), "The checkpoint org/no-such-model is .*hf download org/no-such-model.*INTRA_MODELS"),
        (("ViT-B-32", "openai"), "The checkpoint timm/vit_base_patch32_clip_224.openai is .*hf download"),
        (("ViT-B-32", "openia"), r"ViT-B-32: unknown weights file or tag 'openia' \(did you mean 'openai'\?\)"),
        (("ViT-B-33", "openai"), r"unknown CLIP architecture 'ViT-B-33' \(did you mean"),
    ],
)
def test_what_is_nowhere_is_one_line(arguments, told, no_hub):
    with pytest.raises(IntraError, match=told) as caught:
        _ = ClipEncoder(*arguments).name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no weights", "tiny-clip: holds no CLIP weights, expected open_clip_model.safetensors or"),
        ("no configuration", r"open_clip_config\.json: has no model configuration"),
        ("broken configuration", r"open_clip_config\.json: has no model configuration"),
        ("other form", r"open_clip_config\.json: has no model configuration"),
        ("junk", r"open_clip_model\.safetensors: does not fit its architecture: "),
        ("lacking", "does not fit its architecture: .*ln_post.weight"),
        ("other width", "does not fit its architecture: .*"),
        ("no such option", "does not fit its architecture: .*multimodal_cfg"),
        ("no ViT", "the picture side is a ModifiedResNet, expected a ViT"),
    ],
)
def test_damaged_folders_are_one_line(fault, told, folder, model, pictures, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "tiny-clip")
    weights, configuration = copy / "open_clip_model.safetensors", copy / "open_clip_config.json"
    vision = ARCHITECTURE["vision_cfg"]
    if fault in ("no weights", "no configuration"):
        (weights if fault == "no weights" else configuration).unlink()
    elif fault in ("broken configuration", "other form"):
        configuration.write_text("{" if fault == "broken configuration" else json.dumps(ARCHITECTURE))
    elif fault == "junk":
        weights.write_bytes(b"no weights at all")
    elif fault == "lacking":
        save_file({n: t for n, t in model.state_dict().items() if n != "visual.ln_post.weight"}, weights)
    elif fault == "other width":
        configuration.write_text(json.dumps({"model_cfg": ARCHITECTURE | {"vision_cfg": vision | {"width": 32}}}))
    elif fault == "no such option":
        configuration.write_text(json.dumps({"model_cfg": ARCHITECTURE | {"multimodal_cfg": {}}}))
    else:
        resnet = ARCHITECTURE | {
            "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
        }
        configuration.write_text(json.dumps({"model_cfg": resnet}))
        save_file(open_clip.CLIP(**resnet).state_dict(), weights)
    with pytest.raises(IntraError, match=told) as caught:
        ClipEncoder(copy).encode(pictures)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_refused(known, pictures, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(IntraError, match=r"trap\.pt: does not fit its architecture") as caught:
        ClipEncoder("tiny-clip", tmp_path / "trap.pt").encode(pictures)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()
