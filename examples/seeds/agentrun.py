"""AgentRun's own example: a model writes Python, `AgentRun` runs it, and its output is all one gets."""

from openai import OpenAI

from fireclay.compat.agentrun import AgentRun  # was: from agentrun import AgentRun

runner = AgentRun(container_name="my_container")


def code_from_model(task: str) -> str:
    """Python for a task, and nothing else."""
    asked = [{"role": "system", "content": "Answer with Python code only."}, {"role": "user", "content": task}]
    reply = OpenAI().chat.completions.create(model="gpt-4o-mini", messages=asked)
    return reply.choices[0].message.content


print(runner.execute_code_in_container("print('Hello, world!')"), end="")
print(runner.execute_code_in_container(code_from_model("print the sum of the squares from 1 to 10")), end="")
# What fails is told as a shell would tell it.
print(runner.execute_code_in_container("1 / 0").splitlines()[-1])
