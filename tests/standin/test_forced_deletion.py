"""What a forced deletion tells: a hub may not connect any more, and hears nothing; a hub whose device is deleted does."""

from contextlib import closing
from pathlib import Path

import pytest
from standin_account import Account

from agent.sim.managed_integrations.world import ToHub


def told(account: Account) -> list[tuple[str, str]]:
    return [(m.hub, m.message_type) for m in account.service.take_leaving() if isinstance(m, ToHub)]


@pytest.mark.parametrize("force", [True, False])
def test_a_hub_is_told_only_while_it_may_connect(tmp_path: Path, *, force: bool) -> None:
    with closing(Account(tmp_path)) as account:
        (hub,) = account.things(1)
        account.records.put("thing", hub, {**account.records.get("thing", hub), "ProvisioningStatus": "ACTIVATED"})
        account.service.take_leaving()
        account.api.delete_managed_thing(Identifier=hub, Force=force)
        assert told(account) == ([] if force else [(hub, "OFFBOARD_HUB")])
