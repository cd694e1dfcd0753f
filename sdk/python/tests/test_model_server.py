"""The official clients of OpenAI and Anthropic hold the scripted model of tests/agent to what their services say: what `fireclay agent` is
tested against is no invention of ours."""

from __future__ import annotations

import importlib.util
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

SERVER = Path(__file__).resolve().parents[3] / "tests" / "agent" / "model_server.py"
CALL = {"name": "run_code", "arguments": {"code": "print('ü')", "language": "python"}}
TURNS: List[Dict[str, Any]] = [
    {"text": "I add them up.", "calls": [CALL, CALL], "input": 412, "output": 38, "cached": 12},
    {"expect": ["5050"], "text": "The sum is 5050. ✓", "input": 478, "output": 17},
]
SCHEMA = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}

pytestmark = pytest.mark.skipif(not SERVER.exists(), reason="only in the repository")


@contextmanager
def saying(turns: List[Dict[str, Any]]) -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("model_server", SERVER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Script(turns) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()


@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions(stream: bool) -> None:
    openai = pytest.importorskip("openai")
    tools = [{"type": "function", "function": {"name": "run_code", "description": "runs", "parameters": SCHEMA}}]
    messages: List[Any] = [{"role": "user", "content": "?"}]
    with saying(TURNS) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:

        def ask() -> Any:
            if not stream:
                return client.chat.completions.create(model="m", messages=messages, tools=tools)
            # This helper puts the pieces together, and fails where they do not fit.
            options = {"include_usage": True}
            with client.chat.completions.stream(model="m", messages=messages, tools=tools, stream_options=options) as events:
                return events.get_final_completion()

        first = ask()
        assert first.usage.prompt_tokens == 412 and first.usage.completion_tokens == 38
        assert first.usage.prompt_tokens_details.cached_tokens == 12
        choice = first.choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.content == "I add them up."
        assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == [CALL["arguments"]] * 2
        messages.append({"role": "assistant", "content": "", "tool_calls": [call.model_dump() for call in choice.message.tool_calls]})
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "5050"} for call in choice.message.tool_calls]
        last = ask().choices[0]
        assert (last.finish_reason, last.message.content) == ("stop", "The sum is 5050. ✓")


@pytest.mark.parametrize("stream", [False, True])
def test_responses(stream: bool) -> None:
    openai = pytest.importorskip("openai")
    tools: List[Any] = [{"type": "function", "name": "run_code", "description": "runs", "parameters": SCHEMA, "strict": False}]
    items: List[Any] = [{"role": "user", "content": "?"}]
    with saying(TURNS) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:

        def ask() -> Any:
            if not stream:
                return client.responses.create(model="m", input=items, tools=tools)
            with client.responses.stream(model="m", input=items, tools=tools) as events:
                return events.get_final_response()

        first = ask()
        assert (first.usage.input_tokens, first.usage.output_tokens) == (412, 38)
        calls = [item for item in first.output if item.type == "function_call"]
        assert [json.loads(call.arguments) for call in calls] == [CALL["arguments"]] * 2
        items += [{"type": "function_call", "call_id": it.call_id, "name": it.name, "arguments": it.arguments} for it in calls]
        items += [{"type": "function_call_output", "call_id": it.call_id, "output": "5050"} for it in calls]
        assert ask().output_text == "The sum is 5050. ✓"


@pytest.mark.parametrize("stream", [False, True])
def test_messages(stream: bool) -> None:
    anthropic = pytest.importorskip("anthropic")
    tools: List[Any] = [{"name": "run_code", "description": "runs", "input_schema": SCHEMA}]
    messages: List[Any] = [{"role": "user", "content": "?"}]
    with saying(TURNS) as url, anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:

        def ask() -> Any:
            asked: Dict[str, Any] = {"model": "m", "max_tokens": 100, "messages": messages, "tools": tools}
            if not stream:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

        first = ask()
        assert first.stop_reason == "tool_use" and first.content[0].text == "I add them up."
        assert (first.usage.input_tokens, first.usage.cache_read_input_tokens, first.usage.output_tokens) == (400, 12, 38)
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [CALL["arguments"]] * 2
        uses = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in calls]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "5050"} for call in calls]
        messages.extend([{"role": "assistant", "content": uses}, {"role": "user", "content": results}])
        last = ask()
        assert (last.stop_reason, last.content[0].text) == ("end_turn", "The sum is 5050. ✓")


def test_errors() -> None:
    openai, anthropic = pytest.importorskip("openai"), pytest.importorskip("anthropic")
    limited = {"status": 429, "retry_after": "0.05", "error": {"type": "rate_limit_error", "message": "slow down"}}
    asked: Dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    with saying([limited, {"text": "then"}]) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=1) as client:
        assert client.chat.completions.create(**asked).choices[0].message.content == "then"
        with pytest.raises(openai.BadRequestError, match="the conversation is over"):
            client.chat.completions.create(**asked)
    with saying([limited, {}]) as url, anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError, match="slow down"):
            client.messages.create(max_tokens=1, **asked)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            client.messages.create(max_tokens=0, **asked)
