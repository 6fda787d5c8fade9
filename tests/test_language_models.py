"""Language models here and behind a server: tiny chat models, and `transformers serve` with one of them."""

import json
import time

import pytest
from answer_server import Refused, answering
from tiny_chat import CHAT, serving, tiny_chat

from intra.errors import IntraError
from intra.generation.language_models import (
    LANGUAGE_MODELS,
    LocalModel,
    ServedModel,
    command,
    folded,
    language_model,
    rendered,
)

TOKENS = 12
CONVERSATIONS = [
    [
        {"role": "system", "content": "回答只写一个对象"},
        {"role": "user", "content": "意图"},
        {"role": "assistant", "content": "手势"},
        {"role": "user", "content": text},
    ]
    for text in ("表情", "对话：\n我：你好\nA：发哪一张", "文字", "姿势 gesture", "user")
]
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHAT
DROPS_SYSTEM = CHAT.replace(
    "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
)
WANTS_PARTS = CHAT.replace(
    "{{ message.content }}", "{% for part in message.content if part.type is defined %}{{ part.text }}{% endfor %}"
)


@pytest.fixture(scope="module", autouse=True)
def settings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        for variable in ("INTRA_ENDPOINT", "INTRA_ENDPOINT_MODEL", "INTRA_ENDPOINT_KEY", "INTRA_MODELS"):
            patch.delenv(variable, raising=False)
        patch.setattr("intra.generation.language_models.ANSWER_TOKENS", TOKENS)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_chat(tmp_path_factory.mktemp("chat") / "tiny")


@pytest.fixture(scope="module")
def answers(checkpoint):
    return list(LocalModel(checkpoint).answer(CONVERSATIONS))


def greedy_by_hand(folder, conversation):
    """Token by token, the prompt written out as text, a whole pass for each token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in conversation)
    ids = tokenizer(turns + "<|im_start|>assistant\n", return_tensors="pt")["input_ids"]
    asked = ids.shape[1]
    while ids.shape[1] < asked + TOKENS:
        with torch.inference_mode():
            token = model(ids, use_cache=False).logits[:, -1:].argmax(-1)
        if token.item() == tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, token], 1)
    return tokenizer.decode(ids[0, asked:], skip_special_tokens=True)


def test_an_answer_is_decoded_greedily_and_alone(checkpoint, answers):
    assert json.loads((checkpoint / "generation_config.json").read_text())["do_sample"]  # as real ones: no effect
    assert answers == [greedy_by_hand(checkpoint, conversation) for conversation in CONVERSATIONS]
    assert list(LocalModel(checkpoint, batch_size=1).answer(CONVERSATIONS)) == answers
    assert len(set(answers)) == len(answers) and all(answers)


def test_a_server_of_transformers_answers_as_the_model_does_here(checkpoint, answers, tmp_path, monkeypatch):
    monkeypatch.setitem(LANGUAGE_MODELS, "tiny", str(checkpoint))
    assert isinstance(language_model("tiny"), LocalModel)
    assert list(language_model("tiny").answer(CONVERSATIONS)) == answers
    with serving(checkpoint, tmp_path / "serve.log") as address:
        monkeypatch.setenv("INTRA_ENDPOINT", address)
        monkeypatch.setenv("INTRA_ENDPOINT_MODEL", str(checkpoint))
        assert isinstance(language_model("tiny"), ServedModel)
        assert list(language_model("tiny").answer(CONVERSATIONS)) == answers


@pytest.mark.parametrize("template", [REFUSES_SYSTEM, DROPS_SYSTEM])
def test_instructions_go_to_the_first_user_where_a_template_has_no_place_for_them(
    tmp_path, checkpoint, answers, template
):
    model = LocalModel(tiny_chat(tmp_path / "tiny", template))
    expected = [greedy_by_hand(checkpoint, folded(conversation)) for conversation in CONVERSATIONS]
    assert list(model.answer(CONVERSATIONS)) == expected != answers


def test_a_template_for_lists_of_parts_gets_them(tmp_path, answers):
    assert list(LocalModel(tiny_chat(tmp_path / "tiny", WANTS_PARTS)).answer(CONVERSATIONS)) == answers


def test_a_model_that_also_sees_answers_text(tmp_path):
    from tiny_vlm import tiny_vlm

    assert len(list(LocalModel(tiny_vlm(tmp_path / "seeing")).answer(CONVERSATIONS))) == len(CONVERSATIONS)


def test_a_template_that_leaves_messages_out_is_refused():
    with pytest.raises(IntraError, match=r"does not take the conversation \(it leaves messages out\)"):
        rendered(CONVERSATIONS[0], lambda conversation: "nothing")


def test_folding_keeps_every_word_and_the_turns():
    assert folded(CONVERSATIONS[0]) == [
        {"role": "user", "content": "回答只写一个对象\n\n意图"},
        *CONVERSATIONS[0][2:],
    ]
    assert folded(CONVERSATIONS[0][1:]) == CONVERSATIONS[0][1:]


def test_a_server_is_asked_deterministically_and_answers_keep_their_order():
    bodies = []

    def reply(body):
        bodies.append(body)
        asked = body["messages"][-1]["content"]
        time.sleep(0.2 if asked == "表情" else 0)  # the first answer comes last
        return asked

    with answering(reply) as address:
        said = list(ServedModel(address, "m").answer(CONVERSATIONS))
    assert said == [conversation[-1]["content"] for conversation in CONVERSATIONS]
    (decoding,) = {json.dumps({k: v for k, v in body.items() if k != "messages"}, sort_keys=True) for body in bodies}
    assert json.loads(decoding) == {"model": "m", "temperature": 0, "top_p": 1, "seed": 0, "max_tokens": TOKENS}
    assert sorted(map(str, (body["messages"] for body in bodies))) == sorted(map(str, CONVERSATIONS))


def test_a_server_that_refuses_the_system_gets_its_words_from_the_user():
    asked = []

    def reply(body):
        asked.append(body["messages"])
        if body["messages"][0]["role"] == "system":
            raise Refused("System role not supported")
        return body["messages"][0]["content"]

    with answering(reply) as address:
        model = ServedModel(address, "m")
        assert list(model.answer(CONVERSATIONS[:1])) == ["回答只写一个对象\n\n意图"]
        assert list(model.answer(CONVERSATIONS[1:3])) == ["回答只写一个对象\n\n意图"] * 2
    assert [messages[0]["role"] for messages in asked] == ["system", *["user"] * 3]


def test_a_server_that_refuses_everything_is_told_in_one_line():
    def reply(body):
        raise Refused("prompt too long")

    with answering(reply) as address, pytest.raises(IntraError, match=r"status 400 \(.*prompt too long.*\)"):
        list(ServedModel(address, "m").answer(CONVERSATIONS))


def test_names_tell_model_revision_and_decoding(checkpoint, tmp_path):
    name = LocalModel(checkpoint).name
    assert name.startswith("tiny@") and name.endswith("/greedy-160")
    other = tiny_chat(tmp_path / "tiny", WANTS_PARTS)
    assert LocalModel(other).name != name  # the template decides answers too
    assert (
        ServedModel("http://host:1/v1", "Qwen/Qwen2-7B-Instruct").name == "Qwen/Qwen2-7B-Instruct@endpoint/greedy-160"
    )


def test_a_row_is_called_after_the_model_that_answers(monkeypatch):
    monkeypatch.setenv("INTRA_ENDPOINT", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("INTRA_ENDPOINT_MODEL", "Qwen/Qwen2-0.5B-Instruct")
    with pytest.raises(
        IntraError, match=r"^INTRA_ENDPOINT_MODEL is 'Qwen/Qwen2-0.5B-Instruct', but Qwen2 is Qwen/Qwen2-7B"
    ):
        language_model("Qwen2")
    monkeypatch.setenv("INTRA_ENDPOINT_MODEL", "/models/Qwen2-7B-Instruct")
    assert language_model("Qwen2").model == "/models/Qwen2-7B-Instruct"
    with pytest.raises(IntraError, match=r"unknown language model 'Qwen3' \(did you mean 'Qwen2'\?\)"):
        language_model("Qwen3")


def test_a_checkpoint_that_is_not_here_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(IntraError, match=r"^the language model no/such cannot be loaded .* set INTRA_ENDPOINT and"):
        next(LocalModel("no/such").answer(CONVERSATIONS))


def test_the_command_of_a_row_sets_its_checkpoint():
    assert command("Llama 3") == (
        "INTRA_ENDPOINT=http://HOST:PORT/v1 INTRA_ENDPOINT_MODEL=meta-llama/Meta-Llama-3-8B-Instruct "
        '.venv/bin/intra study language_models --label "Llama 3"'
    )
