"""What one key alone cannot tell: TLS and hosts, files and their modes, keys that need each other, ports and sessions taken twice."""

import errno
import os
from pathlib import Path

import pytest
from settings_home import Home, fake_driver

UPLINK = "[uplinks.a]\n"


@pytest.fixture(autouse=True)
def drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.loader.load_driver", fake_driver)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST."])
def test_loopback_needs_no_tls(home: Home, host: str) -> None:
    home.write(f"{UPLINK}tls = false\nhost = '{host}'\n")
    assert home.load().uplinks["a"].tls is False


@pytest.mark.parametrize("host", ["192.168.1.2", "example.com", "localhost.example.com", "fe80::1", "0.0.0.0"])  # noqa: S104
def test_others_do(home: Home, host: str) -> None:
    place, message, remedy = home.problem(f"{UPLINK}host = '{host}'\ntls = false\n")
    assert place == "agent.toml:3"
    assert message.startswith("uplinks.a.tls: without TLS")
    assert "tls = true" in remedy


def test_ble_devices_through_nrf_cloud_need_that_cloud_and_a_radio(home: Home) -> None:
    nrf = f"{UPLINK}gateway = 'lte'\ndialect = 'nrf-cloud'\n"
    place, message, remedy = home.problem(nrf)
    assert (place, message) == ("agent.toml:2", "uplinks.a.gateway: there is no radio for BLE devices")
    assert "[radios.ble]" in remedy
    home.write(f"{nrf}[radios.lax]\nneeded = 1\n")
    assert home.load().uplinks["a"].gateway == "lte"
    for other in ("gateway = 'gateway'\n", "gateway = 'lte'\ndialect = 'nrf-cloud'\ntransport = 'rest'\n"):
        assert "over MQTT" in home.problem(f"{UPLINK}{other}[radios.lax]\nneeded = 1\n")[1]


def test_files_must_be_readable_and_keys_private(home: Home) -> None:
    ca, certificate, key = (home.write("PEM", name) for name in ("ca.pem", "hub.crt", "hub.key"))
    key.chmod(0o640)
    text = f"{UPLINK}ca = '{ca}'\ncertificate = '{certificate}'\nkey = '{key}'\n"
    place, message, remedy = home.problem(text)
    assert (place, remedy) == ("agent.toml:4", f"chmod 600 {key}")
    assert "mode 0640" in message
    key.chmod(0o600)
    assert home.load().uplinks["a"].key == str(key)
    ca.unlink()
    ca.mkdir()
    assert home.problem(text)[:2] == ("agent.toml:2", f"uplinks.a.ca: {ca} is not a regular file")
    ca.rmdir()
    assert home.problem(text)[:2] == ("agent.toml:2", f"uplinks.a.ca: {ca} cannot be read: {os.strerror(errno.ENOENT)}")


def test_systemd_credentials_are_found_by_name_whatever_their_mode(home: Home) -> None:
    credentials = home.folder / "credentials"
    home.write("key", "credentials/hub.key").chmod(0o440)
    home.write("crt", "credentials/hub.crt")
    home.env["CREDENTIALS_DIRECTORY"] = str(credentials)
    home.write(f"{UPLINK}certificate = 'credential:hub.crt'\nkey = 'credential:hub.key'\n")
    assert home.load().uplinks["a"].key == str(credentials / "hub.key")
    assert "plain name" in home.problem(f"{UPLINK}ca = 'credential:../x'\n")[1]


@pytest.mark.parametrize(("key", "needs"), [("key", "certificate"), ("password", "username")])
def test_keys_that_come_in_pairs(home: Home, key: str, needs: str) -> None:
    value = home.write("x", "private")
    value.chmod(0o600)
    place, message, remedy = home.problem(f"{UPLINK}\n{key} = '{value if key == 'key' else 'x'}'\n")
    assert (place, remedy) == ("agent.toml:3", f"give `{needs}` too")
    assert message.startswith(f"uplinks.a.{key}: ")


def test_two_radios_on_one_port_also_by_another_name(home: Home) -> None:
    home.write("", "tty")
    (home.folder / "link").symlink_to("tty")
    text = f"[radios.a]\nkind='zigbee'\nport = '{home.folder}/tty'\n[radios.b]\nkind='zigbee'\nport = '{home.folder}/link'\n"
    assert home.problem(text)[:2] == ("agent.toml:6", "radios.b.port: the same port as radios.a")
    home.write("[radios.a]\nkind='zigbee'\n[radios.b]\nkind='zigbee'\n")
    assert set(home.load().radios) == {"a", "b"}


def test_two_uplinks_with_one_session(home: Home) -> None:
    found = home.problem("[uplinks.a]\nclient_id = 'x'\n[uplinks.b]\nclient_id = 'x'\n")
    assert found[:2] == (
        "agent.toml:3",
        "uplinks.b: the same broker and client id as uplinks.a: each would throw the other out",
    )
    home.write("[uplinks.a]\n[uplinks.b]\nport = 8884\n")
    assert set(home.load().uplinks) == {"a", "b"}


def test_an_uplink_does_not_go_by_the_name_of_this_machine(home: Home) -> None:
    assert home.problem("[uplinks.local]\n")[:2] == (
        "agent.toml:1",
        "uplinks.local: what is asked for on this machine goes by that name, and no answer to it goes to a cloud",
    )


def test_the_state_folder_must_be_usable(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home.write("", "file")
    found = home.problem(f"[hub]\nstate_dir = '{file}/below'\n")
    assert found[:2] == ("agent.toml:2", f"hub.state_dir: {file} is not a folder")
    home.write("")
    home.load()
    assert not home.state.exists()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "cannot be written" in home.problem("")[1]


@pytest.mark.parametrize(
    ("url", "reason"),
    [("coap://cloud.example.com", "without DTLS"), ("https://cloud.example.com", "no address of CoAP")],
)
def test_an_uplink_by_coap_goes_to_an_address_of_coap(home: Home, url: str, reason: str) -> None:
    text = f"{UPLINK}dialect = 'nrf-cloud'\ntransport = 'coap'\n"
    place, message, remedy = home.problem(f"{text}url = '{url}'\n")
    assert (place, reason in message) == ("agent.toml:4", True)
    assert "coaps://coap.nrfcloud.com:5684" in remedy
    assert "needs a connection" in home.problem(f"{UPLINK}transport = 'coap'\n")[1]
    home.write(text)
    assert home.load().uplinks["a"].service == "coaps://coap.nrfcloud.com:5684"
    home.write(text.replace("coap'", "rest'"))
    assert home.load().uplinks["a"].service == "https://api.nrfcloud.com/v1"
