"""Tools for models that call functions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

from .. import _tool_calls as tool_calls
from .._request import RunOptions
from .._tool_calls import ToolAnswer
from ..errors import Rejected
from .runs import AsyncRuns

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncTools:
    """`fc.tools`, and `session.tools`: one tool, `run_code`, in the words of each provider."""

    def __init__(self, runs: AsyncRuns, in_session: bool = False) -> None:
        self._runs = runs
        self._in_session = in_session
        self._description = tool_calls.STAYS if in_session else tool_calls.FRESH

    def openai(self, api: str = "chat") -> List[Dict[str, Any]]:
        """`tools=` of OpenAI's chat completions; with `api="responses"`, of its responses."""
        define = tool_calls.openai_responses if api == "responses" else tool_calls.openai_chat
        return define(self._description)

    def anthropic(self) -> List[Dict[str, Any]]:
        """`tools=` of Anthropic's messages."""
        return tool_calls.anthropic(self._description)

    def gemini(self) -> List[Dict[str, Any]]:
        """`tools` of Gemini's generateContent."""
        return tool_calls.gemini(self._description)

    async def handle(self, tool_call: Any, **options: Unpack[RunOptions]) -> Dict[str, Any]:
        """Runs what a model asks for, and returns the message that answers it.

        Takes a call as the provider's package or its JSON has it. What is wrong with a call is told to the model; errors of the service
        are raised. `options` are those of `run()`, and win over the model's: `handle(call, template="python-data")`.
        """
        call = tool_calls.read_call(tool_call)
        if call.problem is not None:
            return tool_calls.message_of(call, ToolAnswer(call.problem, True))
        return tool_calls.message_of(call, await self.call(call.arguments, **options))

    async def call(self, arguments: Mapping[str, Any], **options: Unpack[RunOptions]) -> ToolAnswer:
        """Runs what a model asks for, in no provider's words: the arguments in, what the model is to be told out."""
        # In a session a fault is final: what the first try did to it, a second would do again.
        key = uuid.uuid4().hex if self._in_session else None
        try:
            run = await self._runs.run(tool_calls.request_of(arguments, options), key)
        except Rejected as error:
            # Only what the model itself may have said wrong is for it to mend.
            if error.status != 422:
                raise
            return ToolAnswer(str(error), True)
        return tool_calls.answer_of(run)
