"""The device's side of jobs: the script of the notifications, what start-next hands out, and what is refused."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin_account import Account, job_of

from agent.sim.iot.jobs import JobPlan, Jobs
from agent.sim.managed_integrations.world import INDEXED
from agent.sim.records import Records

TEXTS = st.text("aé:\x00", max_size=3)
BODIES = st.dictionaries(
    st.sampled_from(("status", "statusDetails", "expectedVersion", "executionNumber", "stepTimeoutInMinutes")),
    st.none()
    | st.booleans()
    | st.integers(-2, 20000)
    | TEXTS
    | st.sampled_from(("IN_PROGRESS", "FAILED"))
    | st.lists(TEXTS, max_size=2)
    | st.dictionaries(TEXTS, TEXTS, max_size=2),
    max_size=4,
)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    yield made
    made.close()


def shown(names: dict[str, str], notifications: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The notifications of one step, as the guide's script writes them; a dash is none."""
    told: dict[str, Any] = {"notify": "-", "notify-next": "-"}
    for topic, body in notifications:
        assert told[topic] == "-", f"two of {topic}"
        if topic == "notify":
            told[topic] = {status: [names[e["jobId"]] for e in group] for status, group in body["jobs"].items()}
        else:
            execution = body.get("execution")
            told[topic] = f"{names[execution['jobId']]} {execution['status']}" if execution else "nothing"
            assert execution is None or execution["jobDocument"] == {"operation": "update"}
    return told


def test_notifications_follow_the_script_of_the_guide(account: Account) -> None:
    (thing,) = account.things(1)
    names: dict[str, str] = {}
    tasks: dict[str, str] = {}

    def create(name: str) -> None:
        tasks[name] = account.task([thing])
        names[job_of(tasks[name])] = name

    def update(name: str, status: str) -> None:
        account.accepted(thing, f"{job_of(tasks[name])}/update", status=status)

    script: list[tuple[Any, Any, str]] = [
        (lambda: create("J1"), {"QUEUED": ["J1"]}, "J1 QUEUED"),
        (lambda: create("J2"), {"QUEUED": ["J1", "J2"]}, "-"),
        (lambda: account.accepted(thing, "start-next"), "-", "-"),
        (lambda: create("J3"), {"IN_PROGRESS": ["J1"], "QUEUED": ["J2", "J3"]}, "-"),
        (lambda: update("J1", "SUCCEEDED"), {"QUEUED": ["J2", "J3"]}, "J2 QUEUED"),
        (lambda: update("J3", "IN_PROGRESS"), "-", "J3 IN_PROGRESS"),
        (lambda: update("J2", "REJECTED"), {"IN_PROGRESS": ["J3"]}, "-"),
        (lambda: account.api.delete_ota_task(Identifier=tasks["J3"]), {}, "nothing"),
    ]
    for number, (step, listed, following) in enumerate(script, 1):
        account.now += 1
        step()
        found = shown(names, account.heard(thing))
        assert found == {"notify": listed, "notify-next": following}, f"step {number}"


def test_a_notification_lists_ten_of_them(account: Account) -> None:
    (thing,) = account.things(1)
    tasks = [account.task([thing]) for _ in range(12)]
    listed = [len(body["jobs"]["QUEUED"]) for topic, body in account.heard(thing) if topic == "notify"]
    assert listed == [*range(1, 11), 10, 10]
    assert [entry["jobId"] for entry in account.accepted(thing, "get")["queuedJobs"]] == [job_of(t) for t in tasks]


def test_start_next_hands_the_same_job_back_until_it_has_ended(account: Account) -> None:
    (thing,) = account.things(1)
    first, second = account.task([thing]), account.task([thing])
    started = account.accepted(thing, "start-next", statusDetails={"phase": "download"})["execution"]
    assert (started["jobId"], started["versionNumber"], started["startedAt"]) == (job_of(first), 2, account.now)
    again = account.accepted(thing, "start-next", statusDetails={"phase": "other"})["execution"]
    assert (again["statusDetails"], again["versionNumber"]) == ({"phase": "download"}, 2)
    found = account.accepted(thing, "$next/get", includeJobDocument=False)["execution"]
    assert (found["jobId"], "jobDocument" in found) == (job_of(first), False)
    account.accepted(thing, f"{job_of(first)}/update", status="SUCCEEDED")
    assert account.job(thing, f"{job_of(first)}/get")[1]["code"] == "TerminalStateReached"
    assert account.accepted(thing, "start-next")["execution"]["jobId"] == job_of(second)


def test_an_update_answers_with_what_it_is_asked_for(account: Account) -> None:
    (thing,) = account.things(1)
    topic = f"{job_of(account.task([thing]))}/update"
    assert account.accepted(thing, topic, status="IN_PROGRESS").keys() == {"timestamp"}
    more = {"includeJobExecutionState": True, "includeJobDocument": True, "clientToken": "t"}
    answer = account.accepted(thing, topic, status="IN_PROGRESS", statusDetails={"a": "b"}, expectedVersion=2, **more)
    assert answer["executionState"] == {"status": "IN_PROGRESS", "statusDetails": {"a": "b"}, "versionNumber": 3}
    assert (answer["jobDocument"], answer["clientToken"]) == ({"operation": "update"}, "t")
    stale = account.job(thing, topic, status="SUCCEEDED", expectedVersion=2)[1]
    assert (stale["code"], stale["executionState"]["versionNumber"]) == ("VersionMismatch", 3)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "QUEUED"},
        {"status": "CANCELED"},
        {"status": ["FAILED"]},
        {"status": "FAILED", "statusDetails": {"key": ""}},
        {"status": "FAILED", "statusDetails": {"key": "x" * 1025}},
        {"status": "FAILED", "statusDetails": {"key": 1}},
        {"status": "FAILED", "statusDetails": {"a key": "x"}},
        {"status": "FAILED", "statusDetails": {f"k{n}": "x" for n in range(11)}},
        {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 0},
        {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 10081},
        {"status": "IN_PROGRESS", "stepTimeoutInMinutes": True},
    ],
)
def test_an_update_that_breaks_a_rule_is_refused_and_changes_nothing(account: Account, body: dict[str, Any]) -> None:
    (thing,) = account.things(1)
    task = account.task([thing])
    outcome, answer = account.job(thing, f"{job_of(task)}/update", **body)
    assert (outcome, answer["code"]) == ("rejected", "InvalidRequest")
    assert account.accepted(thing, f"{job_of(task)}/get")["execution"]["versionNumber"] == 1


@given(st.sampled_from(("get", "start-next", "j/get", "$next/get", "j/update", "other/update")), st.binary(max_size=60))
def test_any_payload_is_answered_once(request_: str, payload: bytes) -> None:
    assert len(answers(request_, payload)) == 1


@given(st.sampled_from(("start-next", "j/get", "j/update")), BODIES)
def test_any_body_is_answered_once(request_: str, body: dict[str, Any]) -> None:
    assert len(answers(request_, json.dumps(body).encode())) == 1


def answers(request_: str, payload: bytes) -> list[dict[str, Any]]:
    told: list[tuple[str, dict[str, Any]]] = []
    with closing(Records(None, INDEXED)) as records:
        jobs = Jobs(records, lambda: 1.0, lambda topic, body: told.append((topic, body)), lambda text: text)
        jobs.create("j", "{}", ["t"], JobPlan())
        jobs.executions.request("t", tuple(request_.split("/")), payload)
    return [body for topic, body in told if topic.startswith(f"$aws/things/t/jobs/{request_}/")]
