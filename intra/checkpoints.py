"""Where pretrained checkpoints come from: a local folder of models, or the hub."""

import os
from pathlib import Path

MODELS = "INTRA_MODELS"
"""Environment variable that names a folder of checkpoints, each in a folder of its hub name."""


def find_checkpoint(name: str) -> str | Path:
    """The checkpoint to load under a hub name.

    Args:
        name: Such as `google-bert/bert-base-multilingual-cased`, or a folder.

    Returns:
        `$INTRA_MODELS/<name>` if there is such a folder, the folder `name` if that exists, else the hub name.
    """
    for folder in (Path(os.environ.get(MODELS, os.devnull)) / name, Path(name).expanduser()):
        if folder.is_dir():
            return folder
    return name
