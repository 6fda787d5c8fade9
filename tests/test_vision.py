"""Pictures to pixels, and pixels to region features."""

import io
import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from intra.data.pictures import on_white, open_picture
from intra.encoders.vision import TINY_VIT, OpenClipVisionEncoder, as_pixels, build_tower
from intra.errors import IntraError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(frames, kind, **arguments):
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=len(frames) > 1, append_images=frames[1:], **arguments)
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Seven pictures of various sizes, modes and formats."""
    folder, rng, paths = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    kinds = {"RGB": "png", "RGBA": "png", "L": "png", "YCbCr": "jpg", "LA": "webp", "P": "gif", "1": "bmp"}
    for number, (mode, ending) in enumerate(kinds.items()):
        size = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 4)
        paths.append(folder / f"{number}.{ending}")
        Image.fromarray(rng.integers(0, 256, size, np.uint8), "RGBA").convert(mode).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def tiny():
    return OpenClipVisionEncoder(TINY_VIT)


# Opening


def test_transparency_lies_on_white():
    # Black at alpha 0 shows white, at alpha 255 black, and at alpha 51 = 255 / 5 four fifths of the white: 204.
    picture = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 255, 51)):
        picture.putpixel((x, 0), (0, 0, 0, alpha))
    shown = on_white(picture)
    assert shown.mode == "RGB"
    assert [shown.getpixel((x, 0)) for x in range(3)] == [WHITE, (0, 0, 0), (204, 204, 204)]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_transparent_files_open_on_white(kind, tmp_path):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 4, 8))
    arguments = {"lossless": True} if kind == "WEBP" else {}
    (tmp_path / "p").write_bytes(encoded([picture], kind, **arguments))
    opened = open_picture(tmp_path / "p")
    assert opened.mode == "RGB"
    assert (opened.getpixel((1, 4)), opened.getpixel((6, 4))) == (RED, WHITE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize(("count", "middle"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_an_animation_is_its_middle_frame(kind, count, middle, tmp_path):
    colours = [RED, GREEN, BLUE, (255, 255, 0), (0, 0, 0)][:count]
    arguments = {"lossless": True} if kind == "WEBP" else {}
    (tmp_path / "p").write_bytes(encoded([Image.new("RGB", (8, 8), c) for c in colours], kind, **arguments))
    assert open_picture(tmp_path / "p").getpixel((4, 4)) == colours[middle]


def animation(kind):
    rng = np.random.default_rng(0)
    return encoded([Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)) for _ in range(5)], kind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("folder", "is no readable picture"),
        (b"", "is no readable picture"),
        (b"words, no picture", "is no readable picture"),
        (animation("PNG")[:60], "is no readable picture"),
        (animation("GIF")[:40], "is no readable picture"),
        (animation("GIF")[:1200], "is no readable picture"),
        (animation("WEBP")[:90], "is no readable picture"),
    ],
    ids=["missing", "folder", "empty", "text", "cut PNG", "GIF cut early", "GIF cut late", "cut WebP"],
)
def test_what_is_no_picture_is_one_line(content, message, tmp_path):
    path = tmp_path / "picture.webp"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(IntraError, match=rf"picture\.webp: .*{message}") as caught:
        open_picture(path)
    assert "\n" not in str(caught.value)


def test_no_damage_to_a_file_ends_in_another_error(tmp_path):
    """300 files cut short or with bytes changed: each opens or is told in one line."""
    rng, path = np.random.default_rng(1), tmp_path / "picture"
    whole = [animation(kind) for kind in ("GIF", "PNG", "WEBP")]
    refused = 0
    for number in range(300):
        data = bytearray(whole[number % 3])
        if number % 2:
            data = data[: rng.integers(len(data))]
        for place in rng.integers(min(len(data), 200), size=5) if data and not number % 2 else ():
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            open_picture(path)
        except IntraError:
            refused += 1
    assert refused > 100


# Pixels


def test_pixels_keep_the_aspect_and_everything():
    # 40 x 20 into 32: the scale is 0.8, so rows 8 to 23 hold the picture and the others are white (1 after
    # scaling to [-1, 1]). The left half is red (1, -1, -1), the right half blue (-1, -1, 1).
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(BLUE, (20, 0, 40, 20))
    pixels = as_pixels([picture], 32)
    assert pixels.shape == (1, 3, 32, 32) and pixels.dtype == np.float32
    assert (pixels[0, :, :8] == 1).all() and (pixels[0, :, 24:] == 1).all()
    for column in (0, 13):
        assert pixels[0, :, 8:24, column].T == pytest.approx(np.tile([1, -1, -1], (16, 1)))
    for column in (18, 31):
        assert pixels[0, :, 8:24, column].T == pytest.approx(np.tile([-1, -1, 1], (16, 1)))


def test_channels_take_their_own_mean_and_deviation():
    mean, deviation = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    rng = np.random.default_rng(2)
    values = rng.integers(0, 256, (4, 4, 3), np.uint8)
    pixels = as_pixels([Image.fromarray(values)], 4, mean, deviation)[0]
    assert pixels.dtype == np.float32
    for row in range(4):
        for column in range(4):
            for channel in range(3):
                expected = (int(values[row, column, channel]) / 255 - mean[channel]) / deviation[channel]
                assert pixels[channel, row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(10, 10), (64, 64), (20, 50), (50, 20), (7, 100), (1, 300), (300, 1)])
def test_the_whole_picture_fits_into_the_square(size):
    pixels = as_pixels([Image.new("RGB", size, (0, 0, 0))], 32)[0]
    dark = (pixels < 0).all(axis=0)
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    width, height = (max(1, round(32 * side / max(size))) for side in size)
    assert (len(columns), len(rows)) == (width, height)
    assert dark.sum() == width * height  # a full rectangle
    for found, side in ((columns, width), (rows, height)):  # in the middle, up to half a pixel
        assert abs(found[0] - (32 - side) / 2) <= 0.5


def test_captions_at_the_edges_are_not_cropped():
    picture = Image.new("RGB", (90, 60), WHITE)
    for box in ((0, 0, 90, 3), (0, 57, 90, 60), (0, 0, 3, 60), (87, 0, 90, 60)):
        picture.paste((0, 0, 0), box)
    pixels = as_pixels([picture], 30)[0]  # a third: the frame becomes one pixel wide, rows 5 to 24
    for line in (pixels[:, 5], pixels[:, 24], pixels[:, 5:25, 0], pixels[:, 5:25, 29]):
        assert (line < -0.5).all()


# The encoder


def test_features_are_patches_without_the_class_token(tiny, pictures):
    features = tiny.encode(pictures)
    assert features.regions.shape == (7, 16, 32)  # 32 x 32 pixels in patches of 8 x 8, width 32
    assert features.class_tokens.shape == (7, 32)
    assert features.pooled.shape == (7, 32)
    assert features.regions.dtype == features.class_tokens.dtype == features.pooled.dtype == np.float32
    assert np.isfinite(features.regions).all()
    # after the last layer norm, which has weight 1 and bias 0 here
    for tokens in (features.regions, features.class_tokens):
        assert tokens.mean(axis=-1) == pytest.approx(0, abs=1e-4)
        assert tokens.std(axis=-1) == pytest.approx(1, abs=1e-2)


def test_the_class_token_is_what_the_tower_projects(tiny, pictures):
    features = tiny.encode(pictures)
    projection = tiny.model().proj.detach().numpy()
    assert features.class_tokens @ projection == pytest.approx(features.pooled, abs=1e-5)
    assert not tiny.model().ln_post._forward_hooks, "nothing is kept of later passes"


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_layers_finish_what_enters_them(layers, tiny, pictures):
    states = tiny.token_states(pictures, layers)
    assert states.shape == (7, 17, 32) and states.dtype == np.float32
    with torch.inference_mode():
        finished = tiny.last_layers(layers)(torch.from_numpy(states)).numpy()
    assert finished == pytest.approx(tiny.encode(pictures).pooled, abs=1e-5)
    assert not any(block._forward_pre_hooks for block in tiny.model().transformer.resblocks)


def test_token_states_are_what_the_layer_below_gives(tiny, pictures):
    batches = OpenClipVisionEncoder(TINY_VIT, batch_size=3).token_states(pictures, 1)
    with torch.inference_mode():
        pixels = torch.from_numpy(as_pixels([open_picture(path) for path in pictures], 32))
        below = tiny.model().forward_intermediates(pixels, indices=[0], output_fmt="NLC", output_extra_tokens=True)
    (patches,), (prefix,) = below["image_intermediates"], below["image_intermediates_prefix"]
    assert batches == pytest.approx(torch.cat([prefix, patches], dim=1).numpy(), abs=1e-5)
    # below all layers stands the first norm, which has weight 1 and bias 0 here
    embedded = tiny.token_states(pictures, 2)
    assert embedded.mean(axis=2) == pytest.approx(0, abs=1e-4) and embedded.std(axis=2) == pytest.approx(1, abs=1e-2)


def test_training_the_last_layers_leaves_the_tower_alone(tiny, pictures):
    before = tiny.encode(pictures).pooled
    layers, states = tiny.last_layers(1), torch.from_numpy(tiny.token_states(pictures, 1))
    layers(states).square().sum().backward()
    assert all(parameter.grad is not None for parameter in layers.parameters())
    torch.optim.SGD(layers.parameters(), lr=0.1).step()
    assert np.abs(layers(states).detach().numpy() - before).max() > 1e-2
    assert np.array_equal(tiny.encode(pictures).pooled, before)
    assert all(parameter.grad is None for parameter in tiny.model().parameters())


@pytest.mark.parametrize(
    ("fault", "told"), [("many", "tuned_layers is 3, but .* has 2 layers"), ("mean", "class token")]
)
def test_layers_that_cannot_be_tuned_are_one_line(fault, told, tiny, pictures, tmp_path):
    encoder, count = tiny, 3
    if fault == "mean":
        described = json.loads(TINY_VIT.read_text())
        described["vision_cfg"]["pool_type"] = "avg"
        (tmp_path / "average.json").write_text(json.dumps(described))
        encoder, count = OpenClipVisionEncoder(tmp_path / "average.json"), 1
    for ask in (encoder.last_layers, lambda count: encoder.token_states(pictures, count)):
        with pytest.raises(IntraError, match=told) as caught:
            ask(count)
        assert "\n" not in str(caught.value)


def test_a_tower_that_pools_before_its_last_norm(pictures, tmp_path):
    """What such a tower has in the place of a class token: the mean of its patches, normalised."""
    described = json.loads(TINY_VIT.read_text())
    described["vision_cfg"] |= {"pool_type": "avg", "final_ln_after_pool": True}
    (tmp_path / "average.json").write_text(json.dumps(described))
    features = OpenClipVisionEncoder(tmp_path / "average.json").encode(pictures)
    mean = features.regions.mean(axis=1)
    expected = (mean - mean.mean(axis=1, keepdims=True)) / mean.std(axis=1, keepdims=True)
    assert features.class_tokens == pytest.approx(expected, abs=1e-2)


def test_batch_size_does_not_change_features(tiny, pictures):
    whole = tiny.encode(pictures)
    for batch_size in (1, 3):
        features = OpenClipVisionEncoder(TINY_VIT, batch_size=batch_size).encode(pictures)
        assert features.regions == pytest.approx(whole.regions, abs=1e-5)
        assert features.class_tokens == pytest.approx(whole.class_tokens, abs=1e-5)
        assert features.pooled == pytest.approx(whole.pooled, abs=1e-5)


def test_order_of_pictures_is_kept(tiny, pictures):
    forth, back = tiny.encode(pictures), tiny.encode(pictures[::-1])
    assert back.regions[::-1] == pytest.approx(forth.regions, abs=1e-5)
    distances = np.abs(forth.pooled[:, None] - forth.pooled[None]).max(axis=2)
    assert (distances + np.eye(7)).min() > 1e-3  # different pictures, different features


def test_region_numbers_run_row_by_row(tiny, tmp_path):
    """A change inside one patch changes that region, or a neighbour that its convolutions share, most."""
    paths = []
    for number in (None, 0, 3, 6, 12, 15):
        picture = Image.new("RGB", (32, 32), (128, 128, 128))
        if number is not None:
            row, column = divmod(number, 4)
            picture.paste((0, 255, 0), (8 * column, 8 * row, 8 * column + 8, 8 * row + 8))
        paths.append(tmp_path / f"{number}.png")
        picture.save(paths[-1])
    regions = tiny.encode(paths).regions
    changes = np.linalg.norm(regions[1:] - regions[0], axis=2)
    rows, columns = np.divmod(changes.argmax(axis=1), 4)
    assert (np.abs(rows - [0, 0, 1, 3, 3]) <= 1).all()
    assert (np.abs(columns - [0, 3, 2, 0, 3]) <= 1).all()


def test_weights_from_a_file(tiny, pictures, tmp_path):
    torch.manual_seed(8)
    tower = build_tower(TINY_VIT, None)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(tower.state_dict(), tmp_path / "weights.safetensors")
    encoder = OpenClipVisionEncoder(TINY_VIT, tmp_path / "weights.safetensors")
    features = encoder.encode(pictures[:2])
    with torch.inference_mode():
        pooled, tokens = tower(torch.from_numpy(as_pixels([open_picture(path) for path in pictures[:2]], 32)))
    assert np.array_equal(features.regions, tokens.numpy()) and np.array_equal(features.pooled, pooled.numpy())
    assert not np.allclose(features.regions, tiny.encode(pictures[:2]).regions, atol=1e-3)
    assert encoder.name != tiny.name  # cached features of other weights are not taken


def test_random_weights_are_always_the_same_and_silent(tiny, caplog, capfd):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        tower = build_tower(TINY_VIT, None)
        logging.warning("still heard")
    assert torch.equal(before, torch.get_rng_state())
    assert not tower.training
    assert all(torch.equal(a, b) for a, b in zip(tower.parameters(), tiny.model().parameters(), strict=True))
    # open_clip warns of weights that were not loaded, which here is meant or not true
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["still heard"]
    assert "pretrained" not in capfd.readouterr().err


@pytest.mark.parametrize("fault", ["missing", "junk", "other model", "lacking"])
def test_weights_that_do_not_fit_are_one_line(fault, tiny, tmp_path):
    path = tmp_path / "weights.safetensors"
    state = {name: tensor.clone() for name, tensor in tiny.model().state_dict().items()}
    expected = "does not fit tiny-vit.json: "
    if fault == "missing":
        expected = "the weights of tiny-vit are missing"
    elif fault == "junk":
        path.write_bytes(b"no weights at all")
    elif fault == "other model":
        state["proj"] = torch.zeros(32, 20)
        expected += "size mismatch for proj"
    else:
        del state["proj"]
        expected += 'Missing key.* "proj"'
    if fault in ("other model", "lacking"):
        save_file(state, path)
    with pytest.raises(IntraError, match=f"weights.safetensors: {expected}") as caught:
        OpenClipVisionEncoder(TINY_VIT, path).model()
    assert "\n" not in str(caught.value)
