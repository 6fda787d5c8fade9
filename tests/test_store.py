"""The store of generated text: asks once, survives being killed anywhere, and refuses what is broken."""

import json
import subprocess
import sys

import numpy as np
import pytest

from intra.errors import IntraError
from intra.generation.store import GenerationStore, request_key
from intra.paths import ROOT

REQUESTS = [{"task": "t", "text": text} for text in ("早", "好", "吗\u2028呀", "嗯", "哦")]


class Source:
    """Answers with the text backwards, counts what it is asked, and dies after so many answers."""

    def __init__(self, dies_after=None):
        self.asked = []
        self.dies_after = dies_after

    def __call__(self, requests):
        for number, request in enumerate(requests):
            if number == self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(request["text"])
            yield answer(request)


def answer(request):
    return {"text": request["text"][::-1]}


ANSWERS = [answer(request) for request in REQUESTS]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "store.jsonl"


def test_an_answer_is_asked_for_once(path):
    source = Source()
    assert GenerationStore(path).fetch(REQUESTS, source) == ANSWERS
    again = Source()
    assert GenerationStore(path).fetch(REQUESTS[::-1], again) == ANSWERS[::-1]
    assert (len(source.asked), again.asked) == (5, [])


def test_a_request_that_repeats_is_asked_for_once(path):
    source = Source()
    twice = [REQUESTS[0], REQUESTS[1], REQUESTS[0]]
    assert GenerationStore(path).fetch(twice, source) == [ANSWERS[0], ANSWERS[1], ANSWERS[0]]
    assert source.asked == ["早", "好"]


def test_nothing_to_ask_makes_no_file(path):
    assert GenerationStore(path).fetch([], Source()) == []
    assert not path.exists() and GenerationStore(path).entries() == []


@pytest.mark.parametrize("dies_after", range(5))
def test_a_killed_generation_goes_on_and_repeats_nothing(path, dies_after):
    first, second = Source(dies_after), Source()
    with pytest.raises(KeyboardInterrupt):
        GenerationStore(path).fetch(REQUESTS, first)
    assert GenerationStore(path).fetch(REQUESTS, second) == ANSWERS
    assert first.asked + second.asked == [request["text"] for request in REQUESTS]


def test_a_source_that_gives_too_few_or_too_many_answers_is_noticed(path):
    with pytest.raises(ValueError, match="shorter"):
        GenerationStore(path).fetch(REQUESTS, lambda missing: [answer(missing[0])])
    with pytest.raises(ValueError, match="longer"):
        GenerationStore(path).fetch(REQUESTS, lambda missing: [answer(m) for m in [*missing, missing[0]]])
    assert GenerationStore(path).fetch(REQUESTS, Source()) == ANSWERS


def test_a_file_cut_at_any_byte_is_completed(path):
    GenerationStore(path).fetch(REQUESTS[:2], Source())
    data = path.read_bytes()
    ends = [0, data.index(b"\n") + 1, len(data)]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        source = Source()
        assert GenerationStore(path).fetch(REQUESTS[:3], source) == ANSWERS[:3], cut
        whole = sum(end <= cut for end in ends) - 1  # entries whose line has its end
        assert len(source.asked) == 3 - whole, cut
        entries = GenerationStore(path).entries()
        assert [entry["result"] for entry in entries] == ANSWERS[:3], cut


def test_a_killed_process_leaves_every_answer_that_it_got(path):
    code = (
        "import os, sys; from pathlib import Path; from intra.generation.store import GenerationStore\n"
        "def produce(requests):\n"
        "    yield {'answer': 1}\n"
        "    yield {'answer': 2}\n"
        "    os._exit(9)\n"  # as a kill does it: nothing is closed, nothing is flushed
        "GenerationStore(Path(sys.argv[1])).fetch([{'n': 1}, {'n': 2}, {'n': 3}], produce)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert [entry["result"] for entry in GenerationStore(path).entries()] == [{"answer": 1}, {"answer": 2}]


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize("line", [b"{", b"", b"[]", b'{"key": "k"}', b"\xff\xfe"])
def test_a_broken_line_that_is_not_the_last_is_told(path, line, place):
    GenerationStore(path).fetch(REQUESTS, Source())
    lines = path.read_bytes().split(b"\n")
    lines[place] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(IntraError) as error:
        GenerationStore(path)
    assert str(error.value) == f"{path}:{place + 1}: is no store entry; delete the line"
    path.write_bytes(b"\n".join(lines[:place] + lines[place + 1 :]))  # as told
    source = Source()
    assert GenerationStore(path).fetch(REQUESTS, source) == ANSWERS
    assert source.asked == [REQUESTS[place]["text"]]


def test_entries_hold_what_was_asked_beside_what_was_answered(path):
    store = GenerationStore(path)
    store.fetch(REQUESTS, Source())
    assert store.entries() == [
        {"key": request_key(request), "request": request, "result": result}
        for request, result in zip(REQUESTS, ANSWERS, strict=True)
    ]
    assert len(path.read_bytes().split(b"\n")) == 6 and "早" in path.read_text(encoding="utf-8")


def test_a_key_depends_on_every_field_but_not_on_their_order():
    rng = np.random.default_rng(0)
    request = {"task": "knowledge", "source": "a@1", "utterances": ["早", "好"], "decoding": {"beams": 5, "top": 1}}
    for _ in range(10):
        names = rng.permutation(list(request))
        assert request_key({name: request[name] for name in names}) == request_key(request)
    others = [request | {"source": "a@2"}, request | {"utterances": ["好", "早"]}, request | {"decoding": {"beams": 4}}]
    assert len({request_key(r) for r in [request, *others, {k: request[k] for k in ("task", "source")}]}) == 5
    assert request_key(json.loads(json.dumps(request))) == request_key(request)


@pytest.mark.parametrize("letters", ["", "早", "好哦", "早好吗嗯哦"])
def test_keeping_drops_what_is_not_wanted(path, letters):
    store = GenerationStore(path)
    store.fetch(REQUESTS, Source())
    lines = path.read_bytes().split(b"\n")[:-1]
    kept = [number for number, request in enumerate(REQUESTS) if request["text"][0] in letters]
    store.keep(lambda request: request["text"][0] in letters)
    assert path.read_bytes() == b"".join(lines[number] + b"\n" for number in kept)  # in their order, bit for bit
    assert [file.name for file in path.parent.iterdir()] == ["store.jsonl"]
    for again in (store, GenerationStore(path)):
        assert [entry["request"] for entry in again.entries()] == [REQUESTS[number] for number in kept]
    dropped = [request["text"] for number, request in enumerate(REQUESTS) if number not in kept]
    source = Source()
    assert store.fetch(REQUESTS, source) == ANSWERS and source.asked == dropped  # also in memory


def test_keeping_that_fails_leaves_the_store_as_it_was(path):
    store = GenerationStore(path)
    store.fetch(REQUESTS, Source())
    before = path.read_bytes()
    with pytest.raises(KeyError):
        store.keep(lambda request: request["source"] == "a")
    assert path.read_bytes() == before
    assert store.fetch(REQUESTS, lambda missing: pytest.fail("asked again")) == ANSWERS
