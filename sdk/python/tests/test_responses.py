"""OpenAI's own client against `/v1/responses`: what ran here is seen as calls of its code interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from .test_chat import PROVIDER_KEY, SCHEMA, runs, service
from .test_model_server import SERVER

QUESTION = "What is the sum of the numbers from 1 to 100?"
WEATHER: Any = {"type": "function", "name": "weather", "description": "says it", "parameters": SCHEMA, "strict": False}

pytestmark = pytest.mark.skipif(not SERVER.exists(), reason="only in the repository")


def answer(client: Any, stream: bool, **asked: Any) -> Any:
    """The whole answer, however it comes: OpenAI's helper puts a stream together, and fails where its pieces do not fit."""
    asked = {"model": "gpt-5-mini", "input": QUESTION, **asked}
    if not stream:
        return client.responses.create(**asked)
    with client.responses.stream(**asked) as events:
        return events.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
def test_code_is_run_and_seen(tmp_path: Path, stream: bool) -> None:
    turns: List[Dict[str, Any]] = [
        {"text": "I add them up.", "calls": [runs("print(sum(range(101)))")], "input": 400, "output": 30, "cached": 10},
        {"expect": ["5050"], "text": "The sum is 5050. ✓", "input": 500, "output": 20},
    ]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        said = answer(client, stream, instructions="Be brief.", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
        assert [item.type for item in said.output] == ["message", "code_interpreter_call", "message"]
        words, ran, last = said.output
        assert (words.content[0].text, last.content[0].text) == ("I add them up.", "The sum is 5050. ✓")
        assert said.output_text == "I add them up.The sum is 5050. ✓"
        assert ran.code == "print(sum(range(101)))" and "5050" in ran.outputs[0].logs
        [listed] = fireclay.ask("GET", "/v1/runs")["items"]
        assert (ran.container_id, ran.model_extra["fireclay"]["run"]) == (listed["session"], listed["id"])
        assert (said.status, said.model, said.instructions) == ("completed", "gpt-5-mini", "Be brief.")
        usage = said.usage
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (900, 50, 950)
        assert usage.input_tokens_details.cached_tokens == 10


def test_what_happens_is_told_as_it_does(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [{"text": "I add.", "calls": [runs("print(1)")]}, {"text": "It is 1."}]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        events = list(client.responses.create(model="default", input=QUESTION, stream=True))
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == "I add.It is 1." and len(deltas) > 2
        interpreting = kinds.index("response.code_interpreter_call.interpreting")
        assert kinds.index("response.output_text.done") < interpreting < len(kinds) - kinds[::-1].index("response.output_text.delta")
        assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("remembered", [False, True])
def test_the_clients_functions_are_its_own(tmp_path: Path, stream: bool, remembered: bool) -> None:
    weather = {"name": "weather", "arguments": {"city": "Paris"}}
    turns: List[Dict[str, Any]] = [
        {"calls": [runs("x = 41; print('counted')"), weather, weather]},
        {"expect": ["sunny", "rainy"], "calls": [runs("print(x + 1)")]},
        {"expect": ["42"], "text": "42, and sunny."},
        {"text": "As I said: 42."},
    ]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        first = answer(client, stream, tools=[WEATHER])
        calls = [item for item in first.output if item.type == "function_call"]
        assert len(calls) == 2 and json.loads(calls[0].arguments) == {"city": "Paris"} and calls[0].call_id != calls[1].call_id
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": output}
            for call, output in zip(calls, ["sunny", "rainy"])
        ]
        items: List[Any] = [{"role": "user", "content": QUESTION}, *(item.model_dump(exclude_none=True) for item in first.output)]
        asked = {"input": results, "previous_response_id": first.id} if remembered else {"input": [*items, *results]}
        last = answer(client, stream, tools=[WEATHER], **asked)
        assert (last.status, last.output_text) == ("completed", "42, and sunny.")
        # What the second request ran, it ran where the first had.
        listed = fireclay.ask("GET", "/v1/runs")["items"]
        assert len(listed) == 2 and len({run["session"] for run in listed}) == 1
        # The provider was shown code of both answers, and what came of it.
        again = answer(client, stream, input="Sure?", previous_response_id=last.id)
        assert again.output_text == "As I said: 42."


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
            said = answer(client, stream, text_format=sum_of)
        else:
            said = client.responses.parse(model="default", input=QUESTION, text_format=sum_of)
        assert said.output_parsed.total == 5050


def test_a_session_is_the_container(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [{"calls": [runs("print(y + 1)")]}, {"expect": ["42"], "text": "42"}]
    with service(tmp_path, turns) as fireclay, fireclay.client() as client:
        session = fireclay.ask("POST", "/v1/sessions", {})["id"]
        fireclay.ask("POST", f"/v1/sessions/{session}/runs", {"code": "y = 41"})
        said = answer(client, False, tools=[{"type": "code_interpreter", "container": session}])
        assert said.output_text == "42" and said.output[0].container_id == session
        assert fireclay.ask("GET", f"/v1/sessions/{session}")["state"] == "open"


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_openais(tmp_path: Path, stream: bool) -> None:
    openai = pytest.importorskip("openai")
    refused = {"message": "no such thing", "type": "invalid_request_error", "param": "seed", "code": "bad_seed"}
    turns: List[Dict[str, Any]] = [
        {"status": 400, "error": refused},
        {"status": 401, "error": {"message": f"Incorrect API key provided: {PROVIDER_KEY}"}},
        {"text": "I can", "stop": "length"},
        {"calls": [runs("print(1)")]}, {"calls": [runs("print(2)")]},
    ]  # fmt: skip
    with service(tmp_path, turns, "model.turns=2") as fireclay, fireclay.client() as client:
        with pytest.raises(openai.BadRequestError) as wrong:
            answer(client, stream)
        assert (wrong.value.code, wrong.value.type) == ("bad_seed", "invalid_request_error")
        with pytest.raises(openai.InternalServerError) as failed:
            answer(client, stream)
        assert failed.value.status_code == 503 and PROVIDER_KEY not in str(failed.value)
        cut = client.responses.create(model="default", input=QUESTION)
        assert (cut.status, cut.incomplete_details.reason, cut.output_text) == ("incomplete", "max_output_tokens", "I can")
        # It came when something had been said: a stream tells it as its last event.
        if stream:
            events = list(client.responses.create(model="default", input=QUESTION, stream=True))
            assert events[-1].type == "error" and "budget_exceeded: the turns" in events[-1].message
        else:
            with pytest.raises(openai.BadRequestError, match="budget_exceeded: the turns"):
                answer(client, stream)
        refused_here: List[Dict[str, Any]] = [
            {"background": True}, {"previous_response_id": "resp_none"}, {"tools": [{"type": "web_search"}]},
        ]  # fmt: skip
        for asked in refused_here:
            with pytest.raises(openai.BadRequestError):
                client.responses.create(model="default", input=QUESTION, **asked)
        with pytest.raises(openai.NotFoundError):
            answer(client, stream, extra_headers={"x-fireclay-session": "ses_none"})
