"""The configuration as a whole: sources and their order, origins, and errors with place, reason and remedy."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings_home import Home, LaxSettings, StickSettings, fake_driver

from agent.errors import ConfigError, HubError
from agent.settings import Settings, describe, load
from agent.settings.model import UplinkSettings
from agent.settings.toml_keys import key_lines


@pytest.fixture(autouse=True)
def drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.loader.load_driver", fake_driver)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


# ---- sources -----------------------------------------------------------------------------------------------------------------


def test_without_a_file_every_key_has_its_default(tmp_path: Path) -> None:
    settings = load(None, {"STATE_DIRECTORY": str(tmp_path)}, default=tmp_path / "missing" / "agent.toml")
    assert settings.model_dump() == Settings.model_validate({"hub": {"state_dir": str(tmp_path)}}).model_dump()
    assert settings.origins == {"hub.state_dir": "environment STATE_DIRECTORY"}
    assert Settings().hub.state_dir == Path("/var/lib/hub-agent")
    assert Settings().hub.runtime_dir == Path("/run/hub-agent")


def test_a_file_that_was_named_must_exist(home: Home) -> None:
    place, message, remedy = home.problems()[0]
    assert (place, message) == ("agent.toml", f"cannot be read: {os.strerror(errno.ENOENT)}")
    assert "-c" in remedy


def test_a_folder_is_no_file(home: Home) -> None:
    home.main.mkdir()
    assert home.problems()[0][:2] == ("agent.toml", f"cannot be read: {os.strerror(errno.EISDIR)}")


def test_later_sources_win_and_tables_merge(home: Home) -> None:
    home.write('[hub]\nid = "main"\nonboarding = "cloud"\n[uplinks.a]\nport = 1\n')
    home.write('[hub]\nid = "ten"\n[uplinks.b]\nport = 3\n', "conf.d/10.toml")
    home.write('hub.id = "nine"\nuplinks.a.port = 2\n', "conf.d/09.toml")
    home.write('[hub]\nid = "ignored"\n', "conf.d/99.conf")
    home.env |= {"HUB_AGENT__UPLINKS__B__HOST": "::1", "RUNTIME_DIRECTORY": "/run/one:/run/two"}
    settings = home.load()
    assert (settings.hub.id, settings.hub.onboarding) == ("ten", "cloud")
    assert {name: (uplink.host, uplink.port) for name, uplink in settings.uplinks.items()} == {
        "a": ("127.0.0.1", 2),
        "b": ("::1", 3),
    }
    assert settings.hub.runtime_dir == Path("/run/one")
    origins = settings.origins
    assert origins["hub.id"] == f"{home.folder}/conf.d/10.toml:2"
    assert origins["hub.onboarding"] == f"{home.main}:3"
    assert origins["uplinks.a.port"] == f"{home.folder}/conf.d/09.toml:2"
    assert origins["uplinks.b.host"] == "environment HUB_AGENT__UPLINKS__B__HOST"


def test_a_value_that_is_replaced_takes_its_parts_along(home: Home) -> None:
    home.write("[logging.levels]\nzigpy = 'debug'\n")
    home.write("logging.levels = 5\n", "conf.d/1.toml")
    assert home.problems() == [("conf.d/1.toml:1", "logging.levels: must be a table", home.problems()[0][2])]


def test_environment_values_are_toml_where_they_can_be(home: Home) -> None:
    home.write('[uplinks.Main-One]\nhost = "127.0.0.1"\n')
    home.env |= {
        "HUB_AGENT__UPLINKS__MAIN_ONE__PORT": "1883",
        "hub_agent__uplinks__main_one__tls": "false",
        "HUB_AGENT__UPLINKS__MAIN_ONE__PROTOCOL": "5",
        "HUB_AGENT__UPLINKS__MAIN_ONE__USERNAME": "1e3",
        "HUB_AGENT__UPLINKS__MAIN_ONE__PASSWORD": "0123456",
        "HUB_AGENT__UPLINKS__MAIN_ONE__CLIENT_ID": '"with quotes"',
        "HUB_AGENT__UPLINKS__MAIN_ONE__TOPICS": '{ north = "up", south = "down" }',
        "HUB_AGENT__UPLINKS__MAIN_ONE__SPOOL_AFTER": "500ms",
        "HUB_AGENT__STORE__MAX_BYTES": "64MiB",
        "HUB_AGENT__RADIOS__STICK__KIND": "zigbee",
        "HUB_AGENT__RADIOS__STICK__CHANNEL": "20",
        "HUB_AGENT__RADIOS__STICK__NETWORK_KEY": "00112233",
        "HUB_AGENT_OTHER": "not ours",
    }
    settings = home.load()
    uplink = settings.uplinks["Main-One"]
    assert (uplink.port, uplink.tls, uplink.protocol, uplink.username) == (1883, False, "5", "1e3")
    assert uplink.password.reveal() == "0123456"
    assert (uplink.client_id, uplink.topics.north, uplink.spool_after) == ("with quotes", "up", 0.5)
    assert settings.store.max_bytes == 64 * 2**20
    assert settings.radios["stick"].driver.channel == 20
    assert settings.radios["stick"].driver.network_key.reveal() == "00112233"


def test_a_text_that_toml_reads_as_more_than_one_value_is_a_text(home: Home) -> None:
    home.write("")
    home.env["HUB_AGENT__UPLINKS__A__USERNAME"] = "1\nhost = 'elsewhere'"
    assert home.load().uplinks["a"].username == "1\nhost = 'elsewhere'"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HUB_AGENT__HUB__", "x", "names no key"),
        ("HUB_AGENT__", "x", "names no key"),
        ("HUB_AGENT____ID", "x", "names no key"),
        ("HUB_AGENT__HUB__IDD", "x", "hub.idd: unknown key"),
        ("HUB_AGENT__HUB", "x", "hub: must be a table"),
        ("HUB_AGENT__UPLINKS__A__PORT", "99999", "uplinks.a.port: 99999 is out of range"),
        ("HUB_AGENT__UPLINKS__A__PORT", "'8883'", "uplinks.a.port: must be a whole number"),
        ("HUB_AGENT__UPLINKS__A__PORT__DEEPER", "1", "uplinks.a.port: must be a whole number"),
    ],
)
def test_environment_errors_name_the_variable(home: Home, name: str, value: str, message: str) -> None:
    home.write("")
    home.env[name] = value
    assert [(place, text) for place, text, _ in home.problems()] == [(f"environment {name}", message)]


def test_one_key_twice_in_the_environment(home: Home) -> None:
    home.write("")
    home.env |= {"HUB_AGENT__HUB__ID": "a", "hub_agent__hub__id": "b"}
    assert home.problems()[0][:2] == ("environment hub_agent__hub__id", "the same key as HUB_AGENT__HUB__ID")


def test_describe_tells_every_key_with_its_origin(home: Home) -> None:
    home.write(
        '[uplinks.a]\nusername = "u"\npassword = "canary-1"\n[radios.zigbee]\nnetwork_key = "canary-2"\nchannel = 20\n'
    )
    items = {item.key: (item.value, item.origin) for item in describe(home.load())}
    assert items["uplinks.a.password"] == ("**********", f"{home.main}:3")
    assert items["radios.zigbee.network_key"] == ("**********", f"{home.main}:5")
    assert items["radios.zigbee.channel"] == (20, f"{home.main}:6")
    assert items["radios.zigbee.kind"] == ("zigbee", "default")
    assert items["uplinks.a.port"] == (8883, "default")
    assert items["uplinks.a.topics.north"] == ("north", "default")
    assert items["logging.levels"] == ({}, "default")
    assert {key.split(".")[2] for key in items if key.startswith("uplinks.a.")} == set(UplinkSettings.model_fields)


def test_a_name_that_is_no_bare_key_is_quoted(home: Home) -> None:
    home.write('[logging.levels]\n"zigpy.application" = "debug"\n')
    assert home.load().origins['logging.levels."zigpy.application"'] == f"{home.main}:2"


# ---- errors ------------------------------------------------------------------------------------------------------------------

UPLINK = "[uplinks.a]\n"


@pytest.mark.parametrize(
    ("text", "place", "message", "remedy"),
    [
        ("\n[hub]\n\nstat_dir = '/x'\n", 4, "hub.stat_dir: unknown key", 'did you mean "state_dir"?'),
        ("[hubb]\n", 1, "hubb: unknown key", 'did you mean "hub"?'),
        ("zzz = 1\n", 1, "zzz: unknown key", "known keys: hub, uplinks, radios, store, commands, identity, ota, logging"),
        ("hub = 1\n", 1, "hub: must be a table", "[header]"),
        ("uplinks = []\n", 1, "uplinks: must be a table", "[header]"),
        ("radios = 'x'\n", 1, "radios: must be a table", "[header]"),
        ("radios.x = 5\n", 1, "radios.x: must be a table", "[header]"),
        ("[uplinks.'a b']\n", 1, 'uplinks."a b": is not a name for a table', "1 to 32"),
        (UPLINK + "port = 70000\n", 2, "uplinks.a.port: 70000 is out of range", "at least 1 and at most 65535"),
        (UPLINK + "port = '1'\n", 2, "uplinks.a.port: must be a whole number", "without quotes"),
        (UPLINK + "port = 1.5\n", 2, "uplinks.a.port: must be a whole number", "without"),
        (UPLINK + "tls = 'no'\n", 2, "uplinks.a.tls: must be true or false", "without quotes"),
        (UPLINK + "protocol = 5\n", 2, "uplinks.a.protocol: must be a text", 'put it in quotes: "5"'),
        (UPLINK + "protocol = '4'\n", 2, "uplinks.a.protocol: '4' is not one of its values", "one of: auto, 5, 3.1.1"),
        (UPLINK + "dialect = 'nrf'\n", 2, "uplinks.a.dialect: 'nrf' is not one of its values", "managed-integrations, nrf-cloud"),
        (UPLINK + "durability = 'strct'\n", 2, "uplinks.a.durability: 'strct' is not one of its values", '"strict"?'),
        (UPLINK + "keep_alive = 29\n", 2, "uplinks.a.keep_alive: 29 is out of range", "at least 30 and at most 1200"),
        (UPLINK + "keep_alive = 1201\n", 2, "uplinks.a.keep_alive: 1201 is out of range", "at least 30 and at most 1200"),
        (UPLINK + "host = 'mqtts://x:8883'\n", 2, "uplinks.a.host: is not a host name or address", "only the name"),
        (UPLINK + "host = ''\n", 2, "uplinks.a.host: is not a host name or address", "only the name"),
        (UPLINK + "host = '300.1.1.1'\n", 2, "uplinks.a.host: is not a host name or address", "only the name"),
        (UPLINK + f"client_id = '{'ä' * 65}'\n", 2, "uplinks.a.client_id: is longer than 128 bytes", "shorten"),
        (UPLINK + "client_id = '$x'\n", 2, "uplinks.a.client_id: begins with $, which brokers reserve", "first character"),
        (UPLINK + "topics.north = 'a/+/b'\n", 2, "uplinks.a.topics.north: contains +, #, $ or a control character", "plain"),
        (UPLINK + "topics.north = '/a'\n", 2, "uplinks.a.topics.north: has an empty topic level", "no /"),
        (UPLINK + "topics.south = 'a/b/c/d/e/f'\n", 2, "uplinks.a.topics.south: has more than 4 slashes", "7"),
        (UPLINK + f"topics.south = '{'a' * 49}'\n", 2, "uplinks.a.topics.south: is longer than 48 bytes", "256"),
        (UPLINK + "max_payload = '1 pound'\n", 2, "uplinks.a.max_payload: '1 pound' is not a size", "64MiB"),
        (UPLINK + "spool_after = 'soon'\n", 2, "uplinks.a.spool_after: 'soon' is not a duration", '"15m"'),
        (UPLINK + "spool_after = nan\n", 2, "uplinks.a.spool_after: must be a finite number", "number"),
        (UPLINK + "ca = 'ca.pem'\n", 2, "uplinks.a.ca: must be an absolute path", "begin it with /"),
        (UPLINK + "ca = 'credential:ca'\n", 2, "uplinks.a.ca: credential:ca is looked up in $CREDENTIALS_DIRECTORY, which", "systemd"),
        ("[hub]\nid = 'a/b'\n", 2, "hub.id: is not a hub id", "1 to 128"),
        ("[logging]\nlevels = {\n}\n", 2, "not TOML: ", "syntax"),
        ("[logging]\nlevels = { zigpy = 'debgu' }\n", 2, "logging.levels.zigpy: 'debgu' is not one of its values", '"debug"?'),
        ("[radios.x]\nkind = 'zigbe'\n", 2, "radios.x.kind: no driver for radios of kind 'zigbe'", "installed kinds"),
        ("\n[radios.coap]\n", 2, "radios.coap.kind: no driver for radios of kind 'coap'", "installed kinds"),
        ("[radios.x]\nkind = 5\n", 2, "radios.x.kind: must be a text", "quotes"),
        ("[radios.zigbee]\n\nchannel = 10\n", 3, "radios.zigbee.channel: 10 is out of range", "at least 11 and at most 26"),
        ("[radios.zigbee]\nchanel = 11\n", 2, "radios.zigbee.chanel: unknown key", 'did you mean "channel"?'),
        ("[radios.zigbee]\nradio = 'xbee'\n", 2, "radios.zigbee.radio: String should match", "auto, znp or ezsp"),
        ("[radios.lax]\nneeded = 1\nport = 'x'\nextra = 1\n", 4, "radios.lax.extra: unknown key", "known keys: kind, port, needed"),
        ("[radios.lax]\nport = 'x'\n", 1, "radios.lax.needed: is missing", "add it"),
    ],
)  # fmt: skip
def test_an_error_has_its_line_reason_and_remedy(home: Home, text: str, place: int, message: str, remedy: str) -> None:
    found = home.problem(text)
    assert found[0] == f"agent.toml:{place}"
    assert found[1].startswith(message)
    assert remedy in found[2]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[hub]\nid = \n", "agent.toml:2"),
        (b"[hub]\nid = 'a'\nid = 'b'\n", "agent.toml:3"),
        (b"[hub]\nid = '''a\n\n", "agent.toml:2"),
        (b"[hub]\n\nid = '\xff'\n", "agent.toml:3"),
        (b"a = " + b"[" * 100_000, "agent.toml"),
        (b"a = " + b"9" * 5000, "agent.toml"),
        (b"#" * 2_000_000, "agent.toml"),
    ],
)
def test_a_file_that_is_no_toml(home: Home, content: bytes, place: str) -> None:
    home.main.write_bytes(content)
    assert [problem[0] for problem in home.problems()] == [place]


def test_deep_tables_in_two_files_are_refused(home: Home) -> None:
    deep = "a." * 5000 + "b = 1\n"
    home.write(deep)
    home.write(deep.replace("b =", "c ="), "conf.d/1.toml")
    assert ("conf.d/1.toml", "not TOML: nested too deeply") in [problem[:2] for problem in home.problems()]


def test_every_error_is_told_at_once_in_the_order_of_the_files(home: Home) -> None:
    home.write(
        "[hub]\nid = 'a b'\n"
        "[uplinks.a]\nport = 0\ntls = false\nhost = 'example.com'\nca = '/missing'\nkeep_alive = 'x'\n"
        "[radios.one]\nkind = 'zigbee'\nport = '/dev/x'\nchannel = 1\n"
        "[radios.two]\nkind = 'none'\nport = '/dev/x'\n"
        "[store]\nmax_bytes = -1\n"
    )  # fmt: skip
    home.write("[hub\n", "conf.d/bad.toml")
    assert [(place, message.split(":")[0]) for place, message, _ in home.problems()] == [
        ("agent.toml:2", "hub.id"),
        ("agent.toml:4", "uplinks.a.port"),
        ("agent.toml:5", "uplinks.a.tls"),
        ("agent.toml:7", "uplinks.a.ca"),
        ("agent.toml:8", "uplinks.a.keep_alive"),
        ("agent.toml:12", "radios.one.channel"),
        ("agent.toml:14", "radios.two.kind"),
        ("agent.toml:15", "radios.two.port"),
        ("agent.toml:17", "store.max_bytes"),
        ("conf.d/bad.toml:1", "not TOML"),
    ]


def test_what_may_stand_in_a_broken_file_is_not_called_missing(home: Home) -> None:
    home.write("[radios.lax]\nport = 'x'\n")
    home.write("[radios.lax]\nneeded = = 1\n", "conf.d/1.toml")
    assert [problem[0] for problem in home.problems()] == ["conf.d/1.toml:2"]


@given(text=st.text(alphabet=st.sampled_from("abhubidstore.=[]{}'\"\n #1,-_\\"), max_size=60))
def test_any_text_is_settings_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "agent.toml"
    path.write_text(text, encoding="utf-8")
    problems: tuple[HubError, ...] = ()
    try:
        load(path, {}, deep=False)
    except ConfigError as error:
        problems = error.problems
        tops = set()
    else:
        tops = {key for key, *_ in key_lines(text)}
    assert tops <= set(Settings.model_fields)
    assert all(problem.place.startswith(str(path)) and problem.remedy for problem in problems)


# ---- drivers -----------------------------------------------------------------------------------------------------------------


def test_the_drivers_model_gets_its_table(home: Home) -> None:
    home.write(
        "[radios.zigbee]\nport = 'socket://127.0.0.1:1'\nchannel = 20\n[radios.other]\nkind = 'lax'\nneeded = 3\n"
    )
    settings = home.load()
    assert settings.radios["zigbee"].driver == StickSettings(port="socket://127.0.0.1:1", channel=20)
    assert (settings.radios["zigbee"].kind, settings.radios["zigbee"].port) == ("zigbee", "socket://127.0.0.1:1")
    assert settings.radios["other"].driver == LaxSettings(needed=3)


def test_a_shallow_load_touches_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.loader.load_driver", lambda _kind: pytest.fail("a driver was loaded"))
    home.write(f"{UPLINK}ca = '/missing'\npassword = 'file:/missing'\nkey = 'credential:x'\n[radios.a]\nanything = 1\n")
    settings = home.load(deep=False)
    assert not settings.uplinks["a"].password
    assert settings.radios["a"].driver is None


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().hub.id = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"), [("1.5s", 1.5), ("250 ms", 0.25), ("15m", 900.0), ("12 h", 43200.0), ("1d", 86400.0)]
)
def test_durations(home: Home, text: str, value: float) -> None:
    home.write(f"[uplinks.a]\nspool_after = '{text}'\n" if value <= 60 else f"[store]\nmax_age = '{text}'\n")
    settings = home.load()
    found: Mapping[str, UplinkSettings] = settings.uplinks
    assert (found["a"].spool_after if found else settings.store.max_age) == value
