"""Sticker files to RGB pictures."""

from pathlib import Path

from PIL import Image, ImageOps

from intra.errors import IntraError

LONGEST_SIDE = 640
GREATEST_RATIO = 4


def open_picture(path: Path) -> Image.Image:
    """Open a picture as RGB: the middle frame of an animation, transparency composited on white.

    Raises:
        IntraError: If the file is missing or no picture.
    """
    try:
        with Image.open(path) as image:
            image.seek(getattr(image, "n_frames", 1) // 2)
            return on_white(image)
    except FileNotFoundError:
        raise IntraError(f"{path}: the picture does not exist") from None
    except Exception as error:  # Pillow's readers of broken files raise many kinds, IndexError among them
        raise IntraError(f"{path}: is no readable picture ({type(error).__name__})") from None


def on_white(picture: Image.Image) -> Image.Image:
    """Convert to RGB with transparency composited on white."""
    # open_clip's own conversion would turn transparent pixels black
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return white.convert("RGB")


def bounded(picture: Image.Image) -> Image.Image:
    """Shrink a huge picture and widen a strip with white: the cost of reading one grows with both."""
    picture = ImageOps.contain(picture, (LONGEST_SIDE, LONGEST_SIDE)) if max(picture.size) > LONGEST_SIDE else picture
    least = -(-max(picture.size) // GREATEST_RATIO)
    size = max(picture.width, least), max(picture.height, least)
    return ImageOps.pad(picture, size, color="white") if size != picture.size else picture
