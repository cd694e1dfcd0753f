# Made from _async/tasks.py by scripts/generate.py: change it there.
"""Tasks: questions that the service's model works on with programs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Iterator, Dict, Optional

from .._paths import one_part
from .._request import TaskOptions, task_request
from .._types import TaskList, TaskSummary, TaskView
from .transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Tasks:
    """`/v1/tasks`. docs/tasks.md has what a task is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ask(self, question: str, *, idempotency_key: Optional[str] = None, **options: Unpack[TaskOptions]) -> TaskView:
        """Asks, and returns when the question is settled: `answer` is there, or `error` says why not. `TaskOptions` has the options.

        A task with `ask=True` waits for a person: then `begin` it.
        """
        return self._post("/v1/tasks", task_request(question, wait=True, **options), idempotency_key)

    def begin(self, question: str, *, idempotency_key: Optional[str] = None, **options: Unpack[TaskOptions]) -> TaskView:
        """Asks, and returns as soon as the task is recorded."""
        return self._post("/v1/tasks", task_request(question, wait=False, **options), idempotency_key)

    def tell(
        self, task_id: str, question: str, *, budget: Any = None, wait: bool = True, idempotency_key: Optional[str] = None
    ) -> TaskView:
        """Asks a task that has ended another question, in the same conversation and session."""
        body: Dict[str, Any] = {"question": question, "wait": wait}
        if budget is not None:
            body["budget"] = budget
        return self._post(f"/v1/tasks/{one_part(task_id)}/messages", body, idempotency_key)

    def get(self, task_id: str) -> TaskView:
        """A task, with all that it has come to so far."""
        return self._transport.ask(TaskView, "GET", f"/v1/tasks/{one_part(task_id)}")

    def list(self, **filters: Any) -> Iterator[TaskSummary]:
        """Tasks, newest first, fetched page by page; `state="answered"` for only those."""
        cursor: Optional[str] = None
        while True:
            page = self._transport.ask(TaskList, "GET", "/v1/tasks", params={**filters, "cursor": cursor})
            for task in page.items:
                yield task
            cursor = page.next
            if cursor is None:
                return

    def approve(self, task_id: str, attempt: int, code: Optional[str] = None, *, always: bool = False) -> TaskView:
        """Lets code run that waits, or other code in its place; with `always` all that follows for this question, too."""
        body: Dict[str, Any] = {"decision": "always" if always else "approve"}
        if code is not None:
            body["code"] = code
        return self._decide(task_id, attempt, body)

    def deny(self, task_id: str, attempt: int, reason: Optional[str] = None) -> TaskView:
        """Does not let code run that waits. The model is told, with the reason, and goes on."""
        body: Dict[str, Any] = {"decision": "deny"}
        if reason is not None:
            body["reason"] = reason
        return self._decide(task_id, attempt, body)

    def remove(self, task_id: str) -> None:
        """Takes back a task that is on its way, with its run and its session, or forgets one that has ended."""
        # Never sent twice: the first takes the task back, a second would forget it.
        response = self._transport.send("DELETE", f"/v1/tasks/{one_part(task_id)}", repeatable=False)
        self._transport.read(response)

    def _post(self, path: str, body: Any, idempotency_key: Optional[str]) -> TaskView:
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        return self._transport.ask(TaskView, "POST", path, json=body, headers=headers)

    def _decide(self, task_id: str, attempt: int, body: Any) -> TaskView:
        path = f"/v1/tasks/{one_part(task_id)}/approvals/{int(attempt)}"
        return self._transport.ask(TaskView, "POST", path, json=body)
