"""A model that speaks the wire formats that OpenAI, Anthropic and Gemini publish, and says one thing: it calls `run_code` once, with the
program it was told to run, and then repeats what it was answered.

It refuses, with status 400, what those services refuse: a tool without a schema, an answer to another call than its own.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List

import pytest

CALL_ID = "call_0123456789"
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


class Refused(Exception):
    """What a service would answer with status 400."""


def require(condition: Any, words: str) -> None:
    if not condition:
        raise Refused(words)


def check_schema(name: Any, description: Any, schema: Any) -> None:
    require(name == "run_code" and description, "a tool has a name and a description")
    require(isinstance(schema, dict) and schema["type"].lower() == "object", "a tool has a schema")
    require("code" in schema["properties"] and "code" in schema["required"], "the schema has code")


def chat(body: Dict[str, Any]) -> Dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/chat/create"""
    [tool] = body["tools"]
    require(tool["type"] == "function", "only functions")
    check_schema(tool["function"]["name"], tool["function"]["description"], tool["function"]["parameters"])
    first, last = next(m for m in body["messages"] if m["role"] == "user"), body["messages"][-1]
    message: Dict[str, Any] = {"role": "assistant", "content": None}
    if last["role"] == "tool":
        require(last["tool_call_id"] == CALL_ID and isinstance(text(last["content"]), str), "an answer to the call")
        message["content"] = text(last["content"])
    else:
        function = {"name": "run_code", "arguments": json.dumps({"code": text(first["content"])})}
        message["tool_calls"] = [{"id": CALL_ID, "type": "function", "function": function}]
    reason = "stop" if last["role"] == "tool" else "tool_calls"
    choice = {"index": 0, "finish_reason": reason, "message": message, "logprobs": None}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice], "usage": USAGE}


def responses(body: Dict[str, Any]) -> Dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/responses/create"""
    [tool] = body["tools"]
    require(tool["type"] == "function" and tool["strict"] is False, "a strict tool requires all its parameters")
    check_schema(tool["name"], tool["description"], tool["parameters"])
    last = body["input"][-1]
    if last.get("type") == "function_call_output":
        require(last["call_id"] == CALL_ID, "an answer to the call")
        content = {"type": "output_text", "text": last["output"], "annotations": []}
        item: Dict[str, Any] = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [content]}
    else:
        arguments = json.dumps({"code": body["input"][0]["content"]})
        item = {"type": "function_call", "id": "f", "call_id": CALL_ID, "name": "run_code", "arguments": arguments}
    return {
        "id": "r", "object": "response", "created_at": 1, "model": "fake", "status": "completed", "output": [item],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": body["tools"],
    }  # fmt: skip


def messages(body: Dict[str, Any]) -> Dict[str, Any]:
    """https://docs.anthropic.com/en/api/messages"""
    [tool] = body["tools"]
    check_schema(tool["name"], tool["description"], tool["input_schema"])
    require(body["max_tokens"] > 0, "max_tokens is required")
    last = body["messages"][-1]["content"]
    if isinstance(last, list) and last[0]["type"] == "tool_result":
        require(last[0]["tool_use_id"] == CALL_ID, "an answer to the call")
        require(set(last[0]) <= {"type", "tool_use_id", "content", "is_error", "cache_control"}, "no other fields")
        content: List[Dict[str, Any]] = [{"type": "text", "text": last[0]["content"]}]
    else:
        content = [{"type": "tool_use", "id": CALL_ID, "name": "run_code", "input": {"code": last}}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    reason = "tool_use" if content[0]["type"] == "tool_use" else "end_turn"
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "fake",
        "content": content,
        "stop_reason": reason,
        "usage": usage,
    }


def generate_content(body: Dict[str, Any]) -> Dict[str, Any]:
    """https://ai.google.dev/api/generate-content"""
    [tool] = body["tools"]
    [function] = either(tool, "functionDeclarations")
    check_schema(function["name"], function["description"], function["parameters"])
    last = body["contents"][-1]["parts"][0]
    answer = either(last, "functionResponse")
    if answer:
        require(answer["name"] == "run_code" and isinstance(answer["response"], dict), "an answer to the call")
        part: Dict[str, Any] = {"text": answer["response"].get("output") or answer["response"]["error"]}
    else:
        part = {"functionCall": {"id": CALL_ID, "name": "run_code", "args": {"code": last["text"]}}}
    return {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}]}


def either(thing: Dict[str, Any], name: str) -> Any:
    """A field in either spelling: JSON of protocol buffers has both."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return thing.get(name, thing.get(snake))


def text(content: Any) -> Any:
    """Content as it is, or as parts."""
    return content if not isinstance(content, list) else "".join(part["text"] for part in content)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        answers = {"/v1/chat/completions": chat, "/v1/responses": responses, "/v1/messages": messages}
        answer = answers.get(path, generate_content if path.endswith(":generateContent") else None)
        try:
            require(answer is not None, f"no such path: {path}")
            assert answer is not None
            status, said = 200, answer(body)
        except (Refused, KeyError, TypeError, ValueError) as error:
            status, said = 400, {"error": {"type": "invalid_request_error", "message": repr(error)}}
        payload = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """Where a fake model is, without a path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
