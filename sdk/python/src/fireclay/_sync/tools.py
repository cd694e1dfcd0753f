# Made from _async/tools.py by scripts/generate.py: change it there.
"""Tools for models that call functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

from .. import _tool_calls as tool_calls
from .._request import RunOptions
from ..errors import Rejected, TooMany
from .runs import Runs

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Tools:
    """`fc.tools`: one tool, `run_code`, in the words of each provider."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def openai(self, api: str = "chat") -> List[Dict[str, Any]]:
        """`tools=` of OpenAI's chat completions; with `api="responses"`, of its responses."""
        return tool_calls.openai_responses() if api == "responses" else tool_calls.openai_chat()

    def anthropic(self) -> List[Dict[str, Any]]:
        """`tools=` of Anthropic's messages."""
        return tool_calls.anthropic()

    def gemini(self) -> List[Dict[str, Any]]:
        """`tools` of Gemini's generateContent."""
        return tool_calls.gemini()

    def handle(self, tool_call: Any, **options: Unpack[RunOptions]) -> Dict[str, Any]:
        """Runs what a model asks for, and returns the message that answers it.

        Takes a call as the provider's package or its JSON has it. What is wrong with a call is told to the model; errors of the service
        are raised. `options` are those of `run()`, and win over the model's: `handle(call, template="python-data")`.
        """
        call = tool_calls.read_call(tool_call)
        return tool_calls.message_of(call, self._answer(call, options))

    def _answer(self, call: tool_calls.ToolCall, options: RunOptions) -> tool_calls.ToolAnswer:
        if call.problem is not None:
            return tool_calls.ToolAnswer(call.problem, True)
        try:
            return tool_calls.answer_of(self._runs.run(tool_calls.request_of(call, options)))
        except TooMany:
            raise
        except Rejected as error:
            if error.status != 422:
                raise
            return tool_calls.ToolAnswer(str(error), True)
