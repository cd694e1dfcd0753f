"""Makes what is not written by hand: `_types.py` from api/openapi.json, and `_sync/` from `_async/`.

    python scripts/generate.py           # writes
    python scripts/generate.py --check   # fails when a file is not what would be written

Standard library only. The synchronous client is the asynchronous one with its words replaced (as httpcore makes its own): both are plain
code that a reader and a type checker can follow, which a core that is generic over its colour is not.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

HERE = Path(__file__).resolve().parent.parent
API = HERE.parent.parent / "api" / "openapi.json"
PACKAGE = HERE / "src" / "fireclay"

# What the client asks, and so what it needs types for.
OPERATIONS = {
    "submit_run", "show_run", "list_runs", "cancel_run", "remove_run", "follow_run", "fetch_artifact",
    "submit_batch", "list_batches", "show_batch", "cancel_batch", "list_batch_items",
    "create_session", "list_sessions", "show_session", "close_session", "renew_session", "restart_session", "link_port", "submit_session_run",
    "list_session_files", "fetch_session_file", "put_session_file", "remove_session_file", "move_session_file",
    "make_session_directory",
    "create_task", "list_tasks", "show_task", "remove_task", "ask_task", "approve_attempt",
    "read_limits", "version",
}  # fmt: skip
# Bodies that the client puts together itself, from these.
WRITTEN_BY_HAND = {
    "ApproveAttempt", "AskTask", "BatchLine", "CreateSession", "CreateTask", "MakeDirectory", "Move", "Renew", "StreamEvent", "SubmitRun",
    "SubmitSessionRun", "TaskStreamEvent",
}  # fmt: skip
# What a type can do besides being read, by hand in `_result.py`.
ABILITIES = {"RunResult": "Judged"}
# Fields whose schema says less than the API's words do.
FIELDS = {("RunResult", "displays"): "List[Display]"}

WORDS = [
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync (?=def|with|for)", ""),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\ba(close|read|iter_lines|iter_bytes|iter|next)\b", r"\1"),
    (r"\basyncio\.to_thread\((\w+)\)", r"\1()"),
    (r"\basyncio\b", "time"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b_async\b", "_sync"),
]


def main() -> int:
    wanted = dict(generated())
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [path for path in (PACKAGE / "_sync").glob("*.py") if path not in wanted]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(HERE)} is not fresh: run scripts/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        else:
            path.unlink()
    return 0


def generated() -> Iterator[Tuple[Path, str]]:
    """Every generated file, with its text."""
    yield PACKAGE / "_types.py", types(json.loads(API.read_text("utf-8")))
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        text = source.read_text("utf-8")
        for pattern, word in WORDS:
            text = re.sub(pattern, word, text)
        note = f"# Made from _async/{source.name} by scripts/generate.py: change it there.\n"
        yield PACKAGE / "_sync" / source.name, note + text


def types(api: Dict[str, Any]) -> str:
    """The module of types: literals first, then what is sent (TypedDict), then what is answered (frozen dataclass)."""
    schemas = api["components"]["schemas"]
    sent, answered = reached(api, schemas)
    lines = [
        "# Made from api/openapi.json by scripts/generate.py: change the service, or the script.",
        '"""What goes to the service and comes from it, as api/openapi.json has it."""',
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass, field",
        "from typing import Any, Dict, List, Literal, Optional, TypedDict",
        "",
        "from ._result import Display, Judged",
    ]
    names = sorted(sent | answered)
    for name in names:
        if "properties" not in merged(schemas[name], schemas):
            lines += ["", *alias(name, schemas[name])]
    for name in names:
        if "properties" in merged(schemas[name], schemas):
            if name in sent and name in answered:
                raise SystemExit(f"{name} is both sent and answered: give one of them another name")
            write = typed_dict if name in sent else data_class
            lines += ["", "", *write(name, merged(schemas[name], schemas))]
    return "\n".join(lines) + "\n"


def reached(api: Dict[str, Any], schemas: Dict[str, Any]) -> Tuple[Set[str], Set[str]]:
    """Names of the schemas that are sent, and of those that are answered."""
    sent: Set[str] = set()
    answered: Set[str] = set()
    for methods in api["paths"].values():
        for operation in methods.values():
            if operation.get("operationId") in OPERATIONS:
                follow(operation.get("requestBody", {}), schemas, sent)
                follow(operation["responses"], schemas, answered)
    words = {name for name in sent & answered if "properties" not in merged(schemas[name], schemas)}
    return (sent - words) - WRITTEN_BY_HAND, answered - WRITTEN_BY_HAND


def follow(node: Any, schemas: Dict[str, Any], names: Set[str]) -> None:
    if isinstance(node, dict):
        name = reference(node)
        if name is not None and name not in names:
            names.add(name)
            follow(schemas[name], schemas, names)
        for child in node.values():
            follow(child, schemas, names)
    elif isinstance(node, list):
        for child in node:
            follow(child, schemas, names)


def reference(schema: Dict[str, Any]) -> Optional[str]:
    target = schema.get("$ref")
    return target.rsplit("/", 1)[1] if isinstance(target, str) else None


def merged(schema: Dict[str, Any], schemas: Dict[str, Any]) -> Dict[str, Any]:
    """A schema with the parts of its `allOf` in it; of a part that may be null, nothing is required."""
    whole = dict(schema)
    for part in whole.pop("allOf", []):
        choices = [choice for choice in part.get("oneOf", [part]) if choice.get("type") != "null"]
        for choice in choices:
            name = reference(choice)
            resolved = merged(choice if name is None else schemas[name], schemas)
            if "properties" in resolved:
                whole["properties"] = {**whole.get("properties", {}), **resolved["properties"]}
                required = [] if "oneOf" in part else resolved.get("required", [])
                whole["required"] = [*whole.get("required", []), *required]
    return whole


def alias(name: str, schema: Dict[str, Any]) -> List[str]:
    line = f"{name} = {annotation(schema)}"
    if len(line) > 132:
        line = line.replace("[", "[\n    ").replace(", ", ",\n    ").replace("]", ",\n]")
    return [*comment(schema), line]


def typed_dict(name: str, schema: Dict[str, Any]) -> List[str]:
    required = set(schema.get("required", []))
    properties = schema["properties"]
    if any(keyword.iskeyword(key) for key in properties):
        raise SystemExit(f"{name} has a field that is a word of Python: write its type by hand (WRITTEN_BY_HAND)")
    base = "TypedDict"
    lines: List[str] = []
    if required and required != set(properties):
        # NotRequired came with Python 3.11.
        base = f"_{name}Required"
        lines += [f"class {base}(TypedDict):"]
        for key in (key for key in properties if key in required):
            lines += [f"    {key}: {annotation(properties[key])}", *doc(properties[key])]
        lines += ["", ""]
        properties = {key: value for key, value in properties.items() if key not in required}
    total = ", total=False" if base != "TypedDict" or not required else ""
    lines += [f"class {name}({base}{total}):", *doc(schema), ""]
    for key, value in properties.items():
        lines += [f"    {key}: {annotation(value)}", *doc(value)]
    return lines


def data_class(name: str, schema: Dict[str, Any]) -> List[str]:
    required = set(schema.get("required", []))
    base = f"({ABILITIES[name]})" if name in ABILITIES else ""
    lines = ["@dataclass(frozen=True)", f"class {name}{base}:", *doc(schema), ""]
    properties = schema["properties"]
    # Fields with a default come last.
    for key in sorted(properties, key=lambda key: key not in required):
        if keyword.iskeyword(key):
            raise SystemExit(f"{name}.{key} is a word of Python")
        kind = FIELDS.get((name, key), annotation(properties[key]))
        default = ""
        if key not in required:
            factory = {"L": "list", "D": "dict"}.get(kind[0]) if kind.startswith(("List", "Dict")) else None
            default = f" = field(default_factory={factory})" if factory else " = None"
            if not factory and not kind.startswith("Optional"):
                kind = f"Optional[{kind}]"
        lines += [f"    {key}: {kind}{default}", *doc(properties[key])]
    return lines


def annotation(schema: Any) -> str:
    """A schema as an annotation that Python 3.9 can evaluate."""
    if not isinstance(schema, dict):
        return "Any"
    name = reference(schema)
    if name is not None:
        return name
    if "enum" in schema:
        return "Literal[" + ", ".join(f'"{word}"' for word in schema["enum"]) + "]"
    choices = schema.get("oneOf")
    kinds = schema.get("type")
    if isinstance(kinds, list):
        choices = [{**schema, "type": kind} for kind in kinds]
    if choices:
        inner = [annotation(choice) for choice in choices if choice.get("type") != "null"]
        one = inner[0] if len(inner) == 1 else "Any"
        return f"Optional[{one}]" if len(inner) < len(choices) else one
    if kinds == "array":
        return f"List[{annotation(schema.get('items'))}]"
    if kinds == "object":
        return f"Dict[str, {annotation(schema.get('additionalProperties'))}]"
    if schema.get("additionalProperties") == {}:
        return "Any"
    return {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}.get(str(kinds), "Any")


def text_of(schema: Dict[str, Any]) -> str:
    """The description as Python's readers know it: no links of Rust's documentation."""
    text = " ".join(schema.get("description", "").split())
    if not text:
        inner = [choice.get("description", "") for choice in schema.get("oneOf", [])]
        text = " ".join(" ".join(inner).split())
    return re.sub(r"\[(`[^`]*`)\]", r"\1", text)


def doc(schema: Any) -> List[str]:
    text = text_of(schema) if isinstance(schema, dict) else ""
    if not text:
        return []
    return textwrap.wrap(f'"""{text}"""', 132, initial_indent="    ", subsequent_indent="    ", break_long_words=False)


def comment(schema: Dict[str, Any]) -> List[str]:
    text = text_of(schema)
    return textwrap.wrap(text, 132, initial_indent="# ", subsequent_indent="# ") if text else []


if __name__ == "__main__":
    sys.exit(main())
