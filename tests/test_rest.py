"""The REST client against a raw server that does what servers must not do: retries, limits, redirects, and what is never told."""

from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel
from raw_http import RawHttp, answer

from agent.cloud.rest import Bearer, Part, Policy, Rest, segment
from agent.settings.secret import Secret

KEY = "canary-key-0123456789"
FAST = Policy(total=5.0, connect=2.0, stall=2.0, attempts=3)


class Pauses:
    """Sleeps no time, and remembers."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


def client(server: RawHttp, pauses: Pauses | None = None, policy: Policy = FAST, **more: Any) -> Rest:
    return Rest(
        more.pop("base", server.url),
        authorize=Bearer(Secret(KEY)),
        policy=policy,
        random=Random(1),
        sleep=pauses or Pauses(),
        **more,
    )


class Thing(BaseModel):
    name: str
    size: int


async def test_a_call_sends_what_it_is_given_and_gives_what_comes() -> None:
    async with (
        RawHttp(answer(200, b'{"name":"a","size":1}')) as server,
        client(server, base=server_base(server)) as rest,
    ):
        found = await rest.call("POST", f"/x/{segment('a/b ?')}", query={"q": "ä", "yes": True}, json={"a": 1})
    asked = server.asked[0]
    assert found.model(Thing) == Thing(name="a", size=1)
    assert (asked.method, asked.path, asked.query) == ("POST", "/v1/x/a%2Fb%20%3F", {"q": "ä", "yes": "true"})
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.headers["content-type"], asked.body) == ("application/json", b'{"a":1}')


def server_base(server: RawHttp) -> str:
    return f"{server.url}/v1/"


async def test_a_form_is_sent_in_both_ways(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content of a file")
    async with RawHttp(answer(503), answer(200, b"{}")) as server, client(server) as rest:
        await rest.call(
            "POST", "/", form={"title": "x", "file": Part(tmp_path / "file", "a.pdf", "application/pdf")}, retry=True
        )
        await rest.call("POST", "/", form={"a": "1 2"})
    first, second, plain = server.asked
    assert b"content of a file" in first.body
    assert b'filename="a.pdf"' in first.body
    assert b"content of a file" in second.body
    assert plain.body == b"a=1+2"
