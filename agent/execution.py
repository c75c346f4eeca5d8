"""Commands carried out by a driver, each to its one end: an Outcome, or parked until the device can be reached."""

import asyncio
from collections.abc import Callable

from agent.driver import ActsTogether, Driver, DriverError, DriverLost, NotNow
from agent.model import ActionResult, Command, Outcome
from agent.requests import CommandEnded, CommandParked

LATE = "the deadline passed before the device answered"
Ended = CommandEnded | CommandParked


async def execute(driver: Driver, command: Command, end: float) -> Ended:
    """`end`: the command's deadline on the loop's clock."""
    try:
        async with asyncio.timeout_at(end):
            return CommandEnded(await driver.execute(command))
    except (NotNow, DriverLost) as error:
        return CommandParked(command.trace_id, str(error))
    except TimeoutError:
        return CommandEnded(Outcome(command.trace_id, (), LATE, 408))
    except DriverError as error:
        return CommandEnded(Outcome(command.trace_id, (), str(error), error.code))


async def execute_together(
    driver: ActsTogether, commands: tuple[Command, ...], end: float, tell: Callable[[Ended], None]
) -> None:
    """Commands of different devices with one and the same action; each end is told when it comes."""
    open_, (action,) = {command.device.key: command for command in commands}, commands[0].actions

    def ended(key: str, error: DriverError | None) -> None:
        trace_id = open_.pop(key).trace_id
        if isinstance(error, NotNow):
            tell(CommandParked(trace_id, str(error)))
            return
        result = ActionResult(action, 200) if error is None else ActionResult(action, error.code, str(error))
        tell(CommandEnded(Outcome(trace_id, (result,))))

    try:
        async with asyncio.timeout_at(end):
            await driver.execute_together(list(open_), action, ended)
    except DriverLost as error:
        for command in open_.values():
            tell(CommandParked(command.trace_id, str(error)))
    except TimeoutError:
        for command in open_.values():
            tell(CommandEnded(Outcome(command.trace_id, (), LATE, 408)))
