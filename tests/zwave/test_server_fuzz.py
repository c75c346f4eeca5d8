"""Anything may stand in the JSON of a zwave-js-server: it costs a counter, never the session, and never takes long."""

import asyncio
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from garbage import changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zwave.server_rig import EVENTS, Json, everything, home

from agent.driver import DriverError
from agent.model import DeviceFound, Report
from drivers.zwave.server_facts import interviewed, stored
from drivers.zwave.server_home import Home
from drivers.zwave.server_json import done, negotiated, refusal
from drivers.zwave.server_perform import Contract
from drivers.zwave.server_values import everything as all_of

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
ANYTHING = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=12), inside, max_size=4)
)
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def paths(value: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Each place in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [trail, *(found for key, one in inside for found in paths(one, (*trail, key)))]


@st.composite
def damaged(draw: st.DrawFn, *documents: Json) -> Json:
    """A document with one to three places replaced by anything."""
    found: Json = deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([path for path in paths(found) if path]))
        inside: Any = found
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = draw(ANYTHING)
    return found


def hear(made: Home, event: Json) -> bool:
    """As the socket gives it; False where it was malformed."""
    try:
        made._on_event(event)
    except ValueError:
        return False
    return True


async def ready(folder: Path) -> tuple[Home, Any, asyncio.Task[None]]:
    state, dump = everything()
    made, said = home(folder, lambda _, **__: {"dump": dump, "success": True}, state)
    Contract(made)
    serving = asyncio.create_task(made.serve())
    await until(lambda: said.of(DeviceFound))
    return made, said, serving


async def test_good_events_are_understood(tmp_path: Path) -> None:
    made, said, serving = await ready(tmp_path)
    assert all(hear(made, event) for event in EVENTS[:-1])
    assert len(said.of(Report)) > 20
    assert hear(made, EVENTS[-1])
    assert not made.nodes
    serving.cancel()
    await asyncio.wait({serving})


def test_events_of_any_form_cost_only_themselves(tmp_path: Path) -> None:
    async def check() -> None:
        made, _, serving = await ready(tmp_path)

        @QUICK
        @given(damaged(*EVENTS) | st.dictionaries(st.sampled_from(["source", "event", "nodeId", "args"]), ANYTHING))
        def fuzz(event: Json) -> None:
            hear(made, event)

        fuzz()
        for event in EVENTS[:14]:
            for odd in changed(event):
                hear(made, odd)
        hear(made, EVENTS[3])  # whatever became of the node: it joins again, and is used
        await asyncio.sleep(0.05)
        assert not serving.done(), serving
        assert made.node("5").map is not None
        serving.cancel()
        await asyncio.wait({serving})

    asyncio.run(check())


@QUICK
@given(damaged(*({"state": state, "dump": dump} for state, dump in (everything(),))))
def test_nodes_of_any_form_are_compiled_or_refused(found: Json) -> None:
    try:
        made = interviewed(found["state"], found["dump"])
    except ValueError:
        return
    assert made.endpoints
    for _ in all_of(stored(found["state"])):
        pass


@QUICK
@given(
    st.dictionaries(st.sampled_from(["type", "minSchemaVersion", "maxSchemaVersion", "errorCode", "result"]), ANYTHING)
)
def test_answers_of_any_form(found: Json) -> None:
    assert str(refusal(found))
    for read in (done, negotiated):
        with suppress(ValueError, DriverError):
            read(found)


@pytest.mark.parametrize("odd", ["x" * 5000, 10**400, [[]] * 100])
def test_big_things_take_no_time(odd: Any) -> None:
    state, dump = everything()
    for document in (*changed(state), {**state, "values": [odd] * 100}):
        try:
            interviewed(document, {**dump, "endpoints": odd})
        except ValueError:
            continue
