"""Limits of schedules and configurations: the first value that is refused, and the last that is not, with boto3's own checks off."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin_account import NOON, Account
from standin_rig import client

from agent.sim.managed_integrations.service import SERVICE

pytestmark = pytest.mark.conformance

HALF_HOUR, DAY, YEAR = timedelta(minutes=30), timedelta(days=1), timedelta(days=365)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    made.api = client("http://stand-in", check=False)
    made.api.meta.events.register(f"before-send.{SERVICE}", made._send)
    yield made
    made.close()


def schedule(account: Account, start: timedelta | None, end: timedelta | None) -> dict[str, str]:
    """A schedule whose times are so long from now."""
    now = datetime.fromtimestamp(account.now, UTC).replace(second=0)
    times = {"StartTime": start, "EndTime": end}
    return {name: (now + after).strftime("%Y-%m-%dT%H:%M") for name, after in times.items() if after is not None}


# ---- schedules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 59])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (HALF_HOUR, None),
        (YEAR, None),
        (None, HALF_HOUR),
        (None, 2 * YEAR),
        (HALF_HOUR, 2 * HALF_HOUR),
        (YEAR, 2 * YEAR),
        (HALF_HOUR, 2 * YEAR),
    ],
)
def test_a_schedule_within_its_limits_is_taken(
    account: Account, seconds: int, start: timedelta | None, end: timedelta | None
) -> None:
    account.now += seconds
    task = account.task(account.things(1), OtaSchedulingConfig=schedule(account, start, end))
    assert account.status(task) == ("IN_PROGRESS" if start is None else "SCHEDULED")


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (HALF_HOUR - MINUTE, None, "StartTime is at least 30 minutes"),
        (-DAY, None, "StartTime is at least 30 minutes"),
        (YEAR + MINUTE, None, "at most a year"),
        (None, HALF_HOUR - MINUTE, "EndTime is at least 30 minutes"),
        (None, -DAY, "EndTime is at least 30 minutes"),
        (None, 2 * YEAR + MINUTE, "at most two years"),
        (HALF_HOUR, 2 * YEAR + MINUTE, "at most two years"),
        (HALF_HOUR, 2 * HALF_HOUR - MINUTE, "EndTime is at least 30 minutes after StartTime"),
        (2 * HALF_HOUR, HALF_HOUR, "EndTime is at least 30 minutes after StartTime"),
    ],
)
def test_a_schedule_beyond_its_limits_is_refused_and_makes_no_task(
    account: Account, start: timedelta | None, end: timedelta | None, reason: str
) -> None:
    with pytest.raises(ClientError, match=f"ValidationException.*OtaSchedulingConfig.*{reason}"):
        account.task(account.things(1), OtaSchedulingConfig=schedule(account, start, end))
    assert account.api.list_ota_tasks()["Tasks"] == []


@pytest.mark.parametrize(("minutes", "good"), [(0, False), (1, True), (1430, True), (1431, False)])
def test_a_window_lasts_no_longer_than_a_day_less_ten_minutes(account: Account, minutes: int, *, good: bool) -> None:
    windows = [{"StartTime": "cron(0 3 * * ? *)", "DurationInMinutes": minutes}]
    assert refused(lambda: account.task(account.things(1), OtaSchedulingConfig={"MaintenanceWindows": windows})) != good


def test_a_window_of_the_greatest_length_is_shut_for_ten_minutes(account: Account) -> None:
    """It opens at noon, when the test's clock begins."""
    things = account.things(4)
    windows = [{"StartTime": "cron(0 12 * * ? *)", "DurationInMinutes": 1430}]
    push = {"RolloutConfig": {"MaximumPerMinute": 1}}
    task = account.task(things, push, OtaSchedulingConfig={"MaintenanceWindows": windows})
    assert len(account.executions(task)) == 1
    account.now = NOON + 1429 * 60
    account.tick()
    assert len(account.executions(task)) == 2
    for minute in range(1431, 1440):
        account.now = NOON + minute * 60
        account.tick()
    assert len(account.executions(task)) == 2
    account.now = NOON + 1440 * 60
    account.tick()
    assert len(account.executions(task)) == 3


# ---- configurations -----------------------------------------------------------------------------------------------------

EXPONENTIAL: dict[str, Any] = {
    "BaseRatePerMinute": 1,
    "IncrementFactor": 1.1,
    "RateIncreaseCriteria": {"numberOfNotifiedThings": 1},
}
ABORT: dict[str, Any] = {
    "Action": "CANCEL",
    "FailureType": "ALL",
    "MinNumberOfExecutedThings": 1,
    "ThresholdPercentage": 1.0,
}
LIMITS: list[tuple[str, dict[str, Any], str, list[float | str], list[float | str]]] = [
    ("TimeoutConfig", {}, "InProgressTimeoutInMinutes", [1, 10080], [0, 10081]),
    ("RolloutConfig", {}, "MaximumPerMinute", [1, 1000], [0]),
    ("ExponentialRolloutRate", EXPONENTIAL, "BaseRatePerMinute", [1, 100], [0, 101]),
    ("ExponentialRolloutRate", EXPONENTIAL, "IncrementFactor", [1.1, 5], [1, 5.1]),
    ("RateIncreaseCriteria", {}, "numberOfNotifiedThings", [1, 100], [0, 101]),
    ("RateIncreaseCriteria", {}, "numberOfSucceededThings", [1, 100], [0, 101]),
    ("AbortConfig", ABORT, "Action", ["CANCEL"], ["STOP"]),
    ("AbortConfig", ABORT, "FailureType", ["FAILED", "REJECTED", "TIMED_OUT", "ALL"], ["REMOVED"]),
    ("AbortConfig", ABORT, "MinNumberOfExecutedThings", [1, 100], [0, 101]),
    ("AbortConfig", ABORT, "ThresholdPercentage", [1, 100], [100.5]),
]


def refused(work: Any) -> bool:
    try:
        work()
    except ClientError as error:
        code = error.response["Error"]["Code"]
    else:
        return False
    assert code == "ValidationException"
    return True


def push(kind: str, members: dict[str, Any]) -> dict[str, Any]:
    """A PushConfig with this part."""
    match kind:
        case "AbortConfig":
            return {"AbortConfig": {"AbortConfigCriteriaList": [members]}}
        case "RateIncreaseCriteria":
            return push("ExponentialRolloutRate", {**EXPONENTIAL, "RateIncreaseCriteria": members})
        case "ExponentialRolloutRate":
            return {"RolloutConfig": {"ExponentialRolloutRate": members, "MaximumPerMinute": 1000}}
    return {kind: members}


@pytest.mark.parametrize(
    ("kind", "members", "name", "good", "bad"), LIMITS, ids=[f"{row[0]}-{row[2]}" for row in LIMITS]
)
def test_a_configuration_has_limits(
    account: Account,
    kind: str,
    members: dict[str, Any],
    name: str,
    good: list[float | str],
    bad: list[float | str],
) -> None:
    for value in good:
        assert not refused(lambda value=value: account.configuration(push(kind, {**members, name: value}))), value
    for value in bad:
        assert refused(lambda value=value: account.configuration(push(kind, {**members, name: value}))), value


@pytest.mark.parametrize(
    ("failure", "count", "good"),
    [("FAILED", 0, True), ("ALL", 10, True), ("TIMED_OUT", 11, False), ("REJECTED", 1, False)],
)
def test_a_task_is_retried_ten_times_at_most(account: Account, failure: str, count: int, *, good: bool) -> None:
    criteria = {"RetryConfigCriteria": [{"FailureType": failure, "MinNumberOfRetries": count}]}
    things = account.things(1)
    assert refused(lambda: account.task(things, OtaTaskExecutionRetryConfig=criteria)) != good
