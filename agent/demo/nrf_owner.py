"""What the same owner does at nRF Cloud, by REST. This code works there as it stands, with https://api.nrfcloud.com/v1 and a key of yours."""

from typing import Any

import urllib3

Account = tuple[str, str]  # URL and API key


def call(account: Account, method: str, path: str, body: Any = None) -> Any:
    url, key = account
    answer = urllib3.request(method, f"{url}/{path}", headers={"Authorization": f"Bearer {key}"}, json=body)
    if answer.status not in (200, 202, 204):
        raise RuntimeError(f"{method} {path}: {answer.data.decode()}")
    return answer.json() if answer.data else None


def onboard(account: Account, hub: str, certificate: str) -> None:
    about = {"subType": "home-gateway", "tags": [], "supportedFirmwareTypes": ["APP"], "certificate": certificate}
    call(account, "POST", f"devices/{hub}", about)


def messages(account: Account, hub: str, app: str) -> list[dict[str, Any]]:
    page = call(account, "GET", f"messages?deviceId={hub}&pageLimit=100")
    lists = [one["message"] if isinstance(one["message"], list) else [one["message"]] for one in page["items"]]
    return [message for several in lists for message in several if message["appId"] == app]


def temperatures(account: Account, hub: str, thing: str) -> list[str]:
    return [message["data"] for message in messages(account, hub, "TEMP") if message["device"] == thing]


def switch(account: Account, hub: str, trace: str, light: str, endpoint: str, action: str) -> None:
    order = {"device": light, "endpoint": endpoint, "capability": "matter.OnOff@1.4", "action": action}
    message = {"appId": "DEVICE", "messageType": "CMD", "data": {"traceId": trace, **order}}
    call(account, "POST", f"devices/{hub}/messages", {"topic": f"d/{hub}/c2d", "message": message})


def results(account: Account, hub: str, trace: str) -> list[str]:
    answers = [message["data"] for message in messages(account, hub, "DEVICE")]
    return [answer["result"] for answer in answers if answer["traceId"] == trace]


def connect(account: Account, gateway: str, address: str) -> None:
    call(account, "PUT", f"devices/{gateway}/{address}")


def write(account: Account, address: str, characteristic: str, octets: list[int]) -> None:
    call(account, "PUT", f"devices/{address}/characteristics/{characteristic}", octets)


def read(account: Account, address: str, characteristic: str) -> Any:
    return call(account, "GET", f"devices/{address}/characteristics/{characteristic}?read=true")


def services(account: Account, address: str) -> dict[str, Any]:
    return dict(call(account, "GET", f"devices/{address}")["state"])
