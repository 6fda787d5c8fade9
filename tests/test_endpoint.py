"""Attributes from a server: real processes on loopback, one that misbehaves on demand and one of `transformers`."""

import base64
import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from tiny_vlm import tiny_vlm

from intra.components import ATTRIBUTE_SOURCES
from intra.data import Sticker
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.generation.attributes import StickerAttributes, describe, parse_states
from intra.generation.endpoint import EndpointAttributes, data_address
from intra.generation.prompts import PROMPT_VERSION
from intra.generation.store import GenerationStore
from intra.generation.vlm import VisionLanguageAttributes
from intra.paths import ROOT

KILLED = """
import sys
from pathlib import Path
from intra.data import Sticker
from intra.generation.attributes import describe
from intra.generation.endpoint import EndpointAttributes
from intra.generation.store import GenerationStore

address, store, *pictures = sys.argv[1:]
stickers = [Sticker(path, ("train",), Path(path)) for path in pictures]
describe(stickers, EndpointAttributes(address, "steady"), GenerationStore(Path(store)))
"""


@pytest.fixture(scope="module", autouse=True)
def no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture
def server():
    """Base address of a fresh server process."""
    command = [sys.executable, str(Path(__file__).with_name("chat_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.kill()


@pytest.fixture
def stickers(tmp_path):
    (tmp_path / "stickers").mkdir()
    made = []
    for number in range(6):
        path = tmp_path / "stickers" / f"{number}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        made.append(Sticker(f"s{number}", ("train",), path))
    return made


def log(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def ask(address, model, stickers, **arguments):
    return list(EndpointAttributes(address, model, **arguments).describe(stickers))


def failure(address, model, sticker, **arguments):
    """The one line that a user sees."""
    with pytest.raises(IntraError) as error:
        ask(address, model, [sticker], **arguments)
    line = str(error.value)
    assert "\n" not in line and line.startswith(f"{address}: ")
    return line.removeprefix(f"{address}: ")


def gaps(address):
    times = [request["at"] for request in log(address)]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_a_sticker_is_asked_about_in_four_turns(server, stickers):
    (said,) = ask(server, "m", stickers[3:4], key="secret")
    assert said.answers.keys() == said.states.keys() == ATTRIBUTES.keys()
    assert said.gesture == tuple(said.answers["gesture"].split(", ")) and said.verbal == ()
    assert list(said.states.values()) == ["keywords"] * 3 + ["nothing"]
    requests = log(server)
    assert [len(request["body"]["messages"]) for request in requests] == [1, 3, 5, 7]
    assert {request["key"] for request in requests} == {"Bearer secret"}
    body = requests[-1]["body"]
    assert {name: body[name] for name in body if name != "messages"} == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 48,
    }
    picture, question = body["messages"][0]["content"]
    kind, data = picture["image_url"]["url"].split(",")
    assert (picture["type"], kind) == ("image_url", "data:image/png;base64")
    assert Image.open(io.BytesIO(base64.b64decode(data))).getpixel((0, 0)) == (3, 0, 0)
    assert question["text"].endswith("several keywords to describe the gesture.")
    assert [message["content"][0]["text"] for message in body["messages"][1::2]] == list(said.answers.values())[:3]


def test_a_transparent_picture_is_sent_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "t.png")
    sent = Image.open(io.BytesIO(base64.b64decode(data_address(tmp_path / "t.png").split(",")[1])))
    assert (sent.mode, sent.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_a_server_that_recovers_is_asked_again_after_growing_pauses(server, stickers):
    (said,) = ask(server, "recovering", stickers[:1])
    assert said.states["gesture"] == "keywords"
    first, second, *others = gaps(server)
    assert 0.3 < first < second and len(others) == 3 and second > max(others)


def test_a_server_that_asks_for_patience_gets_it(server, stickers):
    (said,) = ask(server, "busy", stickers[:1])
    assert said.states["gesture"] == "keywords" and gaps(server)[0] >= 1 and len(gaps(server)) == 4


@pytest.mark.parametrize(
    ("model", "asked", "line"),
    [
        ("down", 2, r"status 500 \(.*\) after 2 attempts; see the log of the server"),
        ("overloaded", 2, r"status 429 \(.*later.*\) after 2 attempts; see the log of the server"),
        ("slow", 2, r"no answer within 0\.5 seconds after 2 attempts; check the load of the server"),
        ("locked", 1, r"status 401 \(.*who are you\?.*\); set INTRA_ENDPOINT_KEY"),
        ("unknown", 1, r"status 404 \(.*no such model.*\); correct INTRA_ENDPOINT or INTRA_ENDPOINT_MODEL"),
        *((model, 1, r"the answer is no chat completion; .*\(it mostly ends in /v1\)") for model in ("broken", "page")),
        *((model, 1, r"the answer is no chat completion; .*") for model in ("list", "empty", "odd")),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(server, stickers, model, asked, line):
    told = failure(server, model, stickers[0], timeout=0.5, retries=1)
    assert re.fullmatch(f"{line}(; run again to go on from here)?", told), told
    assert len(log(server)) == asked


def test_an_answer_that_breaks_off_is_told_in_one_line(server, stickers):
    told = failure(server, "cut", stickers[0], timeout=0.5, retries=1)
    assert told.startswith(("no connection after 2 attempts", "no answer within")), told


def test_a_server_that_is_not_there_is_told_in_one_line(stickers):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    told = failure(address, "m", stickers[0], retries=1)
    assert told.startswith("no connection after 2 attempts; start the server, or correct INTRA_ENDPOINT")


def test_no_words_and_half_characters_are_answers_too(server, stickers, tmp_path):
    (silent,) = ask(server, "silent", stickers[:1])
    assert silent == StickerAttributes(
        answers=dict.fromkeys(ATTRIBUTES, ""), states=dict.fromkeys(ATTRIBUTES, "unreadable")
    )
    store = GenerationStore(tmp_path / "store.jsonl")
    (half,) = describe(stickers[:1], EndpointAttributes(server, "surrogate"), store)
    assert half.gesture == ("waving ?",)
    assert describe(stickers[:1], EndpointAttributes(server, "surrogate"), GenerationStore(store.path)) == [half]


def test_a_killed_generation_goes_on_to_the_same_store(server, stickers, tmp_path):
    pictures = [str(sticker.image) for sticker in stickers]
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    with subprocess.Popen([sys.executable, "-c", KILLED, server, str(killed), *pictures], cwd=ROOT) as process:
        while not killed.exists() or killed.read_bytes().count(b"\n") < 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    kept = len(GenerationStore(killed).entries())
    assert 2 <= kept < len(stickers)
    before = len(log(server))
    source = EndpointAttributes(server, "steady")
    said = describe(stickers, source, GenerationStore(killed))
    asked = [request["body"]["messages"][0]["content"][0]["image_url"]["url"] for request in log(server)]
    addresses = [data_address(sticker.image) for sticker in stickers]
    assert asked[before:] == [address for address in addresses[kept:] for _ in ATTRIBUTES]
    assert describe(stickers, source, GenerationStore(whole)) == said
    assert killed.read_bytes() == whole.read_bytes()


def test_the_store_tells_how_often_answers_could_not_be_read(server, stickers, tmp_path):
    store = GenerationStore(tmp_path / "store.jsonl")
    assert parse_states(store).empty
    store.fetch([{"task": "attributes", "source": "tagger", "image": "0"}], lambda _: [{"gesture": ["挥手"]}])
    describe(stickers, EndpointAttributes(server, "m"), store)
    describe(stickers[:1], EndpointAttributes(server, "silent"), store)
    rates = parse_states(store).set_index(["source", "attribute"])
    names = [EndpointAttributes(server, model).name for model in ("m", "silent")]
    assert list(rates.index) == [(name, attribute) for name in names for attribute in ATTRIBUTES]
    assert rates.loc[(names[0], "gesture")].to_dict() == {
        "answers": 6,
        "keywords": 1,
        "nothing": 0,
        "sentence": 0,
        "unreadable": 0,
        "failed": 0,
    }
    assert rates.loc[(names[0], "verbal"), "nothing"] == 1
    assert rates.loc[(names[1], "verbal"), ["answers", "unreadable", "failed"]].tolist() == [1, 1, 1]


def test_the_name_tells_model_prompt_and_decoding_but_no_address():
    name = EndpointAttributes("http://host:1/v1", "Qwen/Qwen2-VL-2B-Instruct", "secret").name
    assert name == f"Qwen/Qwen2-VL-2B-Instruct@endpoint/{PROMPT_VERSION}/greedy-48"
    assert EndpointAttributes("https://other/v1", "/home/somebody/tiny").name.startswith("tiny@endpoint/")


def test_the_environment_names_the_endpoint(server, stickers, monkeypatch):
    for variable in ("INTRA_ENDPOINT", "INTRA_ENDPOINT_MODEL", "INTRA_ENDPOINT_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(IntraError, match=r"^INTRA_ENDPOINT is ''; set it to"):
        ATTRIBUTE_SOURCES["endpoint"](None)
    monkeypatch.setenv("INTRA_ENDPOINT", server)
    with pytest.raises(IntraError, match=r"^INTRA_ENDPOINT_MODEL is not set; set it to"):
        ATTRIBUTE_SOURCES["endpoint"](None)
    monkeypatch.setenv("INTRA_ENDPOINT_MODEL", "locked")
    monkeypatch.setenv("INTRA_ENDPOINT_KEY", "secret")
    (said,) = ATTRIBUTE_SOURCES["endpoint"](None).describe(stickers[:1])
    assert said.states["gesture"] == "keywords"


@pytest.fixture
def transformers_server(tmp_path):
    """A checkpoint, and the base address of `transformers serve` with it."""
    folder = tiny_vlm(tmp_path / "tiny")
    # a penalty is a setting of the server's own, which no request of the standard can undo
    settings = json.loads((folder / "generation_config.json").read_text())
    del settings["repetition_penalty"]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("transformers", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "serve.log").open("w") as output:
        process = subprocess.Popen([program, "serve", str(folder), *options], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield folder, f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def test_a_server_of_transformers_answers_as_the_model_does_here(transformers_server, stickers):
    folder, address = transformers_server
    served = list(EndpointAttributes(address, str(folder)).describe(stickers[:1]))
    assert list(served[0].answers) == list(ATTRIBUTES) and all(served[0].answers.values())
    assert served == list(VisionLanguageAttributes(folder).describe(stickers[:1]))
