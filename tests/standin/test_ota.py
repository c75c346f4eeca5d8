"""OTA tasks on a clock of the test: roll-out, time-outs, retries, abort criteria, schedules, windows and continuous targets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin_account import Account, job_of

pytestmark = pytest.mark.conformance

TIMEOUT = {"TimeoutConfig": {"InProgressTimeoutInMinutes": 20}}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    yield made
    made.close()


def abort(**criterion: Any) -> dict[str, Any]:
    criteria = [{"Action": "CANCEL", "ThresholdPercentage": 50.0, "MinNumberOfExecutedThings": 2, **criterion}]
    return {**TIMEOUT, "AbortConfig": {"AbortConfigCriteriaList": criteria}}


def retry(failure: str, count: int) -> dict[str, Any]:
    return {"RetryConfigCriteria": [{"FailureType": failure, "MinNumberOfRetries": count}]}


def at(account: Account, minutes: float) -> str:
    """A time of a schedule, so many minutes from now."""
    return datetime.fromtimestamp(account.now + minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")


# ---- abort criteria -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "ends", "aborted"),
    [
        ("FAILED", ("FAILED", "FAILED"), True),
        ("FAILED", ("REJECTED", "REJECTED"), False),
        ("FAILED", ("SUCCEEDED", "FAILED"), True),
        ("FAILED", ("SUCCEEDED", "SUCCEEDED", "FAILED"), False),
        ("FAILED", ("FAILED",), False),
        ("REJECTED", ("REJECTED", "SUCCEEDED"), True),
        ("REJECTED", ("FAILED", "FAILED"), False),
        ("TIMED_OUT", ("TIMED_OUT", "TIMED_OUT"), True),
        ("TIMED_OUT", ("FAILED", "REJECTED"), False),
        ("ALL", ("FAILED", "REJECTED"), True),
        ("ALL", ("TIMED_OUT", "SUCCEEDED"), True),
        ("ALL", ("SUCCEEDED", "SUCCEEDED"), False),
    ],
)
def test_too_many_failures_cancel_what_has_not_begun(
    account: Account, failure: str, ends: tuple[str, ...], *, aborted: bool
) -> None:
    things = account.things(6)
    task = account.task(things, abort(FailureType=failure))
    begun, waiting = things[-2:]
    for thing, status in zip(things, ends, strict=False):
        if status == "TIMED_OUT":
            account.accepted(thing, "start-next", stepTimeoutInMinutes=2)
            account.pass_minutes(2)
        else:
            account.finish(thing, task, status)
        if thing == things[0]:
            account.accepted(begun, "start-next")
            assert account.status(task) == "IN_PROGRESS"  # one alone is not enough, whatever it is
    found = account.executions(task)
    assert account.status(task) == ("CANCELED" if aborted else "IN_PROGRESS")
    assert (found[begun], found[waiting]) == ("IN_PROGRESS", "CANCELED" if aborted else "QUEUED")
    account.accepted(begun, f"{job_of(task)}/update", status="SUCCEEDED")
    assert account.executions(task)[begun] == "SUCCEEDED"


def test_a_task_that_was_aborted_reaches_and_retries_nobody(account: Account) -> None:
    things = account.things(4)
    push = {**abort(FailureType="REJECTED", MinNumberOfExecutedThings=1), "RolloutConfig": {"MaximumPerMinute": 2}}
    task = account.task(things, push, OtaTaskExecutionRetryConfig=retry("ALL", 3))
    account.accepted(things[1], "start-next")
    account.finish(things[0], task, "REJECTED")
    account.accepted(things[1], f"{job_of(task)}/update", status="FAILED")
    account.pass_minutes(3)
    assert account.executions(task) == {things[0]: "REJECTED", things[1]: "FAILED"}


# ---- retries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["FAILED", "ALL"])
def test_a_failure_comes_back_under_the_same_job_with_the_next_number(account: Account, failure: str) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], OtaTaskExecutionRetryConfig=retry(failure, 2))
    for number in (1, 2, 3):
        started = account.accepted(thing, "start-next")["execution"]
        assert (started["jobId"], started["executionNumber"], started["versionNumber"]) == (job_of(task), number, 2)
        assert account.summaries(task)[thing]["RetryAttempt"] == number - 1
        account.accepted(thing, f"{job_of(task)}/update", status="FAILED", executionNumber=number)
    assert "execution" not in account.accepted(thing, "start-next")
    assert (account.status(task), account.executions(task)) == ("COMPLETED", {thing: "FAILED"})


def test_a_retry_is_notified_as_a_job_that_left_and_came(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], OtaTaskExecutionRetryConfig=retry("FAILED", 1))
    account.accepted(thing, "start-next")
    account.heard(thing)
    account.accepted(thing, f"{job_of(task)}/update", status="FAILED")
    *_, (list_topic, jobs), (next_topic, following) = account.heard(thing)
    assert (list_topic, [entry["executionNumber"] for entry in jobs["jobs"]["QUEUED"]]) == ("notify", [2])
    assert (next_topic, following["execution"]["executionNumber"]) == ("notify-next", 2)
    assert account.job(thing, f"{job_of(task)}/get", executionNumber=1)[1]["code"] == "ResourceNotFound"


def test_a_rejection_is_final_and_so_is_a_failure_that_no_criterion_names(account: Account) -> None:
    first, second = account.things(2)
    task = account.task([first, second], TIMEOUT, OtaTaskExecutionRetryConfig=retry("ALL", 5))
    account.finish(first, task, "REJECTED")
    assert account.executions(task)[first] == "REJECTED"
    other = account.task([second], OtaTaskExecutionRetryConfig=retry("TIMED_OUT", 5))
    account.finish(second, other, "FAILED")
    assert account.executions(other) == {second: "FAILED"}


def test_each_kind_of_failure_has_retries_of_its_own(account: Account) -> None:
    (thing,) = account.things(1)
    criteria = [*retry("FAILED", 1)["RetryConfigCriteria"], *retry("TIMED_OUT", 1)["RetryConfigCriteria"]]
    task = account.task([thing], TIMEOUT, OtaTaskExecutionRetryConfig={"RetryConfigCriteria": criteria})
    account.finish(thing, task, "FAILED")
    account.accepted(thing, "start-next")
    account.pass_minutes(20)
    assert account.executions(task) == {thing: "QUEUED"}
    account.finish(thing, task, "FAILED")
    assert account.executions(task) == {thing: "FAILED"}
    assert account.summaries(task)[thing]["RetryAttempt"] == 2


# ---- timers -------------------------------------------------------------------------------------------------------------


def test_what_takes_too_long_is_timed_out_and_takes_no_update_any_more(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], TIMEOUT)
    account.pass_minutes(60)
    assert account.executions(task) == {thing: "QUEUED"}  # the timer runs while it is in progress
    account.accepted(thing, "start-next")
    account.pass_minutes(19.5)
    account.accepted(thing, f"{job_of(task)}/update", status="IN_PROGRESS", statusDetails={"phase": "install"})
    account.heard(thing)
    account.pass_minutes(0.5)
    assert [(topic, body.get("jobs")) for topic, body in account.heard(thing)] == [
        ("notify", {}),
        ("notify-next", None),
    ]
    outcome, answer = account.job(thing, f"{job_of(task)}/update", status="SUCCEEDED", clientToken="t")
    assert (outcome, answer["code"], answer["clientToken"]) == ("rejected", "InvalidStateTransition", "t")
    assert answer["executionState"]["status"] == "TIMED_OUT"
    assert (account.status(task), account.executions(task)) == ("COMPLETED", {thing: "TIMED_OUT"})


def test_an_update_after_the_time_is_too_late_even_before_the_cloud_has_looked(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], TIMEOUT)
    account.accepted(thing, "start-next")
    account.now += 20 * 60
    assert account.job(thing, f"{job_of(task)}/update", status="SUCCEEDED")[1]["code"] == "InvalidStateTransition"


def test_a_time_out_is_retried(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], TIMEOUT, OtaTaskExecutionRetryConfig=retry("TIMED_OUT", 1))
    for number, end in ((1, "QUEUED"), (2, "TIMED_OUT")):
        assert account.accepted(thing, "start-next")["execution"]["executionNumber"] == number
        account.pass_minutes(20)
        assert account.executions(task) == {thing: end}


@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        (((5, 7),), 12),
        (((5, 7), (10, 5)), 15),
        (((5, 7), (10, 5), (13, 9)), 20),
        (((5, 7), (10, None)), 12),
        (((5, 7), (10, -1)), 20),
        ((), 20),
    ],
)
def test_the_step_timer_is_replaced_and_never_outlasts_the_job(
    account: Account, steps: tuple[tuple[int, int | None], ...], ends: int
) -> None:
    """The guide's example: in progress from 12:00 for 20 minutes; steps at 12:05, 12:10 and 12:13."""
    (thing,) = account.things(1)
    task = account.task([thing], TIMEOUT)
    account.accepted(thing, "start-next")
    gone = 0
    for minute, step in steps:
        account.pass_minutes(minute - gone)
        gone = minute
        more = {} if step is None else {"stepTimeoutInMinutes": step}
        account.accepted(thing, f"{job_of(task)}/update", status="IN_PROGRESS", **more)
    account.pass_minutes(ends - gone - 0.5)
    assert account.executions(task) == {thing: "IN_PROGRESS"}
    account.pass_minutes(0.5)
    assert account.executions(task) == {thing: "TIMED_OUT"}


def test_a_step_may_begin_with_the_job_and_has_no_other_limit_without_a_time_out(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing])
    account.accepted(thing, "start-next", stepTimeoutInMinutes=3)
    account.pass_minutes(2)
    account.accepted(thing, "start-next", stepTimeoutInMinutes=10)
    account.pass_minutes(9)
    assert account.executions(task) == {thing: "IN_PROGRESS"}
    account.pass_minutes(1)
    assert account.executions(task) == {thing: "TIMED_OUT"}


# ---- roll-out -----------------------------------------------------------------------------------------------------------


def reached(account: Account, task: str, minutes: int) -> list[int]:
    """How many things have an execution at the end of each minute, however often the cloud looks."""
    counts = []
    for _ in range(minutes):
        account.now += 1
        account.tick(5)
        counts.append(len(account.executions(task)))
        account.now += 59
    return counts


def test_a_roll_out_reaches_no_more_things_a_minute_than_it_may(account: Account) -> None:
    task = account.task(account.things(7), {"RolloutConfig": {"MaximumPerMinute": 3}})
    account.tick(5)
    assert len(account.executions(task)) == 3
    account.now += 59
    assert reached(account, task, 3) == [6, 7, 7]


def test_an_exponential_roll_out_grows_from_minute_to_minute(account: Account) -> None:
    rate = {"BaseRatePerMinute": 2, "IncrementFactor": 2.0, "RateIncreaseCriteria": {"numberOfNotifiedThings": 2}}
    task = account.task(account.things(20), {"RolloutConfig": {"ExponentialRolloutRate": rate, "MaximumPerMinute": 5}})
    account.tick(5)
    assert len(account.executions(task)) == 2
    account.now += 59
    assert reached(account, task, 4) == [6, 11, 16, 20]


def test_a_roll_out_by_success_waits_for_it(account: Account) -> None:
    rate = {"BaseRatePerMinute": 1, "IncrementFactor": 3.0, "RateIncreaseCriteria": {"numberOfSucceededThings": 1}}
    things = account.things(8)
    task = account.task(things, {"RolloutConfig": {"ExponentialRolloutRate": rate, "MaximumPerMinute": 100}})
    account.now += 59
    assert reached(account, task, 2) == [2, 3]
    account.finish(things[0], task, "SUCCEEDED")
    assert reached(account, task, 2) == [6, 8]


# ---- schedules ----------------------------------------------------------------------------------------------------------


def test_a_task_waits_for_its_start(account: Account) -> None:
    (thing,) = account.things(1)
    task = account.task([thing], OtaSchedulingConfig={"StartTime": at(account, 60)})
    account.pass_minutes(59)
    assert (account.status(task), account.executions(task), account.heard(thing)) == ("SCHEDULED", {}, [])
    account.pass_minutes(1)
    assert (account.status(task), account.executions(task)) == ("IN_PROGRESS", {thing: "QUEUED"})


@pytest.mark.parametrize(
    ("behaviour", "state", "begun", "waiting"),
    [
        ("STOP_ROLLOUT", "IN_PROGRESS", "IN_PROGRESS", "QUEUED"),
        ("CANCEL", "CANCELED", "IN_PROGRESS", "CANCELED"),
        ("FORCE_CANCEL", "CANCELED", "CANCELED", "CANCELED"),
    ],
)
def test_the_end_of_a_schedule_stops_what_its_behaviour_says(
    account: Account, behaviour: str, state: str, begun: str, waiting: str
) -> None:
    things = account.things(3)
    schedule = {"StartTime": at(account, 30), "EndTime": at(account, 60), "EndBehavior": behaviour}
    task = account.task(things, {"RolloutConfig": {"MaximumPerMinute": 2}}, OtaSchedulingConfig=schedule)
    account.pass_minutes(30)
    account.accepted(things[0], "start-next")
    account.now += 30 * 60  # nobody looked meanwhile: the third thing was not reached
    account.tick()
    assert account.status(task) == state
    assert account.executions(task) == {things[0]: begun, things[1]: waiting}
    outcome, _ = account.job(things[0], f"{job_of(task)}/update", status="SUCCEEDED")
    assert outcome == ("rejected" if behaviour == "FORCE_CANCEL" else "accepted")
    if behaviour == "STOP_ROLLOUT":
        account.finish(things[1], task, "SUCCEEDED")
        assert account.status(task) == "COMPLETED"


@pytest.mark.parametrize(
    "schedule",
    [
        {"StartTime": "2027-02-01T10:00", "EndTime": "2027-02-01T10:00"},
        {"StartTime": "tomorrow"},
        {"MaintenanceWindows": [{"StartTime": "at night", "DurationInMinutes": 60}]},
        {"MaintenanceWindows": [{"StartTime": "cron(0 3 30 2 ? *)", "DurationInMinutes": 60}]},
    ],
)
def test_a_schedule_that_cannot_be_is_refused(account: Account, schedule: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        account.task(account.things(1), OtaSchedulingConfig=schedule)
    assert account.api.list_ota_tasks()["Tasks"] == []


def test_executions_appear_in_maintenance_windows_only(account: Account) -> None:
    things = account.things(25)
    window = {"StartTime": "cron(0 14 ? * FRI,SAT *)", "DurationInMinutes": 10}
    push = {"RolloutConfig": {"MaximumPerMinute": 2}}
    task = account.task(things, push, OtaSchedulingConfig={"MaintenanceWindows": [window]})
    account.pass_minutes(119)
    assert (account.status(task), account.executions(task)) == ("IN_PROGRESS", {})
    account.pass_minutes(1)
    assert len(account.executions(task)) == 2
    account.pass_minutes(60)
    assert len(account.executions(task)) == 20
    account.accepted(things[0], "start-next")  # what was reached may go on outside the window
    account.now += 22 * 3600 + 58 * 60
    account.tick()
    assert len(account.executions(task)) == 20
    account.pass_minutes(5)
    assert len(account.executions(task)) == 25


@pytest.mark.parametrize(("weekday", "days"), [("6", 0), ("7", 1), ("1", 2), ("MON-TUE", 3), ("2-3", 3)])
def test_days_of_the_week_are_counted_as_the_vendors_cron_does(account: Account, weekday: str, days: int) -> None:
    """Sunday is 1 there, 0 in a crontab; the test's clock begins on a Friday."""
    window = {"StartTime": f"cron(0 13 ? * {weekday} *)", "DurationInMinutes": 60}
    task = account.task(account.things(1), OtaSchedulingConfig={"MaintenanceWindows": [window]})
    account.now += 3600 - 1
    for _ in range(days):
        account.tick()
        account.now += 86400
    account.tick()
    assert account.executions(task) == {}
    account.now += 1
    account.tick()
    assert len(account.executions(task)) == 1


# ---- continuous tasks ---------------------------------------------------------------------------------------------------


def continuous(account: Account, query: str = "attributes.owner=acme", **more: Any) -> str:
    return account.task([], OtaType="CONTINUOUS", OtaTargetQueryString=query, **more)


def test_a_continuous_task_reaches_what_comes_to_fit_later_and_never_ends(account: Account) -> None:
    (first,), (second,) = account.things(1, owner="acme", floor="1"), account.things(1, owner="other", floor="1")
    task = continuous(account, "attributes.owner=acme AND attributes.floor=1")
    account.finish(first, task, "SUCCEEDED")
    account.tick()
    assert (account.status(task), account.executions(task)) == ("IN_PROGRESS", {first: "SUCCEEDED"})
    account.api.update_managed_thing(Identifier=second, MetaData={"owner": "acme", "floor": "1"})
    account.tick()
    assert account.executions(task) == {first: "SUCCEEDED", second: "QUEUED"}
    assert [topic for topic, _ in account.heard(second)] == ["notify", "notify-next"]
    (third,) = account.things(1, owner="acme", floor="1")
    account.tick(2)
    assert account.executions(task)[third] == "QUEUED"


def test_a_continuous_task_whose_roll_out_has_stopped_reaches_nobody_more(account: Account) -> None:
    (first,) = account.things(1, owner="acme")
    task = continuous(account, OtaSchedulingConfig={"EndTime": at(account, 60), "EndBehavior": "STOP_ROLLOUT"})
    account.pass_minutes(60)
    account.things(1, owner="acme")
    account.tick(2)
    assert (account.status(task), account.executions(task)) == ("IN_PROGRESS", {first: "QUEUED"})
    account.finish(first, task, "SUCCEEDED")
    assert account.status(task) == "COMPLETED"


def test_a_thing_that_leaves_the_target_loses_its_execution_and_finds_it_again(account: Account) -> None:
    queued, begun, done = account.things(3, owner="acme")
    task = continuous(account)
    account.accepted(begun, "start-next")
    account.finish(done, task, "SUCCEEDED")
    for thing in (queued, begun, done):
        account.api.update_managed_thing(Identifier=thing, MetaData={"owner": "other"})
    account.tick()
    assert account.executions(task) == {queued: "REMOVED", begun: "REMOVED", done: "SUCCEEDED"}
    assert account.heard(queued)[-1][1].keys() == {"timestamp"}
    for thing in (queued, done):
        account.api.update_managed_thing(Identifier=thing, MetaData={"owner": "acme"})
    account.tick()
    assert account.executions(task) == {queued: "QUEUED", begun: "REMOVED", done: "SUCCEEDED"}
    assert account.summaries(task)[queued]["ExecutionNumber"] == 2


def test_a_thing_that_leaves_before_it_is_reached_is_not_reached(account: Account) -> None:
    first, second = account.things(2, owner="acme")
    task = continuous(account, TaskConfigurationId=account.configuration({"RolloutConfig": {"MaximumPerMinute": 1}}))
    account.api.update_managed_thing(Identifier=second, MetaData={"owner": "other"})
    account.pass_minutes(3)
    assert account.executions(task) == {first: "QUEUED"}


def test_a_thing_that_is_deleted_holds_no_task_up(account: Account) -> None:
    first, second, third = account.things(3)
    task = account.task([first, second, third], {"RolloutConfig": {"MaximumPerMinute": 2}})
    account.finish(first, task, "SUCCEEDED")
    for thing in (third, second):  # one that was not reached yet, and one that was
        account.api.delete_managed_thing(Identifier=thing, Force=True)
    assert (account.status(task), account.executions(task)) == ("COMPLETED", {first: "SUCCEEDED", second: "REMOVED"})


# ---- changing and deleting ----------------------------------------------------------------------------------------------


def test_a_task_takes_another_configuration(account: Account) -> None:
    things = account.things(5)
    task = account.task(things, {"RolloutConfig": {"MaximumPerMinute": 1}})
    faster = account.configuration({"RolloutConfig": {"MaximumPerMinute": 100}})
    account.api.update_ota_task(Identifier=task, TaskConfigurationId=faster)
    account.pass_minutes(1)
    assert len(account.executions(task)) == 5
    assert account.api.get_ota_task(Identifier=task)["TaskConfigurationId"] == faster


def test_a_task_that_is_deleted_is_gone_for_its_devices_too(account: Account) -> None:
    begun, waiting = account.things(2)
    task = account.task([begun, waiting])
    account.accepted(begun, "start-next")
    account.heard(begun)
    account.api.delete_ota_task(Identifier=task)
    for thing in (begun, waiting):
        *_, (_, jobs), (_, following) = account.heard(thing)
        assert (jobs["jobs"], following.keys()) == ({}, {"timestamp"})
        assert "execution" not in account.accepted(thing, "start-next")
        for request, more in (("get", {}), ("update", {"status": "SUCCEEDED"})):
            assert account.job(thing, f"{job_of(task)}/{request}", **more)[1]["code"] == "ResourceNotFound"
    account.pass_minutes(2)
    assert account.api.list_ota_tasks()["Tasks"] == []
