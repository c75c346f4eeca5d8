"""Actions on devices: the catalogue says which ZCL requests an action is, this carries them out.

Nothing is believed because it was asked for: values come from the device's report, or are read back when none comes.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from zigpy.zcl.foundation import Status

from agent.driver import NotSupported
from agent.model import Action, JsonValue
from drivers.zigbee.catalog import ZclCommand, ZclRead, ZclWrite
from drivers.zigbee.node import Node
from drivers.zigbee.requests import Priority, Requests, Undelivered, expect_success

COMMAND_TIMEOUT = 60.0  # seconds; the command's deadline is mostly nearer
REPORT_GRACE = 1.0  # seconds in which a device may report a change by itself
RETRY_PAUSE = 0.2

ReadBack = Callable[[Node, ZclRead], None]


async def perform(node: Node, action: Action, requests: Requests, read_back: ReadBack) -> dict[str, JsonValue]:
    """Carry out one action; the values that it answered. Raises DriverError."""
    values: dict[str, JsonValue] = {}
    for step in node.map.translate(action):
        if isinstance(step, ZclRead):
            values.update(await _read(node, action, step, requests))
        elif isinstance(step, ZclWrite):
            await _write(node, step, requests)
            read_back(node, ZclRead(step.endpoint, step.cluster, tuple(step.values)))
        else:
            await _command(node, step, requests)
            if step.confirm:
                read_back(node, ZclRead(step.endpoint, step.cluster, step.confirm))
    return values


async def _read(node: Node, action: Action, step: ZclRead, requests: Requests) -> dict[str, JsonValue]:
    answered, failed = await node.read(requests, step, Priority.USER)
    if failed and not answered:
        expect_success(next(iter(failed.values())), "the read")
    wanted = action.parameters.get("propertiesToRead") or ["*"]
    values: dict[str, JsonValue] = {}
    for attribute, raw in answered.items():
        for told in node.map.report(step.endpoint, step.cluster, attribute, raw):
            if (told.endpoint, told.capability) == (action.endpoint, action.capability):
                values.update(
                    {name: value for name, value in told.properties.items() if "*" in wanted or name in wanted}
                )
    return values


async def _write(node: Node, step: ZclWrite, requests: Requests) -> None:
    cluster = node.cluster(step.endpoint, step.cluster)
    answer = await requests.ask(
        lambda: cluster.write_attributes(dict(step.values), retries=node.retries),
        limit=COMMAND_TIMEOUT,
        priority=Priority.USER,
        sleepy=node.sleepy,
    )
    for record in answer[0]:
        expect_success(record.status, "the new value")


async def _command(node: Node, step: ZclCommand, requests: Requests) -> None:
    """Send once; again only when the first certainly did not arrive, for twice a toggle is none."""
    cluster = node.cluster(step.endpoint, step.cluster)
    if step.command not in cluster.server_commands:
        raise NotSupported(f"cluster 0x{step.cluster:04X} has no command 0x{step.command:02X}")

    async def send() -> Any:
        return await requests.ask(
            lambda: cluster.command(step.command, *step.arguments, retries=0),
            limit=COMMAND_TIMEOUT,
            priority=Priority.USER,
            sleepy=node.sleepy,
            repeatable=False,
        )

    try:
        answer = await send()
    except Undelivered:
        await asyncio.sleep(RETRY_PAUSE)
        answer = await send()
    expect_success(getattr(answer, "status", Status.SUCCESS), "the command")
