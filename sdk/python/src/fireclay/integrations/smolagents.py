"""For smolagents (`pip install fireclay[smolagents]`).

from fireclay import Fireclay
from fireclay.integrations.smolagents import RunCodeTool

ToolCallingAgent(tools=[RunCodeTool(Fireclay())], model=model)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

from smolagents import Tool

from .. import Fireclay
from .._tool_calls import FRESH, PARAMETERS, RUN_CODE

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._request import RunOptions


def _inputs() -> Dict[str, Dict[str, Any]]:
    required = PARAMETERS["required"]
    optional = {"nullable": True}
    return {name: {**schema, **({} if name in required else optional)} for name, schema in PARAMETERS["properties"].items()}


class RunCodeTool(Tool):  # type: ignore[misc, unused-ignore]
    """A tool that runs code, and returns what the model is told. `options` win over the model's words."""

    name = RUN_CODE
    description = FRESH
    inputs = _inputs()
    output_type = "string"

    def __init__(self, client: Fireclay, **options: Unpack[RunOptions]) -> None:
        super().__init__()
        self._tools = client.tools
        self._options = options

    def forward(self, code: str, language: Optional[str] = None, stdin: Optional[str] = None) -> str:
        """Runs it."""
        return self._tools.call({"code": code, "language": language, "stdin": stdin}, **self._options).text
