"""Toys of the pretraining tests: captions, a text encoder without weights, and emoji that are squares."""

import numpy as np

CAPTIONS = ["收到", "OK"]


class LetterEncoder:
    """A text encoder whose vectors count characters."""

    name = "letters"

    def __init__(self, dim=32):
        self.dim = dim

    def encode(self, texts, kind="query"):
        vectors = np.ones((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for character in text:
                vectors[row, ord(character) % self.dim] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


EMOJI = {  # code points: colour, and name in Chinese and English
    "1f600": ("red", "嘿嘿", "grinning face"),
    "2764-fe0f": ("green", "红心", "red heart"),
    "1f44d": ("blue", "拇指向上", "thumbs up"),
}
