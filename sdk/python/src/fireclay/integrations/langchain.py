"""For LangChain (`pip install fireclay[langchain]`).

from fireclay import Fireclay
from fireclay.integrations.langchain import run_code_tool

model.bind_tools([run_code_tool(Fireclay())])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Tuple, Union

from langchain_core.tools import StructuredTool

from .. import AsyncFireclay, Fireclay, RunResult
from .._tool_calls import FRESH, PARAMETERS, RUN_CODE

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._request import RunOptions


def run_code_tool(client: Union[Fireclay, AsyncFireclay], **options: Unpack[RunOptions]) -> StructuredTool:
    """A tool that runs code. Its content is what the model is told, its artifact the `RunResult`.

    With `Fireclay` it is for `invoke` and `ainvoke`, with `AsyncFireclay` for `ainvoke` only. `options` win over the model's words.
    """
    if isinstance(client, AsyncFireclay):
        tools = client.tools

        async def later(**arguments: Any) -> Tuple[str, Optional[RunResult]]:
            answer = await tools.call(arguments, **options)
            return answer.text, answer.run

        return _tool(coroutine=later)
    ours = client.tools

    def now(**arguments: Any) -> Tuple[str, Optional[RunResult]]:
        answer = ours.call(arguments, **options)
        return answer.text, answer.run

    return _tool(func=now)


def _tool(**functions: Any) -> StructuredTool:
    return StructuredTool.from_function(
        name=RUN_CODE, description=FRESH, args_schema=PARAMETERS, response_format="content_and_artifact", **functions
    )
