"""What an importer repaired, skipped or refused, counted in memory and listed line by line in a file."""

from collections import Counter
from pathlib import Path

KINDS = ("repaired", "skipped", "refused", "noted")
"""`repaired`: taken in after a change; `skipped`: left out, as the format asks; `refused`: left out, because it
is wrong; `noted`: taken in as it is, and worth knowing."""
REPORT = "import_report.tsv"


class Report:
    """Every remark of one import, as kind, place and message."""

    def __init__(self, folder: Path):
        """Write the list into `folder`."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """(kind, what) to how often."""
        self.examples: dict[tuple[str, str], str] = {}
        """(kind, what) to the first remark."""
        self._file = (folder / REPORT).open("w", encoding="utf-8")

    def add(self, kind: str, place: str, what: str, detail: str = "") -> None:
        """One remark.

        Args:
            kind: One of `KINDS`.
            place: `file:line: field`, as far as there are any.
            what: The sort of remark, the same words each time.
            detail: What differs from case to case.
        """
        line = " ".join(f"{place}: {what}{f': {detail}' if detail else ''}".split())
        line = line.encode("utf-8", "backslashreplace").decode()  # JSON can hold half a surrogate pair, no file can
        self.counts[kind, what] += 1
        self.examples.setdefault((kind, what), line)
        self._file.write(f"{kind}\t{line}\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def summary(self) -> str:
        """The commonest remarks in half a line."""
        commonest = [f"{count} {kind}: {what}" for (kind, what), count in self.counts.most_common(3)]
        return "; ".join(commonest) or "it holds no sample"

    def __str__(self):
        """One line a sort of remark: how often, and where first."""
        ordered = sorted(self.counts, key=lambda key: (KINDS.index(key[0]), -self.counts[key]))
        lines = [
            f"{kind:8} {self.counts[kind, what]:>7,}  {what}\n{'':18}first: {self.examples[kind, what]}"
            for kind, what in ordered
        ]
        return "\n".join(lines) or "nothing repaired, skipped or refused"
