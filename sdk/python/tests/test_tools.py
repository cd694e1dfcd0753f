"""`fc.tools` in the hands of the providers' own packages, which talk to a fake model over the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Dict, List

import pytest

from fireclay import AsyncFireclay, Fireclay, Unauthenticated

from .test_transport import Service, problem

NOT_JSON = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
PROGRAM = "print(sum(range(101)))"


def test_openai_chat(fc: Fireclay, model_url: str) -> None:
    openai = pytest.importorskip("openai")
    messages: List[Any] = [{"role": "user", "content": PROGRAM}]
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="k", max_retries=0) as model:
        said = model.chat.completions.create(model="fake", messages=messages, tools=fc.tools.openai()).choices[0].message
        messages += [said, *(fc.tools.handle(call) for call in said.tool_calls)]
        said = model.chat.completions.create(model="fake", messages=messages, tools=fc.tools.openai()).choices[0].message
    assert said.content == "5050"


def test_openai_responses(fc: Fireclay, model_url: str) -> None:
    openai = pytest.importorskip("openai")
    told: List[Any] = [{"role": "user", "content": PROGRAM}]
    tools = fc.tools.openai(api="responses")
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="k", max_retries=0) as model:
        said = model.responses.create(model="fake", input=told, tools=tools)
        told += [*said.output, *(fc.tools.handle(call) for call in said.output)]
        said = model.responses.create(model="fake", input=told, tools=tools)
    assert said.output_text == "5050"


def test_anthropic(fc: Fireclay, model_url: str) -> None:
    anthropic = pytest.importorskip("anthropic")
    messages: List[Any] = [{"role": "user", "content": PROGRAM}]
    asked: Dict[str, Any] = {"model": "fake", "max_tokens": 9, "tools": fc.tools.anthropic()}
    with anthropic.Anthropic(base_url=model_url, api_key="k", max_retries=0) as model:
        said = model.messages.create(messages=messages, **asked)
        results = [fc.tools.handle(block) for block in said.content if block.type == "tool_use"]
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
        said = model.messages.create(messages=messages, **asked)
    assert said.content[0].text == "5050"


def test_gemini(fc: Fireclay, model_url: str) -> None:
    genai = pytest.importorskip("google.genai")
    contents: List[Any] = [{"role": "user", "parts": [{"text": PROGRAM}]}]
    config = {"tools": fc.tools.gemini(), "automatic_function_calling": {"disable": True}}
    model = genai.Client(api_key="k", http_options={"base_url": model_url})
    said = model.models.generate_content(model="fake", contents=contents, config=config)
    results = [fc.tools.handle(call) for call in said.function_calls]
    contents += [said.candidates[0].content, {"role": "user", "parts": results}]
    said = model.models.generate_content(model="fake", contents=contents, config=config)
    assert said.text == "5050"
    model.close()


def test_langchain(fc: Fireclay, url: str) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.messages import ToolMessage
    from langchain_core.utils.function_calling import convert_to_openai_tool

    from fireclay.integrations.langchain import run_code_tool

    tool = run_code_tool(fc, template="python")
    assert convert_to_openai_tool(tool)["function"]["parameters"]["required"] == ["code"]
    call = {"type": "tool_call", "id": "call_1", "name": "run_code", "args": {"code": PROGRAM, "language": "python"}}
    message = tool.invoke(call)
    assert isinstance(message, ToolMessage)
    assert (message.content, message.tool_call_id, message.artifact.outcome) == ("5050", "call_1", "completed")
    assert tool.invoke({"code": "print(input())", "stdin": "in"}) == "in"
    assert asyncio.run(tool.ainvoke({"code": PROGRAM})) == "5050"

    async def later() -> Any:
        async with AsyncFireclay(url) as client:
            return await run_code_tool(client).ainvoke({"code": "1/0"})

    assert asyncio.run(later()).endswith("ZeroDivisionError: division by zero\nexit code 1")


def test_smolagents(fc: Fireclay, model_url: str) -> None:
    pytest.importorskip("smolagents")
    from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model

    from fireclay.integrations.smolagents import RunCodeTool

    tool = RunCodeTool(fc)
    assert tool(code=PROGRAM) == "5050"
    assert tool(code="console.log(1)", language="javascript") == "1"

    class Scripted(Model):  # type: ignore[misc, unused-ignore]
        """Calls the tool, then ends with what it said."""

        def generate(self, messages: Any, tools_to_call_from: Any = None, **kwargs: Any) -> ChatMessage:
            assert "run_code" in [tool.name for tool in tools_to_call_from]
            seen = str(messages[-1].content)
            done = "5050" in seen
            name, arguments = ("final_answer", {"answer": "5050"}) if done else ("run_code", {"code": PROGRAM})
            function = ChatMessageToolCallFunction(name=name, arguments=arguments)
            calls = [ChatMessageToolCall(id="c", type="function", function=function)]
            return ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=calls)

    from smolagents import ToolCallingAgent

    agent = ToolCallingAgent(tools=[tool], model=Scripted(), max_steps=3, verbosity_level=0)
    assert agent.run("add up") == "5050"
    assert any("5050" in str(step.observations) for step in agent.memory.steps[1:-1] if hasattr(step, "observations"))


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (
            {"id": "1", "function": {"name": "run_code", "arguments": '{"code": "print(1)"}'}},
            {"role": "tool", "tool_call_id": "1", "content": "1"},
        ),
        (
            {"id": "1", "function": {"name": "run_code", "arguments": "{]"}},
            {"role": "tool", "tool_call_id": "1", "content": f"the arguments are not JSON: {NOT_JSON}"},
        ),
        (
            {"type": "tool_use", "id": "1", "name": "nope", "input": {}},
            {"type": "tool_result", "tool_use_id": "1", "content": "there is no tool 'nope', only 'run_code'", "is_error": True},
        ),
        (
            {"type": "tool_use", "id": "1", "name": "run_code", "input": {"code": 1}},
            {"type": "tool_result", "tool_use_id": "1", "content": "`code` is missing, or not a string", "is_error": True},
        ),
        (
            {"functionCall": {"name": "run_code", "args": {"code": "print(1)"}}},
            {"function_response": {"name": "run_code", "response": {"output": "1"}}},
        ),
        (
            {"type": "function_call", "call_id": "1", "name": "run_code", "arguments": '{"code": ""}'},
            {"type": "function_call_output", "call_id": "1", "output": "(no output)"},
        ),
    ],
)  # fmt: skip
def test_calls_as_json(fc: Fireclay, call: Any, answer: Any) -> None:
    assert fc.tools.handle(call) == answer


def test_a_model_is_told_all_that_helps(fc: Fireclay) -> None:
    def told(code: str, **options: Any) -> str:
        call = {"id": "1", "function": {"name": "run_code", "arguments": json.dumps({"code": code})}}
        return str(fc.tools.handle(call, **options)["content"])

    assert told("open('f', 'w').write('abc')") == "value: 3\nfiles: f (3 bytes)"
    assert told("while True: pass", limits={"timeout_ms": 100}) == "ended: timed_out (limits hit: timeout)"
    assert told("import os; os.kill(os.getpid(), 9)") == "ended by SIGKILL"
    long = told("print('a' * 10000 + 'b' * 10000)")
    assert len(long) < 17000 and "[4000 characters left out]" in long
    assert "unknown language" in str(fc.tools.call({"code": "1", "language": "cobol"}).text)
    with pytest.raises(TypeError, match="not a tool call"):
        fc.tools.handle({"hello": 1})


def test_a_model_is_not_told_of_the_callers_troubles() -> None:
    with pytest.raises(Unauthenticated):
        Service(problem(401)).client().tools.call({"code": "1"})


def test_a_sessions_tools_keep_what_calls_leave(fc: Fireclay) -> None:
    def call(code: str, **more: Any) -> Dict[str, Any]:
        return {"type": "tool_use", "id": "c", "name": "run_code", "input": {"code": code, **more}}

    with fc.session(language="bash") as s:
        assert s.tools.handle(call("x = 41; open('f', 'w').write('kept')"))["is_error"] is False
        assert s.tools.handle(call("print(x + 1)"))["content"] == "42"
        assert s.tools.handle(call("cat f", language="bash"))["content"] == "kept"
        assert "NameError" in fc.tools.handle(call("x"))["content"]
        said = [
            json.dumps(tools) for tools in (s.tools.openai(), s.tools.openai("responses"), s.tools.anthropic(), s.tools.gemini())
        ]
        assert all("there for the next call" in text for text in said)
    assert "Nothing is kept" in json.dumps(fc.tools.openai())
