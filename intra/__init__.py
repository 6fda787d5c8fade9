"""Int-RA: a reproducible study of replying to a conversation with a sticker."""

__version__ = "0.1.0"

__all__ = ["__version__", "load_dataset"]


def __getattr__(name: str):
    """Load `intra.load_dataset` on first use, so that `import intra` stays quick."""
    if name == "load_dataset":
        from intra.data.reader import load_dataset

        return load_dataset
    raise AttributeError(f"module 'intra' has no attribute {name!r}")
