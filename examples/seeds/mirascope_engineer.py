"""Mirascope's SoftwareEngineer: an agent with one tool that runs code, after a second call of the model has judged it.

The guide runs the code by `exec` in the agent's own process and says itself that a sandbox would be better: here it is one. What the guide
loses by `exec`, a function that calls itself, works; what it keeps between calls, variables, a session keeps too.
"""

from mirascope.core import openai, prompt_template
from pydantic import BaseModel

from fireclay import Fireclay

client = Fireclay()
session = client.session()


@openai.call("gpt-4o-mini", response_model=bool)
@prompt_template("SYSTEM: Is this code safe to run? It must not touch the machine that it runs on. USER: {code}")
def is_safe(code: str): ...


def execute_code(code: str) -> str:
    """Runs Python and returns the value of its last expression, or its error. Variables are kept for the next call.

    Args:
        code: The Python to run.
    """
    if not is_safe(code):
        return f"Error: The code: {code} is not safe to execute."
    run = sandbox.run(code)
    return f"Error: {run.error.name}: {run.error.message}" if run.error else str(run.value)


class SoftwareEngineer(BaseModel):
    messages: list = []

    @openai.call("gpt-4o-mini", tools=[execute_code])
    @prompt_template("SYSTEM: You are a software engineer. Run code to answer. MESSAGES: {self.messages} USER: {text}")
    def _step(self, text: str): ...

    def ask(self, text: str, turns: int = 5) -> str:
        """The answer to a question, after as many calls of the tool as it takes, but not for ever."""
        for _ in range(turns):
            reply = self._step(text)
            if reply.user_message_param:
                self.messages.append(reply.user_message_param)
            self.messages.append(reply.message_param)
            if not reply.tools:
                return reply.content
            self.messages += reply.tool_message_params([(tool, tool.call()) for tool in reply.tools])
            text = ""
        raise RuntimeError(f"no answer after {turns} turns")


with session as sandbox:
    print(SoftwareEngineer().ask("What is the 20th fibonacci number?"))
    print(SoftwareEngineer().ask("What is in your environment?"))
client.close()
