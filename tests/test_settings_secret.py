"""A Secret is found where it is told to be, and is never shown: a planted canary must not come out anywhere."""

import copy
import io
import json
import logging
import os
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.driver import DriverInfo
from agent.errors import ConfigError
from agent.log import setup
from agent.redact import redact
from agent.settings import LoggingSettings, Secret, describe, load

CANARY = "canary-5bQ7"
ADAPTER = TypeAdapter(Secret)


class Driver(BaseModel):
    port: str = "auto"
    channel: int = 11
    network_key: Secret = Secret()


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    info = DriverInfo("zigbee", Driver, lambda _context: pytest.fail("nothing is opened"), ())
    monkeypatch.setattr("agent.settings.loader.load_driver", lambda _kind: info)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "private"
    path.write_text(f"{CANARY}-file\r\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def reason(text: object, **context: object) -> str:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(text, context=context)
    return str(caught.value.errors()[0]["msg"])


def test_where_it_is_found(private: Path) -> None:
    assert ADAPTER.validate_python("inline text ").reveal() == "inline text "
    assert ADAPTER.validate_python(f"file:{private}").reveal() == f"{CANARY}-file"
    context = {"credentials": private.parent}
    assert ADAPTER.validate_python("file:private", context=context).reveal() == f"{CANARY}-file"
    private.chmod(0o444)
    assert ADAPTER.validate_python("credential:private", context=context).reveal() == f"{CANARY}-file"
    assert not ADAPTER.validate_python("")
    assert not ADAPTER.validate_python("file:/missing", context={"read_secrets": False})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_may_use_is_refused(private: Path, mode: int) -> None:
    private.chmod(mode)
    assert f"mode {mode:04o}" in reason(f"file:{private}")
    assert f"mode {mode:04o}" in reason(f"file:{private}", credentials=Path("/run/credentials/other"))


def test_what_is_refused(private: Path, tmp_path: Path) -> None:
    assert "must be a text" in reason(12345)
    assert "cannot be read" in reason(f"file:{tmp_path}/missing")
    assert "not a regular file" in reason(f"file:{tmp_path}")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in reason(f"file:{tmp_path}/pipe")
    assert "absolute" in reason("file:folder/name")
    assert "cannot be read" in reason("file:/a\0b")
    assert "$CREDENTIALS_DIRECTORY" in reason("credential:name")
    for name in ("../private", "a/b", "/private", "..", ""):
        assert "plain name" in reason(f"credential:{name}", credentials=tmp_path)
    for content, words in ((b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * 70_000, "larger")):
        private.write_bytes(content)
        assert words in reason(f"file:{private}")


def test_it_does_not_show_itself() -> None:
    secret = Secret(CANARY)
    model = Driver(network_key=secret)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        repr(model),
        str(model),
        model.model_dump_json(),
    ]
    shown += [repr(model.model_dump()), json.dumps(model.model_dump()), repr(copy.deepcopy(model)), repr(vars(model))]
    assert [text for text in shown if CANARY in text] == []
    assert copy.deepcopy(secret) == copy.copy(secret) == secret == Secret(CANARY)
    assert secret != Secret("other")
    assert secret != CANARY
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


CONFIGS = {
    "fine": 'password = "{0}"\nusername = "u"\n[radios.zigbee]\nnetwork_key = "{0}"\n',
    "driver error": 'password = "{0}"\nusername = "u"\n[radios.zigbee]\nnetwork_key = "{0}"\nchannel = "x"\n',
    "unknown key": 'pasword = "{0}"\n[radios.zigbee]\nnetworkkey = "{0}"\n',
    "wrong type": 'password = ["{0}"]\n[radios.zigbee]\nnetwork_key = {{ key = "{0}" }}\n',
    "wrong place": 'host = "mqtts://user:{0}@broker"\nclient_id = "${0}"\nca = "{0}"\n',
    "no table": '[radios]\nzigbee = "{0}"\n',
    "syntax": 'password = "{0}\n',
    "twice": 'password = "{0}"\npassword = "{0}"\n',
    "no user": 'password = "{0}"\n',
}


def outputs(path: Path, env: dict[str, str]) -> Iterator[str]:
    """Everything that loading this file can put before somebody's eyes."""
    try:
        settings = load(path, env)
    except ConfigError as error:
        yield from (str(error), error.remedy, repr(error), "".join(traceback.format_exception(error)))
        for problem in error.problems:
            yield from (str(problem), problem.remedy, problem.place, repr(problem))
    else:
        yield from (repr(settings), settings.model_dump_json(), repr(settings.model_dump()), repr(describe(settings)))
        yield from (repr(radio.driver) for radio in settings.radios.values())
        yield repr(settings.origins)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_no_way_of_loading_shows_it(tmp_path: Path, config: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[uplinks.main]\n" + config.format(CANARY), encoding="utf-8")
    shown = list(outputs(path, {"STATE_DIRECTORY": str(tmp_path)}))
    assert shown
    assert [text for text in shown if CANARY in text] == []


@pytest.mark.parametrize(
    "name", ["UPLINKS__MAIN__PASSWORD", "UPLINKS__MAIN__PASWORD", "UPLINKS__MAIN__HOST", "RADIOS__ZIGBEE__NETWORK_KEY"]
)
def test_nor_does_the_environment(tmp_path: Path, name: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("", encoding="utf-8")
    env = {"STATE_DIRECTORY": str(tmp_path), f"HUB_AGENT__{name}": f"{CANARY}/"}
    assert [text for text in outputs(path, env) if CANARY in text] == []


def test_a_secret_that_was_read_is_redacted_in_the_log(tmp_path: Path, private: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[uplinks.main]\nusername = "u"\npassword = "file:{private}"\n', encoding="utf-8")
    settings = load(path, {"STATE_DIRECTORY": str(tmp_path)})
    password = settings.uplinks["main"].password.reveal()
    stream = io.StringIO()
    logs = setup(LoggingSettings(level="debug"), {}, stream)
    try:
        log = logging.getLogger("agent.test")
        log.info("connecting with %s", password, extra={"given": password, "all": {"inner": [password]}, password: 1})
        log.debug("settings %r %s", settings, describe(settings))
        try:
            raise RuntimeError(password)
        except RuntimeError:
            log.exception("failed")
    finally:
        logs.close()
    written = stream.getvalue()
    assert len(written.splitlines()) == 3
    assert CANARY not in written
    assert redact(f"<{password}>") == "<**********>"
