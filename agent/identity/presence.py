"""Whether the device that has the hub's key is there.

A connection that stands does not ask it: a token that was pulled out would be missed only by the next one, perhaps days later.
"""

import asyncio
import logging

from agent.errors import HubError
from agent.identity.slots import Slots

log = logging.getLogger(__name__)

LOOK = 30.0  # seconds; a signature costs a token some milliseconds, a TPM some tens


class Presence:
    """`trouble`: why the key in use cannot be used now, empty while it can."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.trouble = ""

    async def live(self) -> None:
        """For as long as the hub runs."""
        while True:
            await asyncio.sleep(LOOK)
            trouble = await asyncio.to_thread(self._look)
            if trouble and not self.trouble:
                log.error("the hub's key cannot be used; connections that stand go on: %s", trouble)
            elif self.trouble and not trouble:
                log.warning("the hub's key is there again")
            self.trouble = trouble

    def _look(self) -> str:
        """Signs, which alone proves it."""
        try:
            slot = self._slots.record.current
            if slot is not None:
                self._slots.keys.sign(self._slots.key(slot), b"is it there?")
        except HubError as error:
            return error.advice
        return ""
