"""A model that says what a file tells it to, over the wire formats that OpenAI, Anthropic and Gemini publish: whole or streamed, with tool
calls that come in pieces, errors, limits of rate, and broken answers.

    python3 model_server.py CONVERSATION.json        prints its address, serves until it is killed

A conversation is {"turns": [TURN, ...]}; each request takes the next turn. A turn may have:

    expect      texts that must be in what was said since the last answer, else the request is answered 400
    text        what it says           calls       [{"name", "arguments"}], or "arguments_text" for JSON that is broken
    input, output, cached              tokens that it says it used; 0 and 0 are left out
    status, error, retry_after         an error instead
    raw         an answer that is not JSON           breaks_off  the stream ends in the middle
    whole       an answer that is not streamed, whatever was asked for
    stop        "length" or "refusal" instead of the usual reason

It refuses, with status 400, what those services refuse: a missing key, roles in the wrong order, an answer to no call. GET /requests has all
that it was sent. Standard library only; tests of the Python SDK hold it to the official clients of OpenAI and Anthropic.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Optional, Tuple

Json = Dict[str, Any]


class Refused(Exception):
    """What a service would answer with status 400."""


def require(condition: Any, words: str) -> None:
    if not condition:
        raise Refused(words)


def pieces(text: str, size: int = 7) -> List[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def texts(value: Any) -> Iterator[str]:
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from texts(item)


class Turn:
    """One answer of the script."""

    def __init__(self, said: Json, number: int) -> None:
        self.said, self.number = said, number
        self.text: str = said.get("text", "")
        self.calls: List[Tuple[str, str, str]] = [
            (f"call_{number}_{at}", call["name"], call.get("arguments_text", json.dumps(call.get("arguments", {}))))
            for at, call in enumerate(said.get("calls", []))
        ]
        self.input, self.output = said.get("input", 100), said.get("output", 20)
        self.cached = said.get("cached", 0)

    def as_call_of(self, name: str) -> None:
        """Says as a tool's call what it would have said in words."""
        self.calls, self.text = [(f"call_{self.number}_0", name, self.text)], ""

    def arguments(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return {}


class Chat:
    """https://platform.openai.com/docs/api-reference/chat"""

    def check(self, body: Json, headers: Json) -> List[Any]:
        require(headers.get("authorization", "").startswith("Bearer "), "a key is needed")
        messages = body["messages"]
        require(messages[0]["role"] in ("system", "developer", "user"), "it begins with the system or the user")
        asked: List[str] = []
        for message in messages:
            role = message["role"]
            require(role in ("system", "developer", "user", "assistant", "tool"), f"no such role: {role}")
            if role == "tool":
                require(message["tool_call_id"] in asked, "an answer to no call")
                asked.remove(message["tool_call_id"])
            else:
                require(not asked, f"calls without an answer: {asked}")
            if role == "assistant":
                require(isinstance(message.get("content"), str) or message.get("tool_calls"), "it says something")
                for call in message.get("tool_calls", []):
                    require(isinstance(call["function"]["arguments"], str), "arguments are text")
                    asked.append(call["id"])
        for tool in body.get("tools", []):
            require(tool["type"] == "function" and tool["function"]["parameters"]["type"] == "object", "tools have schemas")
        form = body.get("response_format", {"type": "text"})
        if form["type"] == "json_schema":
            require(form["json_schema"]["name"] and form["json_schema"]["schema"], "a schema has a name")
        if form["type"] == "json_object":
            require("json" in " ".join(texts(messages)).lower(), "the word JSON must be said")
        last = max((at for at, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
        return messages[last + 1 :]

    def reason(self, turn: Turn) -> str:
        known = {"length": "length", "refusal": "content_filter"}
        return known.get(turn.said.get("stop", ""), "tool_calls" if turn.calls else "stop")

    def usage(self, turn: Turn) -> Json:
        details = {"cached_tokens": turn.cached}
        return {
            "prompt_tokens": turn.input, "completion_tokens": turn.output, "total_tokens": turn.input + turn.output,
            "prompt_tokens_details": details,
        }  # fmt: skip

    def whole(self, body: Json, turn: Turn) -> Json:
        message: Json = {"role": "assistant", "content": turn.text or None, "refusal": None}
        if turn.calls:
            message["tool_calls"] = [
                {"id": call, "type": "function", "function": {"name": name, "arguments": text}}
                for call, name, text in turn.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.reason(turn), "logprobs": None}
        answer = {
            "id": f"chatcmpl-{turn.number}", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [choice],
        }  # fmt: skip
        return {**answer, "usage": self.usage(turn)} if turn.input or turn.output else answer

    def events(self, body: Json, turn: Turn) -> Iterator[Tuple[Optional[str], Any]]:
        def chunk(delta: Json, reason: Optional[str] = None) -> Tuple[None, Json]:
            choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
            return None, {
                "id": f"chatcmpl-{turn.number}", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                "choices": [choice],
            }  # fmt: skip

        yield chunk({"role": "assistant", "content": "" if not turn.calls else None})
        for piece in pieces(turn.text):
            yield chunk({"content": piece})
        for at, (call, name, text) in enumerate(turn.calls):
            first = {"index": at, "id": call, "type": "function", "function": {"name": name, "arguments": ""}}
            yield chunk({"tool_calls": [first]})
            for piece in pieces(text, 5):
                yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
        yield chunk({}, self.reason(turn))
        if body.get("stream_options", {}).get("include_usage") and (turn.input or turn.output):
            last = chunk({})[1]
            yield None, {**last, "choices": [], "usage": self.usage(turn)}
        yield None, "[DONE]"


class Responses:
    """https://platform.openai.com/docs/api-reference/responses"""

    def check(self, body: Json, headers: Json) -> List[Any]:
        require(headers.get("authorization", "").startswith("Bearer "), "a key is needed")
        items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
        asked: List[str] = []
        last = -1
        for at, item in enumerate(items):
            kind = item.get("type", "message")
            if kind == "function_call":
                asked.append(item["call_id"])
            if kind == "function_call_output":
                require(item["call_id"] in asked and isinstance(item["output"], str), "an answer to no call")
                asked.remove(item["call_id"])
            if kind == "function_call" or item.get("role") == "assistant":
                last = at
        require(not asked, f"calls without an answer: {asked}")
        for tool in body.get("tools", []):
            require(tool["type"] == "function" and tool["name"], "tools have names")
            require(tool["strict"] is False, "a strict tool requires all its parameters")
        return items[last + 1 :]

    def items(self, turn: Turn) -> List[Json]:
        items: List[Json] = []
        if turn.text:
            content = {"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []}
            items.append(
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [content]}
            )
        for call, name, text in turn.calls:
            items.append(
                {"type": "function_call", "id": f"fc_{call}", "call_id": call, "name": name, "arguments": text,
                 "status": "completed"}
            )  # fmt: skip
        return items

    def whole(self, body: Json, turn: Turn, status: str = "completed") -> Json:
        details: Any = None
        if turn.said.get("stop") and status == "completed":
            status = "incomplete"
            details = {"reason": "max_output_tokens" if turn.said["stop"] == "length" else "content_filter"}
        usage = {
            "input_tokens": turn.input, "output_tokens": turn.output, "total_tokens": turn.input + turn.output,
            "input_tokens_details": {"cached_tokens": turn.cached, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip
        return {
            "id": f"resp_{turn.number}", "object": "response", "created_at": 1, "status": status, "error": None,
            "incomplete_details": details, "instructions": body.get("instructions"), "model": body["model"],
            "output": self.items(turn) if status != "in_progress" else [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": body.get("tools", []), "usage": usage if status != "in_progress" else None,
            "metadata": {}, "temperature": 1.0, "top_p": 1.0,
        }  # fmt: skip

    def events(self, body: Json, turn: Turn) -> Iterator[Tuple[Optional[str], Any]]:
        number = -1

        def event(kind: str, **fields: Any) -> Tuple[str, Json]:
            nonlocal number
            number += 1
            return kind, {"type": kind, "sequence_number": number, **fields}

        yield event("response.created", response=self.whole(body, turn, "in_progress"))
        for at, item in enumerate(self.items(turn)):
            place: Json = {"item_id": item["id"], "output_index": at}
            if item["type"] == "message":
                part = item["content"][0]
                yield event("response.output_item.added", output_index=at, item={**item, "content": [], "status": "in_progress"})
                yield event("response.content_part.added", **place, content_index=0, part={**part, "text": ""})
                for piece in pieces(turn.text):
                    yield event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
                yield event("response.output_text.done", **place, content_index=0, text=turn.text, logprobs=[])
                yield event("response.content_part.done", **place, content_index=0, part=part)
            else:
                yield event("response.output_item.added", output_index=at, item={**item, "arguments": "", "status": "in_progress"})
                for piece in pieces(item["arguments"], 5):
                    yield event("response.function_call_arguments.delta", **place, delta=piece)
                yield event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
            yield event("response.output_item.done", output_index=at, item=item)
        last = self.whole(body, turn)
        yield event(f"response.{last['status']}", response=last)


class Messages:
    """https://docs.anthropic.com/en/api/messages"""

    def check(self, body: Json, headers: Json) -> List[Any]:
        bearer = headers.get("authorization", "").startswith("Bearer ")
        require(headers.get("x-api-key") or bearer, "a key is needed")
        version = headers.get("anthropic-version")
        require(version in ("2023-06-01", "2026-10-21"), "a version is needed")
        sampled = {"temperature", "top_p", "top_k"} & set(body)
        require(version == "2023-06-01" or not sampled, f"not in this version: {sampled}")
        require(body["max_tokens"] > 0, "max_tokens is required")
        require(not {"presence_penalty", "frequency_penalty"} & set(body), "no such field")
        asked: List[str] = []
        for at, message in enumerate(body["messages"]):
            require(message["role"] == ("user", "assistant")[at % 2], "user and assistant take turns")
            content = message["content"]
            require(content, "it says something")
            for block in content if isinstance(content, list) else []:
                if block["type"] == "tool_result":
                    require(block["tool_use_id"] in asked, "an answer to no call")
                    asked.remove(block["tool_use_id"])
            if message["role"] == "user":
                require(not asked, f"calls without an answer: {asked}")
            for block in content if isinstance(content, list) else []:
                if block["type"] == "tool_use":
                    require(isinstance(block["input"], dict), "input is an object")
                    asked.append(block["id"])
        for tool in body.get("tools", []):
            require(tool["name"] and tool["input_schema"]["type"] == "object", "tools have schemas")
        return body["messages"][-1:]

    def reason(self, turn: Turn) -> str:
        known = {"length": "max_tokens", "refusal": "refusal"}
        return known.get(turn.said.get("stop", ""), "tool_use" if turn.calls else "end_turn")

    def blocks(self, turn: Turn) -> List[Json]:
        blocks: List[Json] = [{"type": "text", "text": turn.text, "citations": None}] if turn.text else []
        for call, name, text in turn.calls:
            blocks.append({"type": "tool_use", "id": call, "name": name, "input": turn.arguments(text)})
        return blocks

    def whole(self, body: Json, turn: Turn) -> Json:
        usage = {"input_tokens": turn.input - turn.cached, "output_tokens": turn.output, "cache_read_input_tokens": turn.cached}
        return {
            "id": f"msg_{turn.number}", "type": "message", "role": "assistant", "model": body["model"],
            "content": self.blocks(turn), "stop_reason": self.reason(turn), "stop_sequence": None, "usage": usage,
        }  # fmt: skip

    def events(self, body: Json, turn: Turn) -> Iterator[Tuple[Optional[str], Any]]:
        def event(kind: str, **fields: Any) -> Tuple[str, Json]:
            return kind, {"type": kind, **fields}

        start = self.whole(body, turn)
        start.update(content=[], stop_reason=None, usage={**start["usage"], "output_tokens": 1})
        yield event("message_start", message=start)
        yield event("ping")
        for at, block in enumerate(self.blocks(turn)):
            if block["type"] == "text":
                yield event("content_block_start", index=at, content_block={"type": "text", "text": ""})
                for piece in pieces(turn.text):
                    yield event("content_block_delta", index=at, delta={"type": "text_delta", "text": piece})
            else:
                yield event("content_block_start", index=at, content_block={**block, "input": {}})
                text = next(text for call, _, text in turn.calls if call == block["id"])
                for piece in pieces(text, 5):
                    yield event("content_block_delta", index=at, delta={"type": "input_json_delta", "partial_json": piece})
            yield event("content_block_stop", index=at)
        delta = {"stop_reason": self.reason(turn), "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": turn.output})
        yield event("message_stop")


class Gemini:
    """https://ai.google.dev/api/generate-content"""

    def check(self, body: Json, headers: Json) -> List[Any]:
        require(headers.get("x-goog-api-key"), "a key is needed")
        asked: List[str] = []
        for at, content in enumerate(body["contents"]):
            require(content["role"] == ("user", "model")[at % 2], "user and model take turns")
            require(content["parts"], "it says something")
            for part in content["parts"]:
                if "functionCall" in part:
                    require(part.get("thoughtSignature"), "a call comes back with its signature")
                    asked.append(part["functionCall"]["name"])
                if "functionResponse" in part:
                    require(part["functionResponse"]["name"] in asked, "an answer to no call")
                    require(isinstance(part["functionResponse"]["response"], dict), "an answer is an object")
                    asked.remove(part["functionResponse"]["name"])
        require(not asked, f"calls without an answer: {asked}")
        require("additionalProperties" not in json.dumps(body), "no such field: additionalProperties")
        return body["contents"][-1:]

    def chunk(self, turn: Turn, parts: List[Json], reason: Optional[str] = None) -> Json:
        candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        usage = {"promptTokenCount": turn.input, "candidatesTokenCount": turn.output, "cachedContentTokenCount": turn.cached}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake", "responseId": f"r{turn.number}"}

    def parts(self, turn: Turn) -> List[Json]:
        calls = [{"name": name, "args": turn.arguments(text)} for _, name, text in turn.calls]
        return [{"functionCall": call, "thoughtSignature": "c2ln"} for call in calls]

    def reason(self, turn: Turn) -> str:
        return {"length": "MAX_TOKENS", "refusal": "SAFETY"}.get(turn.said.get("stop", ""), "STOP")

    def whole(self, body: Json, turn: Turn) -> Json:
        said = [{"text": turn.text}] if turn.text else []
        return self.chunk(turn, said + self.parts(turn), self.reason(turn))

    def events(self, body: Json, turn: Turn) -> Iterator[Tuple[Optional[str], Any]]:
        for piece in pieces(turn.text):
            yield None, self.chunk(turn, [{"text": piece}])
        for part in self.parts(turn):
            yield None, self.chunk(turn, [part])
        yield None, self.chunk(turn, [], self.reason(turn))


class Script(ThreadingHTTPServer):
    """The conversation, and what was sent."""

    daemon_threads = True

    def __init__(self, turns: List[Json], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.turns, self.requests, self.lock = turns, [], threading.Lock()  # type: ignore[var-annotated]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away when it has what it wants is none.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(self) -> Turn:
        number = len(self.requests)
        require(number <= len(self.turns), "the conversation is over")
        return Turn(self.turns[number - 1], number)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Script

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/requests":
            return self.answer(200, self.server.requests)
        self.answer(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        formats: Json = {"/v1/chat/completions": Chat(), "/v1beta/openai/chat/completions": Chat(), "/v1/responses": Responses(), "/v1/messages": Messages()}
        is_gemini = path.startswith("/v1beta/models/") and path.rpartition(":")[2] in ("generateContent", "streamGenerateContent")
        form: Any = formats.get(path, Gemini() if is_gemini else None)
        stream = body.get("stream", False) or (path.endswith(":streamGenerateContent") and query == "alt=sse")
        try:
            require(form, f"no such path: {path}")
            with self.server.lock:
                self.server.requests.append({"path": self.path, "headers": headers, "body": body})
                turn = self.server.take()
            fresh = form.check(body, headers)
            said = "\n".join(texts(fresh))
            for wanted in turn.said.get("expect", []):
                require(wanted in said, f"{wanted!r} is not in {said!r}")
        except (Refused, KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"refused: {error!r}", file=sys.stderr, flush=True)
            return self.answer(400, {"error": {"type": "invalid_request_error", "message": f"fake model: {error}"}})
        forced = body.get("tool_choice")
        if isinstance(forced, dict) and forced.get("type") == "tool":
            turn.as_call_of(forced["name"])
        if "status" in turn.said:
            error = turn.said.get("error", {"type": "error", "message": "scripted"})
            wait = turn.said.get("retry_after")
            return self.answer(turn.said["status"], {"type": "error", "error": error}, {"retry-after": wait} if wait else {})
        if "raw" in turn.said:
            return self.send(200, "application/json", turn.said["raw"].encode())
        if not stream or turn.said.get("whole"):
            return self.answer(200, form.whole(body, turn))
        self.stream(form.events(body, turn), turn.said.get("breaks_off", False))

    def stream(self, events: Iterator[Tuple[Optional[str], Any]], breaks_off: bool) -> None:
        lines = []
        for kind, data in events:
            name = f"event: {kind}\n" if kind else ""
            lines.append(f"{name}data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n")
        payload = "".join(lines).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if breaks_off:
            payload = payload[: len(payload) // 2]
        # Lines, and the bytes of one character, come in different reads.
        for at in range(0, len(payload), 101):
            piece = payload[at : at + 101]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if breaks_off:
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, status: int, value: Any, headers: Optional[Json] = None) -> None:
        self.send(status, "application/json", json.dumps(value).encode(), headers)

    def send(self, status: int, kind: str, payload: bytes, headers: Optional[Json] = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        server = Script(json.load(file)["turns"])
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
