"""Generated text is data: a content-addressed store that keeps what was asked beside what was answered."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from intra.errors import IntraError


class GenerationStore:
    """Append-only JSON Lines file of {key, request, result}; the key is the SHA-256 of the request.

    A request holds everything that decides the answer (task, source with its revision, decoding, input), so
    an answer is never asked for twice, and a killed generation goes on after the last whole line.
    """

    def __init__(self, path: Path):
        """Open the store; the file need not exist yet.

        Raises:
            IntraError: Naming file and line, if a line other than an unfinished last one is broken.
        """
        self.path = path
        self._results: dict[str, dict] = {}
        if path.exists():
            self._load()

    def _load(self) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True)
        whole = 0
        for number, line in enumerate(lines, 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("unfinished, even if what is there happens to be an entry")
                entry = json.loads(line)
                self._results[entry["key"]] = entry["result"]
            except (ValueError, KeyError, TypeError):
                if number < len(lines):
                    raise IntraError(f"{self.path}:{number}: is no store entry; delete the line") from None
                # the writer was killed inside this line: drop it, or the next entry would be glued to it
                os.truncate(self.path, whole)
                break
            whole += len(line)

    def fetch(self, requests: Sequence[dict], produce: Callable[[list[dict]], Iterable[dict]]) -> list[dict]:
        """Results of the requests, in order; only what the store lacks is produced, and kept one by one.

        Args:
            requests: JSON-serialisable descriptions.
            produce: Yields one result for each of the missing requests that it is given, in their order.
        """
        keys = [request_key(request) for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._results}
        if missing:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                results = zip(missing.items(), produce(list(missing.values())), strict=True)
                for (key, request), result in tqdm(
                    results, self.path.stem, len(missing), delay=2, disable=None, leave=False
                ):
                    entry = {"key": key, "request": request, "result": result}
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    file.flush()
                    self._results[key] = result
        return [self._results[key] for key in keys]

    def entries(self) -> list[dict]:
        """Everything in the store, in the order of its making: {key, request, result}."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]

    def keep(self, wanted: Callable[[dict], bool]) -> None:
        """Drop every entry whose request is not wanted."""
        kept = [entry for entry in self.entries() if wanted(entry["request"])]
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, self.path)
        self._results = {entry["key"]: entry["result"] for entry in kept}


def request_key(request: dict) -> str:
    """SHA-256 of the request with sorted keys, hexadecimal."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
