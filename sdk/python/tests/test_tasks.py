"""Tasks, against a real service whose model is the scripted one of tests/agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest

from fireclay import Conflict, Fireclay, NotFound, Rejected

from .test_chat import runs, service
from .test_model_server import SERVER

pytestmark = pytest.mark.skipif(not SERVER.exists(), reason="only in the repository")


def test_a_question_is_answered_and_asked_on(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [
        {"calls": [runs("print(sun(range(101)))")]},
        {"expect": ["NameError"], "text": "It is called sum.", "calls": [runs("print(sum(range(101)))")]},
        {"expect": ["5050"], "text": "The sum is 5050."},
        {"expect": ["And twice that?"], "text": "10100."},
    ]
    with service(tmp_path, turns) as there, Fireclay(there.url, there.key) as fc:
        task = fc.tasks.ask("What is the sum?", budget={"runs": 5}, idempotency_key="once")
        assert (task.state, task.answer, task.usage.runs) == ("answered", "The sum is 5050.", 2)
        assert [attempt.reflection for attempt in task.attempts] == ["It is called sum.", None]
        assert fc.runs.get(task.attempts[1].run or "").outcome == "completed"
        assert fc.tasks.ask("What is the sum?", budget={"runs": 5}, idempotency_key="once").id == task.id
        more = fc.tasks.tell(task.id, "And twice that?")
        assert [asked.answer for asked in more.questions] == ["The sum is 5050.", "10100."]
        assert [listed.id for listed in fc.tasks.list(state="answered")] == [task.id]
        fc.tasks.remove(task.id)
        with pytest.raises(NotFound):
            fc.tasks.get(task.id)


def test_a_person_says_what_runs(tmp_path: Path) -> None:
    turns: List[Dict[str, Any]] = [
        {"calls": [runs("print('one')")]},
        {"expect": ["not this"], "calls": [runs("print('two')")]},
        {"expect": ["three"], "text": "done"},
    ]
    with service(tmp_path, turns) as there, Fireclay(there.url, there.key) as fc:
        task = fc.tasks.begin("?", ask=True)
        while task.approval is None:
            task = fc.tasks.get(task.id)
        task = fc.tasks.deny(task.id, task.approval, "not this")
        while task.approval is None:
            task = fc.tasks.get(task.id)
        fc.tasks.approve(task.id, task.approval, "print('three')")
        while task.state in ("running", "waiting"):
            task = fc.tasks.get(task.id)
        assert (task.answer, [attempt.code for attempt in task.attempts]) == ("done", ["print('one')", "print('three')"])
        with pytest.raises(Conflict):
            fc.tasks.approve(task.id, 2)


def test_without_a_model_it_says_so(fc: Fireclay) -> None:
    with pytest.raises(Rejected, match="model"):
        fc.tasks.ask("?")
