"""Campaigns in the hub's store, so that a restart goes on with the devices that are left."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.clock import Clock
from agent.model import DeviceId
from agent.ota.campaign import Member, Standing
from agent.store import Statement, Store

_CAMPAIGN = "INSERT OR REPLACE INTO ota_campaigns (key, kind, over, spent) VALUES (?, ?, ?, ?)"
_DEVICE = (
    "INSERT OR REPLACE INTO ota_devices (campaign, radio, device, state, before, tries, detail, at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_FORGET_DEVICES = (
    "DELETE FROM ota_devices WHERE campaign IN (SELECT key FROM ota_campaigns WHERE kind = ? AND (over = 1 OR key = ?))"
)
_FORGET = "DELETE FROM ota_campaigns WHERE kind = ? AND (over = 1 OR key = ?)"


@dataclass(slots=True)
class Campaign:
    """One that is under way. `spent` is in seconds, over all starts."""

    key: str
    kind: str
    spent: float = 0.0
    members: dict[DeviceId, Member] = field(default_factory=dict)


class CampaignBook:
    """Of one kind of devices: it keeps the campaigns that are not over, and the last one."""

    def __init__(self, store: Store, clock: Clock, kind: str) -> None:
        self._store, self._clock, self._kind = store, clock, kind

    async def open(self, key: str) -> Campaign | None:
        """The campaign of that key, if it is not over. Raises StorageError."""
        found: Campaign | None = await self._store.read(lambda db: _load(db, key, over=False))
        return found

    async def last(self, key: str) -> Campaign | None:
        """The campaign of that key, over or not. Raises StorageError."""
        found: Campaign | None = await self._store.read(lambda db: _load(db, key, over=True))
        return found

    async def begin(self, key: str, members: Iterable[Member]) -> Campaign:
        """Take one up, in place of those that are over. Raises StorageError."""
        made = Campaign(key, self._kind, members={member.id: member for member in members})
        await self._store.submit(
            [*self._forget(key), self._row(made, over=False), self._rows(made, made.members.values())]
        )
        return made

    async def put(self, campaign: Campaign, *members: Member) -> None:
        """Keep how devices stand, and how long it has taken. Raises StorageError."""
        campaign.members.update({member.id: member for member in members})
        await self._store.submit([self._row(campaign, over=False), self._rows(campaign, members)])

    async def close(self, key: str) -> None:
        """It is over; what became of each device stays to be read until the next one. Raises StorageError."""
        await self._store.submit([Statement("UPDATE ota_campaigns SET over = 1 WHERE key = ?", [(key,)])])

    async def forget(self, key: str) -> None:
        """This one, and those that are over. Raises StorageError."""
        await self._store.submit(self._forget(key))

    def _forget(self, key: str) -> list[Statement]:
        return [Statement(_FORGET_DEVICES, [(self._kind, key)]), Statement(_FORGET, [(self._kind, key)])]

    def _row(self, campaign: Campaign, *, over: bool) -> Statement:
        return Statement(_CAMPAIGN, [(campaign.key, campaign.kind, int(over), campaign.spent)])

    def _rows(self, campaign: Campaign, members: Iterable[Member]) -> Statement:
        wall = self._clock.now().wall
        rows = [(campaign.key, m.id.radio, m.id.key, m.standing, m.before, m.tries, m.detail, wall) for m in members]
        return Statement(_DEVICE, rows)


def _load(db: sqlite3.Connection, key: str, *, over: bool) -> Campaign | None:
    sql = "SELECT kind, spent FROM ota_campaigns WHERE key = ? AND over <= ?"
    found = db.execute(sql, (key, int(over))).fetchone()
    if found is None:
        return None
    members = [
        Member(DeviceId(radio, device), before, Standing(state), tries, detail)
        for radio, device, state, before, tries, detail in db.execute(
            "SELECT radio, device, state, before, tries, detail FROM ota_devices WHERE campaign = ?", (key,)
        )
    ]
    return Campaign(key, found[0], found[1], {member.id: member for member in members})
