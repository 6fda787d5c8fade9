"""A data set in layouts that `datasets.load_dataset` opens: Parquet tables, or a folder of images with metadata.

parquet       conversations/<split>.parquet, stickers/<split>.parquet (images inside), README.md with both configs
imagefolder   <split>/<image>, <split>/metadata.parquet: a sticker a row, with the conversations that it answered
"""

import json
import shutil
from collections import defaultdict
from dataclasses import asdict, fields
from pathlib import Path

from intra.config import unknown
from intra.data.reader import MANIFEST, load_dataset, resolve
from intra.data.schema import ATTRIBUTES, SPLITS, Conversation, Dataset, Sticker, Utterance
from intra.errors import IntraError
from intra.files import written_whole


def export_dataset(dataset: str | Path, out: Path, layout: str) -> None:
    """Write a data set in another layout.

    Args:
        dataset: Packaged name or folder.
        out: Folder to make; it appears only when the export is whole.
        layout: `parquet` or `imagefolder`.

    Raises:
        IntraError: If the layout is unknown, the data set is not sound, or `out` exists.
    """
    if layout not in LAYOUTS:
        raise IntraError(unknown("format", layout, LAYOUTS))
    loaded = load_dataset(dataset)
    licence = json.loads((resolve(dataset) / MANIFEST).read_text(encoding="utf-8"))["licence"]
    if out.exists():
        raise IntraError(f"{out}: exists already; name a folder that does not")
    with written_whole(out) as folder:
        LAYOUTS[layout](loaded, folder)
        (folder / "README.md").write_text(_card(loaded, licence, layout), encoding="utf-8")


def conversation_row(conversation: Conversation) -> dict:
    """A conversation as plain values; `utterances` is a list of {user, text, english}."""
    row = asdict(conversation)
    return row | {"utterances": list(row["utterances"]), "candidates": list(conversation.candidates)}


def sticker_row(sticker: Sticker, intentions: tuple[str, ...]) -> dict:
    """A sticker as plain values; what only some stickers have is JSON text."""
    return {
        "id": sticker.id,
        "intentions": list(intentions),
        "attributes": {name: list(sticker.attributes.get(name, [])) for name in ATTRIBUTES},
        "specification": json.dumps(sticker.specification, ensure_ascii=False),
        "regions": json.dumps(sticker.regions),
    }


def _parquet(dataset: Dataset, folder: Path) -> None:
    import datasets

    conversation, sticker = _features()
    for split in _used_splits(dataset):
        part = dataset.split(split)
        rows = [conversation_row(c) for c in part.conversations]
        pictures = [
            row | {"image": {"bytes": s.image.read_bytes(), "path": s.image.name}} for s, row in _sticker_rows(part)
        ]
        _write_table(folder / "conversations" / f"{split}.parquet", rows, conversation)
        _write_table(folder / "stickers" / f"{split}.parquet", pictures, sticker | {"image": datasets.Image()})


def _imagefolder(dataset: Dataset, folder: Path) -> None:
    conversation, sticker = _features()
    for split in _used_splits(dataset):
        part, rows = dataset.split(split), []
        answered = defaultdict(list)
        for each in part.conversations:
            answered[each.sticker].append(conversation_row(each))
        (folder / split).mkdir()
        for number, (each, row) in enumerate(_sticker_rows(part)):
            name = f"{number:05}-{each.image.name}"  # the number keeps pictures of different folders apart
            shutil.copyfile(each.image, folder / split / name)
            rows.append(row | {"file_name": name, "conversations": answered[each.id]})
        own = {"file_name": conversation["id"], "conversations": [conversation]}
        # not JSON Lines, whose types would be guessed in each split anew: empty lists have none
        _write_table(folder / split / "metadata.parquet", rows, sticker | own)


def _features() -> tuple[dict, dict]:
    """Types of a conversation's row and of a sticker's, the image left out."""
    import datasets

    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    conversation = dict.fromkeys((field.name for field in fields(Conversation)), text) | {
        "utterances": [dict.fromkeys((field.name for field in fields(Utterance)), text)],
        "cue": datasets.Value("int32"),
        "candidates": texts,
    }
    sticker = dict.fromkeys(("id", "intentions", "attributes", "specification", "regions"), text) | {
        "intentions": texts,
        "attributes": dict.fromkeys(ATTRIBUTES, texts),
    }
    return conversation, sticker


def _write_table(path: Path, rows: list[dict], features: dict) -> None:
    import datasets

    path.parent.mkdir(exist_ok=True)
    datasets.Dataset.from_list(rows, features=datasets.Features(features)).to_parquet(path)


def _used_splits(dataset: Dataset) -> list[str]:
    return [split for split in SPLITS if dataset.split(split).conversations]


def _sticker_rows(part: Dataset) -> list[tuple[Sticker, dict]]:
    labels = part.sticker_intentions()
    return [(sticker, sticker_row(sticker, labels.get(sticker.id, ()))) for sticker in part.stickers]


LAYOUTS = {"parquet": _parquet, "imagefolder": _imagefolder}


def _card(dataset: Dataset, licence: str, layout: str) -> str:
    """The README that `datasets` reads its configs from."""
    # JSON texts are YAML, whatever marks they hold
    lines = ["---", f"pretty_name: {json.dumps(dataset.name)}", f"license_name: {json.dumps(licence)}"]
    if layout == "parquet":
        lines.append("configs:")
        for name in ("conversations", "stickers"):
            default = str(name == "conversations").lower()
            lines += [f"- config_name: {name}", f"  default: {default}", "  data_files:"]
            for split in _used_splits(dataset):
                hub = "validation" if split == "valid" else split
                lines += [f"  - split: {hub}", f"    path: {name}/{split}.parquet"]
    lines += ["---", "", f"# {dataset.name} {dataset.version}", ""]
    sizes = ", ".join(f"{len(dataset.split(split).conversations)} {split}" for split in SPLITS)
    lines += [
        f"Conversations that end with a sticker ({sizes}) and {len(dataset.stickers)} stickers. Licence: {licence}.",
        "",
    ]
    return "\n".join(lines)
