"""Captures what FastAPI answers on AgentRun's routes, for tests/api/agentrun.rs to compare with.

    python3 -m venv V && V/bin/pip install fastapi==0.110.1 starlette==0.37.2 pydantic==2.14.3 httpx==0.28.1
    V/bin/python api/examples/agentrun/capture.py

Only the HTTP layer is that of AgentRun's service; programs run as plain processes. Each file is a list of
{name, request: {method, path, headers, body | base64}, response: {status, headers, body}}.
"""

import asyncio
import base64
import json
import pathlib
import subprocess
import sys

import httpx
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

PAGE = "http://page.example"
HEADERS = ["content-type", "allow", "location", "vary", "access-control-allow-origin", "access-control-allow-methods",
           "access-control-allow-headers", "access-control-allow-credentials", "access-control-max-age"]

app = FastAPI()
# As there, but for the origins: ours are listed, never all.
app.add_middleware(CORSMiddleware, allow_origins=[PAGE], allow_credentials=True, allow_methods=["*"], allow_headers=["*"])


class CodeSchema(BaseModel):
    code: str


class OutputSchema(BaseModel):
    output: str


@app.get("/v1/health/", response_model=dict)
async def health():
    return {"status": "ok"}


@app.post("/v1/run/", response_model=OutputSchema)
async def run(program: CodeSchema):
    command = [sys.executable, "-c", program.code]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return OutputSchema(output=ran.stdout.decode())


def post(name, body, type="application/json", path="/v1/run/", **headers):
    return name, "POST", path, ({"content-type": type} if type is not None else {}) | headers, body


def call(name, method, path, **headers):
    return name, method, path, {key.replace("_", "-"): value for key, value in headers.items()}, ""


CASES = {
    "run": [
        post("a sum", '{"code": "print(1+1)"}'),
        post("empty code", '{"code":""}'),
        post("extra keys", '{"code":"","language":"python","timeout":[1]}'),
        post("the last of two keys counts", '{"code":1,"code":"print(1)"}'),
        post("unicode and controls", '{"code":"print(\\"é€😀\\\\u2028</x>\\\\x7f\\\\x01\\\\t\\\\\\\\\\")"}'),
        post("escapes", '{"code":"print(\\"\\u00e9\\ud83d\\ude00\\")"}'),
        post("both streams", '{"code":"import sys\\nprint(1, flush=True)\\nprint(2, file=sys.stderr, flush=True)\\nprint(3)"}'),
        post("output before an exit code", '{"code":"print(1)\\nraise SystemExit(3)"}'),
        post("nothing to read", '{"code":"import sys\\nprint(repr(sys.stdin.read()))"}'),
        post("byte order mark", '\ufeff{"code":"print(1)"}'),
        post("no content type", '{"code":"print(1)"}', None),
        post("a charset", '{"code":"print(1)"}', "Application/JSON; charset=utf-8"),
        post("a kind of JSON", '{"code":"print(1)"}', "application/vnd.example+json"),
        post("a query", '{"code":"print(1)"}', path="/v1/run/?a=b"),
    ],
    "refused": [
        post("missing", "{}"),
        post("missing, something else there", '{"cod":"x","b":[true,null,1.50,"é"],"a":{"z":-0}}'),
        post("null", '{"code":null}'),
        post("a number", '{"code":42}'),
        post("a large number", '{"code":123456789012345678901234567890}'),
        post("a fraction", '{"code":1e22}'),
        post("a list", '{"code":["a", {"b": 0.00001}]}'),
        *[post(f"the body {body}", body) for body in ["[1,2]", '"x"', "5", "null", "true", "false", "0", "[]", '""']],
        post("no body", ""),
        post("no body and no type", "", None),
        post("a form of JSON", '{"code":"print(1+1)"}', "application/x-www-form-urlencoded"),
        post("a form", "code=print(1)", "application/x-www-form-urlencoded"),
        post("plain text", '{"code":"print(1)"}', "text/plain"),
        post("text that is JSON", '{"code":"print(1)"}', "text/json"),
        post("parts", '--x\r\nContent-Disposition: form-data; name="code"\r\n\r\n1\r\n--x--\r\n', "multipart/form-data; boundary=x"),
        post("not UTF-8", b'{"code":"\xff"}'),
    ],
    "malformed": [
        post(f"malformed: {body!r}", body)
        for body in [
            " ", "{", '{"code"', '{"code" ', '{"code":', '{"code":"x"', '{"code":"x",', '{"code":"x",}', '{"code":"x",  }', '{"code":"x";}',
            '{"code":"x" "b"}', '{"code" "x"}', "{'code':1}", "{,}", "{1:2}", '{"code":01}', '{"code":"x"} y', '{"code":"a\nb"}',
            '{"code":"\\q"}', '{"code":"\\u12"}', '{"code":"\\u12x4"}', '{"code":"\\', '{"code":"é', '"abc', "[", "[1,", "[1,]", "[1 2]", "[,1]",
            "]", "}", "nope", "nul", "+1", "-", ".5", "1.", "1.e", "1e", "0x1", '{"é":tru}', '\n  {"code": }', "print(1)", "undefined",
        ]
    ],
    "methods": [
        *[call(f"{method} {path}", method, path) for path in ["/v1/run/", "/v1/health/"] for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]],
        call("POST /v1/health/", "POST", "/v1/health/"),
        *[call(f"{method} {path}", method, path) for path in ["/v1/run", "/v1/health"] for method in ["GET", "HEAD", "OPTIONS"]],
        post("POST /v1/run", '{"code":"print(1)"}', path="/v1/run"),
        post("POST /v1/run with a query", '{"code":"print(1)"}', path="/v1/run?a=b%20c&d"),
    ],
    "cors": [
        call("preflight", "OPTIONS", "/v1/run/", origin=PAGE, access_control_request_method="POST",
             access_control_request_headers="content-type, authorization"),
        call("preflight without headers", "OPTIONS", "/v1/run/", origin=PAGE, access_control_request_method="POST"),
        call("preflight of the wrong path", "OPTIONS", "/v1/run", origin=PAGE, access_control_request_method="POST"),
        call("preflight of health", "OPTIONS", "/v1/health/", origin=PAGE, access_control_request_method="GET"),
        call("preflight of no method", "OPTIONS", "/v1/run/", origin=PAGE, access_control_request_method="BREW"),
        call("no preflight", "OPTIONS", "/v1/run/", origin=PAGE),
        post("a call", '{"code":"print(1)"}', origin=PAGE),
        post("a wrong call", "{}", origin=PAGE),
        post("a call without slash", "{}", path="/v1/run", origin=PAGE),
        call("health", "GET", "/v1/health/", origin=PAGE),
    ],
}


async def capture(client, name, method, path, headers, body):
    raw = body.encode() if isinstance(body, str) else body
    answer = await client.request(method, path, headers=headers, content=raw)
    said = {"body": body} if isinstance(body, str) else {"base64": base64.b64encode(body).decode()}
    kept = {header: answer.headers[header] for header in HEADERS if header in answer.headers}
    return {
        "name": name,
        "request": {"method": method, "path": path, "headers": headers} | said,
        "response": {"status": answer.status_code, "headers": kept, "body": answer.text},
    }


async def main():
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://HOST") as client:
        for name, cases in CASES.items():
            captured = [await capture(client, *case) for case in cases]
            path = pathlib.Path(__file__).with_name(f"{name}.json")
            path.write_text(json.dumps(captured, indent=1, ensure_ascii=False) + "\n")


asyncio.run(main())
