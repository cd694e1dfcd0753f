"""Tools for models: definitions, and calls and answers in the wire formats of OpenAI, Anthropic and Gemini. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, cast

from ._request import BatchRun, RunOptions, run_request
from ._types import RunResult

RUN_CODE = "run_code"
"""The name of the one tool."""

FRESH = (
    "Runs a program in a fresh sandbox and returns what it printed, the value of its last expression, and its error if it failed. "
    "Nothing is kept between calls, and there is no network. Files that it writes to the working directory are listed."
)
"""What it does in a sandbox of its own."""

STAYS = (
    "Runs code in a sandbox that stays, and returns what it printed, the value of its last expression, and its error if it failed. "
    "Variables, imports and files are there for the next call. There is no network. Files that it writes are listed."
)
"""What it does in a session."""

PARAMETERS: Dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "The program's whole text."},
        "language": {
            "type": "string",
            "enum": ["python", "bash", "javascript", "typescript"],
            "description": "Its language; python if left out.",
        },
        "stdin": {"type": "string", "description": "What it reads on standard input."},
    },
    "required": ["code"],
}

# What a model is told of one stream; it has a context to fit in.
_TOLD_CHARS_MAX = 16_000


@dataclass(frozen=True)
class ToolCall:
    """A call, whoever made it."""

    provider: str
    name: str
    arguments: Mapping[str, Any]
    id: str
    problem: Optional[str] = None
    """What is wrong with it; the model is told, and may try again."""


@dataclass(frozen=True)
class ToolAnswer:
    """What is told to the model."""

    text: str
    """In words."""
    is_error: bool
    """Whether the code failed, or was not run at all."""
    run: Optional[RunResult] = None
    """The run, if there was one."""


def openai_chat(description: str = FRESH) -> List[Dict[str, Any]]:
    """Definitions for OpenAI's chat completions, and everything that speaks like them."""
    return [{"type": "function", "function": {"name": RUN_CODE, "description": description, "parameters": PARAMETERS}}]


def openai_responses(description: str = FRESH) -> List[Dict[str, Any]]:
    """Definitions for OpenAI's responses."""
    # Strict, its default there, wants every parameter to be required.
    return [{"type": "function", "name": RUN_CODE, "description": description, "parameters": PARAMETERS, "strict": False}]


def anthropic(description: str = FRESH) -> List[Dict[str, Any]]:
    """Definitions for Anthropic's messages."""
    return [{"name": RUN_CODE, "description": description, "input_schema": PARAMETERS}]


def gemini(description: str = FRESH) -> List[Dict[str, Any]]:
    """Definitions for Gemini's generateContent."""
    return [{"function_declarations": [{"name": RUN_CODE, "description": description, "parameters": PARAMETERS}]}]


def read_call(call: Any) -> ToolCall:
    """Reads a call as a provider's package or its JSON has it. Raises `TypeError` for what is none."""
    function = _of(call, "function")
    if function is not None:
        return _call("openai", _of(function, "name"), _of(function, "arguments"), _of(call, "id"))
    if _of(call, "type") == "function_call":
        return _call("openai_responses", _of(call, "name"), _of(call, "arguments"), _of(call, "call_id"))
    if _of(call, "type") == "tool_use":
        return _call("anthropic", _of(call, "name"), _of(call, "input"), _of(call, "id"))
    inner = _of(call, "function_call") or _of(call, "functionCall") or call
    if _of(inner, "name") is not None and (_has(inner, "args")):
        return _call("gemini", _of(inner, "name"), _of(inner, "args"), _of(inner, "id"))
    raise TypeError(f"not a tool call of OpenAI, Anthropic or Gemini: {str(call)[:200]}")


def request_of(arguments: Mapping[str, Any], options: RunOptions) -> BatchRun:
    """The run that a model asks for. `options` are the application's: what it says wins over what the model says."""
    said: RunOptions = {"stdin": arguments.get("stdin"), **options}
    return run_request(arguments["code"], arguments.get("language"), **said)


def answer_of(run: RunResult) -> ToolAnswer:
    """What a model is told of a run."""
    parts = []
    if run.stdout:
        parts.append(_clipped(run.stdout))
    if run.stderr:
        parts.append("stderr:\n" + _clipped(run.stderr))
    if run.value is not None and run.language == "python":
        parts.append(f"value: {_clipped(str((run.result or {}).get('text/plain', run.value)))}")
    if run.artifacts:
        parts.append("files: " + ", ".join(f"{file.path} ({file.bytes} bytes)" for file in run.artifacts[:50]))
    if not run.ok:
        parts.append(_fate(run))
    return ToolAnswer("\n".join(parts) or "(no output)", not run.ok, run)


def message_of(call: ToolCall, answer: ToolAnswer) -> Dict[str, Any]:
    """The answer as the provider's next request has it."""
    if call.provider == "openai":
        return {"role": "tool", "tool_call_id": call.id, "content": answer.text}
    if call.provider == "openai_responses":
        return {"type": "function_call_output", "call_id": call.id, "output": answer.text}
    if call.provider == "anthropic":
        return {"type": "tool_result", "tool_use_id": call.id, "content": answer.text, "is_error": answer.is_error}
    response = {"error" if answer.is_error else "output": answer.text}
    named = {"id": call.id} if call.id else {}
    return {"function_response": {**named, "name": call.name, "response": response}}


def _call(provider: str, name: Any, said: Any, number: Any) -> ToolCall:
    problem = None
    arguments: Any = said
    if isinstance(said, str):
        try:
            arguments = json.loads(said or "{}")
        except ValueError as error:
            problem = f"the arguments are not JSON: {error}"
    if name != RUN_CODE:
        problem = f"there is no tool {name!r}, only {RUN_CODE!r}"
    elif problem is None and not (isinstance(arguments, Mapping) and isinstance(arguments.get("code"), str)):
        problem = "`code` is missing, or not a string"
    known = cast(Mapping[str, Any], arguments) if isinstance(arguments, Mapping) else {}
    return ToolCall(provider, str(name), known, str(number or ""), problem)


def _fate(run: RunResult) -> str:
    if run.outcome == "failed":
        return f"exit code {run.exit_code}"
    if run.outcome == "signalled":
        return f"ended by {run.signal}"
    return f"ended: {run.outcome}" + (f" (limits hit: {', '.join(run.limits_hit)})" if run.limits_hit else "")


def _clipped(text: str) -> str:
    text = text.rstrip("\n")
    if len(text) <= _TOLD_CHARS_MAX:
        return text
    half = _TOLD_CHARS_MAX // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def _of(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _has(thing: Any, name: str) -> bool:
    return name in thing if isinstance(thing, Mapping) else hasattr(thing, name)
