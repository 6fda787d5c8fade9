"""Draw the stickers of the plan and seal the data set: `python -m intra.replystickers.build`.

`data/conversations.jsonl` is written by hand and only checked here; pictures, `stickers.jsonl` and
`manifest.json` are made anew from the plan.
"""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

from tqdm import tqdm

from intra.data.reader import load_dataset
from intra.files import sha256
from intra.paths import REPLYSTICKERS
from intra.replystickers.design import FOLDER
from intra.replystickers.drawing.sticker import draw, rasterise, save_webp
from intra.replystickers.specification import StickerSpecification

VERSION = "1.0.0"
_FIELDS = [field.name for field in dataclasses.fields(StickerSpecification)]


def planned_stickers() -> list[dict[str, str]]:
    """The rows of `design/stickers.csv`."""
    with (FOLDER / "stickers.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def specification(row: dict[str, str]) -> StickerSpecification:
    """The drawing specification of a row of `stickers.csv`."""
    return StickerSpecification(**{f: row[f] for f in _FIELDS} | {"variation": int(row["variation"])})


def draw_sticker(row: dict[str, str], directory: Path) -> dict:
    """Draw one sticker into `directory`/images and return its line of `stickers.jsonl`."""
    spec = specification(row)
    drawing = draw(spec)
    image = f"images/{row['id']}.webp"
    save_webp(rasterise(drawing), directory / image)
    return {
        "id": row["id"],
        "splits": [row["split"]],
        "image": image,
        "specification": dataclasses.asdict(spec),
        "regions": {part: [round(x, 1) for x in box] for part, box in drawing.regions.items()},
    }


def seal(directory: Path) -> None:
    """Write the manifest: what the data set is, and the digest of every file."""
    files = [
        directory / "conversations.jsonl",
        directory / "stickers.jsonl",
        *sorted(directory.glob("images/*")),
    ]
    manifest = {
        "name": "ReplyStickers",
        "version": VERSION,
        "licence": "CC BY 4.0",
        "description": "Written Mandarin group chats that end with a sticker, and drawn stickers; all original work",
        "files": {path.relative_to(directory).as_posix(): sha256(path) for path in files},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Draw every planned sticker, write `stickers.jsonl` and the manifest, and read the result back."""
    shutil.rmtree(REPLYSTICKERS / "images", ignore_errors=True)
    (REPLYSTICKERS / "images").mkdir(parents=True)
    lines = [draw_sticker(row, REPLYSTICKERS) for row in tqdm(planned_stickers(), desc="stickers")]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (REPLYSTICKERS / "stickers.jsonl").write_text(text, encoding="utf-8")
    seal(REPLYSTICKERS)
    dataset = load_dataset()
    print(f"{len(dataset.conversations)} conversations, {len(dataset.stickers)} stickers")


if __name__ == "__main__":
    main()
