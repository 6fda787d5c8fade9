"""What moves the vectors of the release-faithful model: hand-worked changes, and the command on a tiny study."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from intra import maps, released_maps
from intra.components import Components
from intra.data.pictures import open_picture
from intra.data.reader import profile_dataset
from intra.encoders.vision import as_pixels
from intra.errors import IntraError
from intra.records import WEIGHTS, read_record
from intra.study import study_configs

pytest_plugins = ["helpers"]


def test_each_region_is_painted_over_once():
    pixels = np.arange(3 * 36, dtype=np.float32).reshape(3, 6, 6)
    pictures = released_maps.with_hidden_regions(pixels, 3)
    assert pictures.shape == (10, 3, 6, 6) and np.array_equal(pictures[0], pixels)
    medians = [17.5, 53.5, 89.5]  # of 0 to 35, 36 to 71 and 72 to 107
    for region in range(9):
        for channel in range(3):
            for y in range(6):
                for x in range(6):
                    hidden = (y // 2, x // 2) == divmod(region, 3)
                    expected = medians[channel] if hidden else pixels[channel, y, x]
                    assert pictures[1 + region, channel, y, x] == expected


def test_moves_are_cosines_from_the_first():
    vectors = torch.tensor([[1.0, 0], [1, 0], [3, 0], [0, 2], [-1, 0], [1, 1]])
    assert released_maps.moved(vectors).tolist() == pytest.approx([0, 0, 1, 2, 1 - 0.5**0.5])
    torch.manual_seed(0)
    same = torch.randn(1, 384).expand(50, -1)
    assert released_maps.moved(same).tolist() == [0] * 49  # exactly


def test_variants_change_one_input_each():
    torch.manual_seed(0)
    pictures, descriptions = torch.randn(3, 5, 6), torch.randn(3, 4, 6)
    (whole, told), *others = released_maps.variants(pictures, descriptions, 2)
    assert torch.equal(whole, pictures[2, 0]) and torch.equal(told, descriptions[2])
    assert len(others) == 4 + len(maps.INPUTS)
    for region, (picture, own) in enumerate(others[:4]):
        assert torch.equal(picture, pictures[2, 1 + region]) and torch.equal(own, told)
    picture, own = others[4]
    assert torch.equal(picture, pictures[0, 0]) and torch.equal(own, told), "after the last sticker comes the first"
    for attribute, (picture, own) in enumerate(others[5:]):
        assert torch.equal(picture, whole)
        assert [torch.equal(a, b) for a, b in zip(own, told, strict=True)] == [n != attribute for n in range(4)]
        assert torch.equal(own[attribute], descriptions[0, attribute])


def test_only_the_verbal_attribute_moves_what_is_ranked_by():
    torch.manual_seed(0)
    pictures, descriptions = torch.randn(3, 5, 16), torch.randn(3, 4, 16)
    found = [released_maps.moves(pictures, descriptions, 1, (0, draw)) for draw in range(20)]
    for each in found:
        assert each[:-1].tolist() == [0] * 8, "four regions, the picture and three attributes"
        assert each[-1] > 1e-3
    assert len({each[-1].item() for each in found}) == 20, "each draw has layers of its own"
    assert torch.equal(found[3], released_maps.moves(pictures, descriptions, 1, (0, 3)))


@pytest.fixture(scope="module")
def made(session_cache, tmp_path_factory):
    """The record of the smoke profile with one seed and two draws, and its run."""
    folder = tmp_path_factory.mktemp("released")
    config = study_configs("release", "smoke", 0)["as released"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTRA_CACHE", str(session_cache))
        patch.setattr(released_maps, "DRAWS", 2)
        patch.setattr(released_maps, "study_configs", lambda *_: {"as released": config})
        released_maps.main(folder / "maps.npz", "smoke", folder / "records")
    (run,) = (folder / "records" / "smoke" / "runs").iterdir()
    stickers = profile_dataset("replystickers", "smoke").split("test").stickers
    assert sorted(path.name for path in folder.iterdir()) == ["maps.npz", "records"]
    return maps.released_record(stickers, folder / "maps.npz"), read_record(run), stickers


def test_the_record_is_what_the_book_reads(made):
    found, run, stickers = made
    assert found["runs"].tolist() == [run.path.name]
    regions = found["learned"].shape[-1]
    assert found["learned"].shape == (1, len(stickers), regions)
    assert found["ranked"].shape == (1, 2, len(stickers), regions)
    assert found["exchanged"].shape == (1, 2, len(stickers), len(maps.INPUTS))
    assert {found[name].dtype for name in ("learned", "ranked", "exchanged")} == {np.dtype(np.float16)}


def test_a_missing_or_damaged_record_is_told(tmp_path):
    path = tmp_path / "maps.npz"
    with pytest.raises(IntraError, match=r"maps\.npz: is not there; python -m intra\.released_maps writes it anew"):
        maps.released_record([], path)
    path.write_bytes(b"PK")
    with pytest.raises(
        IntraError, match=r"maps\.npz: cannot be read: .*; python -m intra\.released_maps writes it anew"
    ):
        maps.released_record([], path)


def test_without_verbal_descriptions_nothing_moves_what_is_ranked_by(made):
    found = made[0]  # the smoke profile reads no text
    assert not found["ranked"].any() and not found["exchanged"].any()


def test_the_learned_map_is_that_of_painted_pictures(made):
    """One sticker, worked again with the tower itself: the picture and itself with one region painted over."""
    found, run, stickers = made
    tower = Components("smoke").vision.model()
    side, size = tower.grid_size[0], tower.image_size[0]
    pixels = as_pixels([open_picture(stickers[5].image)], size)[0]
    painted = pixels.copy()
    block, (row, column) = size // side, divmod(side * side // 2, side)
    for channel in range(3):
        own = painted[channel]
        own[row * block : (row + 1) * block, column * block : (column + 1) * block] = np.median(pixels[channel])
    seen = []
    hook = tower.ln_post.register_forward_hook(lambda _, inputs, output: seen.append(output[:, 0]))
    with torch.inference_mode():
        tower(torch.from_numpy(np.stack([pixels, painted])))
        hook.remove()
        weight = load_file(run.path / WEIGHTS)
        whole, hidden = seen[0] @ weight["image_projection.weight"].T + weight.get("image_projection.bias", 0)
        cosine = (whole @ hidden / whole.norm() / hidden.norm()).item()
    assert found["learned"][0, 5, side * side // 2] == pytest.approx(1 - cosine, abs=2e-4, rel=2e-2)
