"""OpenAI's own client against `/v1/chat/completions`: it gains a code interpreter by its base URL, and loses nothing. Behind the
service is the scripted model of tests/agent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from fireclay import FireclayError, _local

from .test_model_server import SERVER, saying

PROVIDER_KEY = "sk-test-51Hq9Zk2Lw8Vb4Xc"
QUESTION: List[Any] = [{"role": "user", "content": "What is the sum of the numbers from 1 to 100?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "says it", "parameters": SCHEMA}}

pytestmark = pytest.mark.skipif(not SERVER.exists(), reason="only in the repository")


def runs(code: str) -> Dict[str, Any]:
    return {"name": "run_code", "arguments": {"code": code}}


class Service:
    """A service with a tenant's key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = ""
        # The first is an administrator's.
        self.key = self.ask("POST", "/v1/keys", {"role": "admin"})["key"]
        self.key = self.ask("POST", "/v1/keys", {"role": "tenant", "tenant": "acme"})["key"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        if not self.key:
            del headers["authorization"]
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            return json.load(answer)

    def client(self, **options: Any) -> Any:
        openai = pytest.importorskip("openai")
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, **options)


@contextmanager
def service(tmp_path: Path, turns: List[Dict[str, Any]], *settings: str) -> Iterator[Service]:
    try:
        program = _local.program()
    except FireclayError:
        pytest.skip("this wheel has no program")
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    images = os.environ.get("FIRECLAY_TEST_IMAGES")
    if images and not (data / "images").exists():
        (data / "images").symlink_to(images)
    with saying(turns) as model:
        said = ["model.name=openai:gpt-5-mini", f"model.base_url={model}/v1", *settings]
        command = [program, "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        command += [word for setting in said for word in ("--set", setting)]
        environment = {**os.environ, "OPENAI_API_KEY": PROVIDER_KEY}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                assert process.stdout is not None
                found = re.search(r"serves (http://\S+)", process.stdout.readline())
                assert found, "the service did not start"
                yield Service(found[1])
            finally:
                process.terminate()


def complete(client: Any, stream: bool, **asked: Any) -> Any:
    """The whole completion, however it comes: OpenAI's helper puts a stream together, and fails where its pieces do not fit."""
    asked = {"model": "gpt-5-mini", "messages": QUESTION, **asked}
    if not stream:
        return client.chat.completions.create(**asked)
    with client.chat.completions.stream(stream_options={"include_usage": True}, **asked) as events:
        return events.get_final_completion()


@pytest.mark.parametrize("stream", [False, True])
def test_code_is_run_and_the_answer_comes_back(tmp_path: Path, stream: bool) -> None:
    turns: List[Dict[str, Any]] = [
        {"text": "I add them up.", "calls": [runs("print(sum(range(101)))")], "input": 400, "output": 30, "cached": 10},
        {"expect": ["5050"], "text": "The sum is 5050. ✓", "input": 500, "output": 20},
    ]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        completion = complete(client, stream)
        choice = completion.choices[0]
        assert choice.message.content == "I add them up.\n\nThe sum is 5050. ✓"
        assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
        usage = completion.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (900, 50, 950)
        assert usage.prompt_tokens_details.cached_tokens == 10
        assert completion.model == "gpt-5-mini" and completion.id.startswith("chatcmpl-")
        listed = fireclay.ask("GET", "/v1/runs")["items"]
        assert [run["outcome"] for run in listed] == ["completed"]
        if not stream:
            assert choice.model_extra["fireclay"] == {"session": listed[0]["session"], "runs": [listed[0]["id"]]}


def test_words_come_as_they_are_said(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [{"text": "I add.", "calls": [runs("print(1)")]}, {"text": "It is 1."}]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        chunks = list(client.chat.completions.create(model="default", messages=QUESTION, stream=True))
        said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
        assert "".join(said) == "I add.\n\nIt is 1." and len(said) > 2
        last = chunks[-1].choices[0]
        assert last.finish_reason == "stop" and len(last.model_extra["fireclay"]["runs"]) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_tools_are_its_own(tmp_path: Path, stream: bool) -> None:
    weather = {"name": "weather", "arguments": {"city": "Paris"}}
    turns: List[Dict[str, Any]] = [
        {"calls": [runs("x = 41; print('counted')")]},
        # Both kinds in one turn.
        {"expect": ["counted"], "calls": [runs("x += 1; print('ready')"), weather, weather]},
        {"expect": ["ready", "sunny", "rainy"], "calls": [runs("print(x)")]},
        {"expect": ["42"], "text": "42, and sunny."},
    ]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        first = complete(client, stream, tools=[WEATHER]).choices[0]
        calls = first.message.tool_calls
        assert first.finish_reason == "tool_calls" and [call.function.name for call in calls] == ["weather"] * 2
        assert json.loads(calls[0].function.arguments) == {"city": "Paris"} and calls[0].id != calls[1].id
        messages = [*QUESTION, {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]}]
        for call, result in zip(calls, ["sunny", "rainy"]):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        last = complete(client, stream, tools=[WEATHER], messages=messages).choices[0]
        assert (last.finish_reason, last.message.content) == ("stop", "42, and sunny.")
        # What the second request ran, it ran where the first had: then the session ended.
        listed = fireclay.ask("GET", "/v1/runs")["items"]
        assert len(listed) == 3 and len({run["session"] for run in listed}) == 1


def test_a_session_is_named_by_a_header(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [{"calls": [runs("print(y + 1)")]}, {"expect": ["42"], "text": "42"}]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        session = fireclay.ask("POST", "/v1/sessions", {})["id"]
        fireclay.ask("POST", f"/v1/sessions/{session}/runs", {"code": "y = 41"})
        asked = {"model": "default", "messages": QUESTION, "extra_headers": {"x-fireclay-session": session}}
        answer = client.chat.completions.with_raw_response.create(**asked)
        assert answer.parse().choices[0].message.content == "42"
        assert answer.headers["x-fireclay-session"] == session and answer.headers["x-fireclay-runs"].startswith("run_")
        assert fireclay.ask("GET", f"/v1/sessions/{session}")["state"] == "open"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_the_form_that_was_asked_for(tmp_path: Path, stream: bool) -> None:
    pydantic = pytest.importorskip("pydantic")
    sum_of = pydantic.create_model("Sum", total=(int, ...))
    turns: List[Dict[str, Any]] = [
        {"text": "I add.", "calls": [runs("print(sum(range(101)))")]},
        {"expect": ["5050"], "text": '{"total": 5050}'},
    ]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        if stream:
            message = complete(client, stream, response_format=sum_of).choices[0].message
        else:
            parsed = client.chat.completions.parse(model="default", messages=QUESTION, response_format=sum_of)
            message = parsed.choices[0].message
        assert message.content == '{"total": 5050}' and message.parsed.total == 5050


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(tmp_path: Path, stream: bool) -> None:
    with service(tmp_path, [{"text": "one"}, {"text": "two"}]) as fireclay, fireclay.client() as client:
        completion = complete(client, stream, n=2)
        assert sorted(choice.message.content for choice in completion.choices) == ["one", "two"]
        assert [choice.index for choice in completion.choices] == [0, 1] and completion.usage.prompt_tokens == 200


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_openais(tmp_path: Path, stream: bool) -> None:
    openai = pytest.importorskip("openai")
    refused = {"message": "no such thing", "type": "invalid_request_error", "param": "seed", "code": "bad_seed"}
    turns: List[Dict[str, Any]] = [
        {"status": 400, "error": refused},
        {"status": 404, "error": {**refused, "code": "model_not_found"}},
        {"status": 401, "error": {"message": f"Incorrect API key provided: {PROVIDER_KEY}"}},
        {"raw": "<html>"}, {"raw": "<html>"},
        {"calls": [runs("print(1)")]}, {"calls": [runs("print(2)")]},
    ]  # fmt: skip
    with service(tmp_path, turns, "model.turns=2") as fireclay, fireclay.client() as client:
        with pytest.raises(openai.BadRequestError) as wrong:
            complete(client, stream, seed=1)
        assert (wrong.value.code, wrong.value.param, wrong.value.type) == ("bad_seed", "seed", "invalid_request_error")
        with pytest.raises(openai.NotFoundError):
            complete(client, stream, model="gpt-0")
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as failed:
                complete(client, stream)
            assert failed.value.status_code == 503 and PROVIDER_KEY not in str(failed.value)
        # It came when something had been said: a stream tells it as its last event.
        with pytest.raises(openai.APIError, match="budget_exceeded: the turns"):
            complete(client, stream)
        with pytest.raises(openai.BadRequestError, match="n is a number"):
            complete(client, stream, n=100)
        with pytest.raises(openai.NotFoundError):
            complete(client, stream, extra_headers={"x-fireclay-session": "ses_none"})
        fireclay.key = "fc_wrong"
        with pytest.raises(openai.AuthenticationError), fireclay.client() as stranger:
            complete(stranger, stream)
