"""A model that is not there: speaks OpenAI's chat completions, and knows the few programs that these examples ask for.

    python fake_model.py          # prints its address; ends when its standard input does

What it writes depends on the question alone, and on what the tools before answered: so each example shows its whole way, the wrong first
attempt of `flame_agent.py` too.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What is asked, and the attempts at it: the next one comes after each complaint.
PROGRAMS = {
    "sum of the squares": ["print(sum(n * n for n in range(1, 11)))"],
    "upper case": ["import sys\nprint(sys.stdin.read().strip().upper())"],
    "leap year": [
        "year = int(input())\nprint(year % 4 == 0)",
        "year = int(input())\nprint(year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))",
    ],
    "fibonacci": ["def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nresult = fib(20)\nresult"],
    "environment": ["import os\nos.system('env')"],
}


def reply(body):
    """The assistant's message."""
    tools = [tool["function"]["name"] for tool in body.get("tools", [])]
    said = [(message["role"], text(message.get("content"))) for message in body["messages"]]
    if body.get("tool_choice") == "required":
        # A structured answer: Mirascope's `response_model=bool` is a tool of that name.
        return call(tools[0], {"value": "os.system" not in said[-1][1]})
    attempts = next((programs for words, programs in PROGRAMS.items() if any(words in asked for _, asked in said)), ["print(1)"])
    complaints = sum("FAILED" in words for _, words in said)
    code = attempts[min(complaints, len(attempts) - 1)]
    if any(role == "tool" for role, _ in said) and not said[-1][1].startswith("FAILED"):
        told = next(words for role, words in reversed(said) if role == "tool")
        return {"role": "assistant", "content": f"Running it gave: {told.strip()}"}
    if not tools:
        return {"role": "assistant", "content": code}
    arguments = {"code": code} if tools[0] == "execute_code" else {"language": "python", "code": code}
    return call(tools[0], arguments)


def call(name, arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}


def text(content):
    """Content as it is, or as parts."""
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content or ""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = reply(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "finish_reason": reason, "message": message, "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice], "usage": usage}
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    sys.stdin.read()
