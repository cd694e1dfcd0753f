"""Flame's script agent: a model writes a script, a session of `flmexec` runs it, the model tells what came of it.

Besides, what one wants next: the same script over many inputs at once, a table of test cases, and a model that mends what fails.
"""

import asyncio
import json

from openai import AsyncOpenAI

from fireclay.compat import flame as flamepy  # was: import flamepy

MODEL = "gpt-4o-mini"
RUN_SCRIPT = {
    "type": "function",
    "function": {
        "name": "run_script",
        "description": "Runs a script and returns what it prints.",
        "parameters": {
            "type": "object",
            "properties": {"language": {"type": "string", "enum": ["python", "shell"]}, "code": {"type": "string"}},
            "required": ["language", "code"],
        },
    },
}


async def invoke(session, script, stdin=""):
    """What a script prints. Each invocation is a process of its own, in an empty directory of its own."""
    task = await session.invoke(json.dumps({**script, "input": list(stdin.encode())}).encode())
    return task.output.decode()


async def ask(model, messages):
    """The model's next message, and the script in it, if there is one."""
    reply = await model.chat.completions.create(model=MODEL, messages=messages, tools=[RUN_SCRIPT])
    message = reply.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    calls = message.tool_calls or []
    return message.content, [(call.id, json.loads(call.function.arguments)) for call in calls]


async def agent(model, session, question):
    """Has the model write scripts until it has an answer."""
    messages = [{"role": "user", "content": question}]
    while True:
        answer, calls = await ask(model, messages)
        if not calls:
            return answer
        for call_id, script in calls:
            messages.append({"role": "tool", "tool_call_id": call_id, "content": await invoke(session, script)})


async def batch(model, session, question, inputs):
    """One script over many inputs, all at once."""
    _, [(_, script)] = await ask(model, [{"role": "user", "content": question}])
    return await asyncio.gather(*(invoke(session, script, text) for text in inputs))


async def failures(session, script, cases):
    """The test cases that a script does not pass, all tried at once."""
    printed = await asyncio.gather(*(invoke(session, script, given) for given, _ in cases))
    return [
        f"for input {given!r} it printed {said.strip()!r}, not {wanted!r}"
        for (given, wanted), said in zip(cases, printed)
        if said.strip() != wanted
    ]


async def refine(model, session, question, cases, rounds=3):
    """Has the model mend its script until it passes the cases; the number of rounds that took."""
    messages = [{"role": "user", "content": question}]
    for number in range(1, rounds + 1):
        _, [(call_id, script)] = await ask(model, messages)
        failed = await failures(session, script, cases)
        if not failed:
            return number
        messages.append({"role": "tool", "tool_call_id": call_id, "content": "FAILED: " + "; ".join(failed)})
    raise SystemExit(f"{len(failed)} cases fail after {rounds} rounds")


async def main():
    session = await flamepy.create_session("flmexec")
    async with AsyncOpenAI() as model:
        print(await agent(model, session, "What is the sum of the squares from 1 to 10?"))
        print(await batch(model, session, "Write the input in upper case.", ["one", "two", "three"]))
        cases = [("2024", "True"), ("2023", "False"), ("1900", "False"), ("2000", "True")]
        print("rounds:", await refine(model, session, "Is the input a leap year?", cases))
    await session.close()


asyncio.run(main())
