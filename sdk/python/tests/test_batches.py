"""Batches and `map`."""

from __future__ import annotations

import uuid
from typing import List

import pytest

from fireclay import BatchItem, Fireclay, Rejected, RunRequest


def test_map_keeps_the_order_of_its_inputs(fc: Fireclay) -> None:
    # The first is the last to be done.
    code = "import time\nn = int(input())\ntime.sleep(0.3 if n == 0 else 0)\nprint(n * n)"
    assert [run.stdout for run in fc.map(code, map(str, range(8)))] == [f"{n * n}\n" for n in range(8)]


def test_map_of_nothing_is_nothing(fc: Fireclay) -> None:
    assert list(fc.map("print(1)", [])) == []


def test_map_raises_what_is_wrong_with_its_program(fc: Fireclay) -> None:
    with pytest.raises(Rejected, match="there is no template"):
        list(fc.map("1", ["a"], template="nope"))


def test_a_batch_grades(fc: Fireclay) -> None:
    items: List[BatchItem] = [
        {"id": "plain", "language": "python", "code": "print(1)"},
        {
            "id": "graded",
            "program": {"language": "python", "code": "print(int(input()) * 2)"},
            "cases": [{"stdin": "2", "expected": "4"}, {"stdin": "3", "expected": "7"}],
        },
        {"id": "wrong", "language": "python", "code": "1", "template": "nope"},
    ]
    with fc.run_batch(items) as stream:
        answers = {answer.id: answer for answer in stream}
    plain, graded, wrong = answers["plain"], answers["graded"], answers["wrong"]
    assert plain.verdict == "completed" and plain.run is not None and plain.run.stdout == "1\n"
    assert (graded.verdict, graded.passed, graded.total) == ("wrong_answer", 1, 2)
    difference = graded.cases[1].difference
    assert difference is not None and (difference.expected, difference.actual) == ("7", "6")
    assert wrong.verdict == "rejected" and wrong.problem is not None and wrong.problem.field == "template"
    assert stream.summary is not None and stream.summary.total == 3 and stream.summary.cases.passed == 1


def test_samples_are_estimated(fc: Fireclay) -> None:
    programs: List[RunRequest] = [{"language": "python", "code": f"print({n})"} for n in (1, 2)]
    item: BatchItem = {"programs": programs, "cases": [{"expected": "1"}], "k": [1, 2]}
    [answer] = fc.run_batch([item])
    assert answer.programs_passed == 1 and answer.pass_at_k == {"1": 0.5, "2": 1.0}


def test_a_batch_that_goes_on_by_itself(fc: Fireclay) -> None:
    items: List[BatchItem] = [{"language": "python", "code": f"print({n})"} for n in range(5)]
    key = uuid.uuid4().hex
    submitted = fc.batches.submit(items, idempotency_key=key)
    assert fc.batches.submit(items, idempotency_key=key).id == submitted.id
    answers = list(fc.batches.answers(submitted.id))
    while fc.batches.get(submitted.id).state == "running":
        answers = list(fc.batches.answers(submitted.id))
    answers = list(fc.batches.answers(submitted.id))
    assert [answer.run.stdout for answer in answers if answer.run] == [f"{n}\n" for n in range(5)]
    assert submitted.id in [batch.id for batch in fc.batches.list()]


def test_a_batch_is_taken_back(fc: Fireclay) -> None:
    items: List[BatchItem] = [{"language": "python", "code": "while True: pass"} for _ in range(20)]
    submitted = fc.batches.submit(items)
    fc.batches.cancel(submitted.id)
    while fc.batches.get(submitted.id).state == "running":
        pass
    assert fc.batches.get(submitted.id).state == "cancelled"


def test_leaving_a_batch_takes_it_back(fc: Fireclay) -> None:
    items: List[BatchItem] = [{"language": "python", "code": "print(1)"}]
    items += [{"language": "python", "code": "while True: pass"}] * 5
    with fc.run_batch(items) as stream:
        assert next(stream).verdict == "completed"
        batch_id = stream.batch_id
    assert batch_id is not None
    while fc.batches.get(batch_id).state == "running":
        pass
    assert fc.batches.get(batch_id).state == "cancelled"


def test_answers_come_while_many_items_are_sent(fc: Fireclay) -> None:
    # More of both than connections hold: whoever waits for the other to read would wait for ever.
    code = "print('x' * 50000)" + "#" * 50000
    items: List[BatchItem] = [{"language": "python", "code": code} for _ in range(200)]
    with fc.run_batch(items) as stream:
        assert sum(len(answer.run.stdout) for answer in stream if answer.run) == 200 * 50001
