"""Tasks: questions that the service's model works on with programs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, Optional

from .._paths import one_part
from .._request import TaskOptions, task_request
from .._types import TaskList, TaskSummary, TaskView
from .transport import AsyncTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncTasks:
    """`/v1/tasks`. docs/tasks.md has what a task is."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def ask(self, question: str, *, idempotency_key: Optional[str] = None, **options: Unpack[TaskOptions]) -> TaskView:
        """Asks, and returns when the question is settled: `answer` is there, or `error` says why not. `TaskOptions` has the options.

        A task with `ask=True` waits for a person: then `begin` it.
        """
        return await self._post("/v1/tasks", task_request(question, wait=True, **options), idempotency_key)

    async def begin(self, question: str, *, idempotency_key: Optional[str] = None, **options: Unpack[TaskOptions]) -> TaskView:
        """Asks, and returns as soon as the task is recorded."""
        return await self._post("/v1/tasks", task_request(question, wait=False, **options), idempotency_key)

    async def tell(
        self, task_id: str, question: str, *, budget: Any = None, wait: bool = True, idempotency_key: Optional[str] = None
    ) -> TaskView:
        """Asks a task that has ended another question, in the same conversation and session."""
        body: Dict[str, Any] = {"question": question, "wait": wait}
        if budget is not None:
            body["budget"] = budget
        return await self._post(f"/v1/tasks/{one_part(task_id)}/messages", body, idempotency_key)

    async def get(self, task_id: str) -> TaskView:
        """A task, with all that it has come to so far."""
        return await self._transport.ask(TaskView, "GET", f"/v1/tasks/{one_part(task_id)}")

    async def list(self, **filters: Any) -> AsyncIterator[TaskSummary]:
        """Tasks, newest first, fetched page by page; `state="answered"` for only those."""
        cursor: Optional[str] = None
        while True:
            page = await self._transport.ask(TaskList, "GET", "/v1/tasks", params={**filters, "cursor": cursor})
            for task in page.items:
                yield task
            cursor = page.next
            if cursor is None:
                return

    async def approve(self, task_id: str, attempt: int, code: Optional[str] = None, *, always: bool = False) -> TaskView:
        """Lets code run that waits, or other code in its place; with `always` all that follows for this question, too."""
        body: Dict[str, Any] = {"decision": "always" if always else "approve"}
        if code is not None:
            body["code"] = code
        return await self._decide(task_id, attempt, body)

    async def deny(self, task_id: str, attempt: int, reason: Optional[str] = None) -> TaskView:
        """Does not let code run that waits. The model is told, with the reason, and goes on."""
        body: Dict[str, Any] = {"decision": "deny"}
        if reason is not None:
            body["reason"] = reason
        return await self._decide(task_id, attempt, body)

    async def remove(self, task_id: str) -> None:
        """Takes back a task that is on its way, with its run and its session, or forgets one that has ended."""
        # Never sent twice: the first takes the task back, a second would forget it.
        response = await self._transport.send("DELETE", f"/v1/tasks/{one_part(task_id)}", repeatable=False)
        await self._transport.read(response)

    async def _post(self, path: str, body: Any, idempotency_key: Optional[str]) -> TaskView:
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        return await self._transport.ask(TaskView, "POST", path, json=body, headers=headers)

    async def _decide(self, task_id: str, attempt: int, body: Any) -> TaskView:
        path = f"/v1/tasks/{one_part(task_id)}/approvals/{int(attempt)}"
        return await self._transport.ask(TaskView, "POST", path, json=body)
