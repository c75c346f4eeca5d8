"""How nRF Cloud's firmware jobs for the BLE devices behind a gateway come and are told of (protocol notes, sections 3.3 and 5.6).

Only a device that the account has as a gateway may have these topics: nRF Cloud ends the connection of any other that subscribes to them.
"""

import logging
from collections.abc import Callable, Collection
from math import inf

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound, MqttLost
from agent.cloud.nrf_jobs import TYPES, RejectedJob, ble_id, ble_request, ble_update, read_ble_job
from agent.cloud.nrf_pairing import Pairing
from agent.cloud.nrf_wires import AGAIN, FirmwareJob, Offered
from agent.wire.nrf import FotaStatus

log = logging.getLogger(__name__)

_WORK = (FotaStatus.DOWNLOADING, FotaStatus.IN_PROGRESS)


class BleWire:
    """An agent.cloud.nrf_wires.Wire. `connected` gives the addresses of the BLE devices that can be reached."""

    every, quiet = inf, 0.0

    def __init__(self, channel: Channel, connected: Callable[[], Collection[str]]) -> None:
        self._channel, self._connected = channel, connected
        self._pairing: Pairing | None = None
        self._offered: Offered = _nobody
        self._unasked: set[str] | None = None  # devices whose jobs were not asked for yet; None: all of them

    def bind(self, offered: Offered, up: Callable[[], None]) -> None:
        """See Wire."""
        self._offered = offered
        self._channel.on_up.append(self._all)
        self._channel.on_up.append(up)

    def paired(self, pairing: Pairing) -> None:
        if self._pairing is not None:
            self._channel.unlisten(self._pairing.jobs("ble/rcv"))
        self._pairing = pairing
        self._channel.listen(pairing.jobs("ble/rcv"), self._heard)

    async def wait(self) -> None:
        """See Wire."""
        await self._channel.wait()

    def arrived(self, device: str) -> None:
        """A BLE device can be reached again: what was offered meanwhile was passed over."""
        if self._unasked is not None:
            self._unasked.add(device)

    def _all(self) -> None:
        self._unasked = None

    async def ask(self) -> None:
        """See Wire."""
        connected = set(self._connected())
        wanted = connected if self._unasked is None else self._unasked & connected
        self._unasked = set()
        for device in sorted(wanted):
            await self._channel.tell(self._topic("req"), ble_request(device))

    async def say(self, job: str, status: FotaStatus, details: str | int, timeout: float = AGAIN) -> bool:
        """As MqttWire has it. After an end all are asked for again: others were passed over meanwhile."""
        await self._channel.tell(self._topic("update"), ble_update(job, status, details), timeout)
        if status not in _WORK:
            self._all()
        return True

    def _heard(self, inbound: Inbound) -> None:
        try:
            job = read_ble_job(inbound.topic, inbound.payload)
        except MalformedMessage as error:
            log.warning("a firmware job is refused: %s", error)
        except RejectedJob as error:
            self._offered(error)
        else:
            if job.device not in self._connected():
                log.info(
                    "job %s is passed over: %s is not connected, and is asked for when it is", job.job_id, job.device
                )
                return
            first, *more = job.path.split(" ")
            kind, paths = TYPES.get(job.firmware_type, str(job.firmware_type)), (first, *more) if more else ()
            told = ble_id(job.device, job.job_id)
            self._offered(FirmwareJob(told, kind, job.file_size, job.host, first, job.device, paths))

    def _topic(self, name: str) -> str:
        if self._pairing is None:
            raise MqttLost("nRF Cloud has not said yet which topics this device has", place=self._channel.place)
        return self._pairing.jobs(f"ble/{name}")


def _nobody(_job: FirmwareJob | RejectedJob) -> None:
    """Before anyone listens."""
