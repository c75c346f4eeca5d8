"""Every key of the configuration, with its type, default and meaning. `config/agent.toml` shows the same to people.

Texts that are not set are "". Durations are seconds, sizes are bytes; files may also say "15m", "7d", "64MiB".
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from agent.settings import values
from agent.settings.secret import Secret, from_outside

Seconds = Annotated[float, BeforeValidator(values.seconds)]
Size = Annotated[int, BeforeValidator(values.size)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(values.lower)]
AbsolutePath = Annotated[Path, BeforeValidator(values.absolute)]
Name = Annotated[str, AfterValidator(values.name)]
FileName = Annotated[str, AfterValidator(values.file_name)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
OutsideSecret = Annotated[Secret, BeforeValidator(from_outside)]


class Section(BaseModel):
    """What all tables have in common."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )


class HubSettings(Section):
    id: Annotated[str, AfterValidator(values.hub_id)] = Field("", description="name of this hub in topics")
    state_dir: AbsolutePath = Field(Path("/var/lib/hub-agent"), description="database, keys and radio networks")
    runtime_dir: AbsolutePath = Field(Path("/run/hub-agent"), description="control socket")
    onboarding: Literal["local", "cloud"] = Field("local", description="who gives a joined device its managedThingId")


class TopicSettings(Section):
    north: Annotated[str, AfterValidator(values.topic_prefix)] = Field(
        "north", description="prefix of topics to the cloud"
    )
    south: Annotated[str, AfterValidator(values.topic_prefix)] = Field(
        "south", description="prefix of topics to the hub"
    )


class UplinkSettings(Section):
    """[uplinks.<name>]. The limits are those of AWS IoT Core."""

    dialect: Literal["managed-integrations", "nrf-cloud"] = Field(
        "managed-integrations", description="language of the cloud"
    )
    transport: Literal["mqtt", "rest", "coap"] = Field(
        "mqtt", description="rest, coap: nRF Cloud by calls, without a connection"
    )
    url: str = Field("", max_length=1024, description="of these calls; nRF Cloud's when not given")
    interval: Seconds = Field(60.0, ge=1, le=86_400, description="between two of these calls without an event")
    host: Annotated[str, AfterValidator(values.host)] = Field("127.0.0.1", description="broker's name or address")
    port: int = Field(8883, ge=1, le=65535, description="broker's TCP port")
    tls: bool = Field(True, description="TLS 1.2 or newer; false only for a broker on this machine")
    ca: FileName = Field("", description="PEM file with the CA of the broker")
    certificate: FileName = Field("", description="PEM file with the hub's certificate")
    key: FileName = Field("", description="PEM file with the certificate's private key")
    alpn: str = Field("", max_length=255, description="TLS application protocol")
    client_id: Annotated[str, AfterValidator(values.client_id)] = Field("", description="MQTT client id")
    username: str = Field("", description="MQTT user name")
    password: Secret = Field(Secret(), description="MQTT password")
    # 60 s: the last will tells of a vanished hub within 90 s, and NAT routers forget an idle connection after 2 to 5 minutes.
    keep_alive: int = Field(60, ge=30, le=1200, description="seconds without traffic before a ping")
    protocol: Literal["auto", "5", "3.1.1"] = Field("auto", description="MQTT version")
    session_expiry: int = Field(
        3600, ge=0, le=0xFFFFFFFF, description="seconds that the broker keeps messages for an absent hub"
    )
    durability: Literal["default", "strict"] = Field("default", description="strict stores state too before it is sent")
    spool_after: Seconds = Field(
        1.0, ge=0.05, le=60, description="state without acknowledgement is stored after this time"
    )
    publishes_per_second: int = Field(100, ge=0, le=100_000, description="pacing; 0 sends without pause")
    in_flight: int = Field(100, ge=1, le=65535, description="messages sent and not yet acknowledged")
    max_payload: Size = Field(131072, ge=4096, le=268_435_455, description="bytes of one message")
    jobs: bool = Field(True, description="take the cloud's jobs for this hub: AWS IoT jobs, nRF Cloud's FOTA")
    gateway: Literal["off", "gateway", "lte"] = Field(
        "off", description="nRF Cloud's account may use BLE devices here: as Nordic's gateways or its LTE gateway do"
    )
    topics: TopicSettings = Field(default_factory=TopicSettings, description="topic table")

    @property
    def calls(self) -> bool:
        """Whether it keeps no connection."""
        return self.transport != "mqtt"

    @property
    def service(self) -> str:
        """The URL of the calls."""
        return self.url or (values.NRF_CLOUD_COAP if self.transport == "coap" else values.NRF_CLOUD_REST)

    @property
    def takes_identity(self) -> bool:
        """Whether it connects with the hub's own certificate, once there is one."""
        return self.tls and not self.certificate and not self.username


class RadioSettings(Section):
    """[radios.<name>]. Further keys belong to the driver of `kind`: its own model checks them and holds them."""

    kind: str = Field("", description="driver; the table's name when not given")
    port: str = Field("auto", min_length=1, description="device path, pty, socket://host:port, or auto")
    _driver: BaseModel | None = PrivateAttr(default=None)

    @property
    def driver(self) -> Any:
        """The checked settings for DriverContext: an instance of the driver's `info.settings`. None when loaded with deep=False."""
        return self._driver


class StoreSettings(Section):
    max_bytes: Size = Field(268_435_456, ge=1_048_576, description="database and outbox on disk")
    max_age: Seconds = Field(604_800.0, ge=60, description="older outgoing messages are shed")
    ballast: Size = Field(8_388_608, ge=0, description="file that is given up when the disk is full")
    state_flush: Seconds = Field(300.0, ge=1, description="last values reach the disk at least this often")


class CommandSettings(Section):
    default_ttl: Seconds = Field(60.0, ge=1, le=604_800, description="life of a command that names no expiry")
    retention: Seconds = Field(86_400.0, ge=60, description="a repeated traceId is recognised for this long")


SubjectPart = Literal["C", "ST", "L", "O", "OU", "dnQualifier", "serialNumber"]


class IdentitySettings(Section):
    """[identity]: where keys are kept, and how the hub gets a certificate of its own, for uplinks that name none."""

    store: Literal["file", "sealed", "pkcs11", "tpm"] = Field(
        "file", description="where keys and radio secrets are kept"
    )
    seal: OutsideSecret = Field(Secret(), description="what the files of store = sealed are sealed with")
    pkcs11_module: FileName = Field("", description="the token's PKCS #11 library")
    pkcs11_token: str = Field("", max_length=32, description="label of the token")
    pin: OutsideSecret = Field(Secret(), description="the token's user PIN")
    tpm_tcti: str = Field("", max_length=255, description="the TPM, as TPM2OPENSSL_TCTI has it; empty: /dev/tpmrm0")

    serial: str = Field("", max_length=64, description="the hub's serial number, as its managed thing has it")
    product_code: Annotated[str, AfterValidator(values.product_code)] = Field("", description="UPC or EAN of the hub")
    template: Annotated[str, AfterValidator(values.template)] = Field("", description="provisioning profile")
    source: Literal["auto", "claim", "local-ca", "est", "vendor", "none"] = Field(
        "auto", description="where certificates come from"
    )
    key_type: Literal["P-256", "P-384", "Ed25519", "RSA-2048", "RSA-3072"] = Field("P-256", description="kind of key")
    key_origin: Literal["hub", "cloud"] = Field("hub", description="who makes the key in fleet provisioning")
    subject: dict[SubjectPart, str] = Field(default_factory=dict, description="parts of the subject beside the name")
    claim_certificate: FileName = Field("", description="PEM file with the claim certificate")
    claim_key: FileName = Field("", description="PEM file with its private key")
    ca_certificate: FileName = Field("", description="PEM file of an authority of one's own")
    ca_key: FileName = Field("", description="PEM file with its private key")
    est: str = Field("", description="address of an EST server (RFC 7030)")
    est_ca: FileName = Field("", description="PEM file of who signed the EST server's certificate")
    est_username: str = Field("", description="name for the first enrolment")
    est_password: Secret = Field(Secret(), description="password for the first enrolment")
    ca_days: int = Field(365, ge=1, le=36500, description="days that its certificates are valid")
    iotmi_config: FileName = Field("", description="iotmi_config.json of AWS's hub SDK, whose rw is kept in step")


class TufSettings(Section):
    """[ota.tuf]: a TUF repository, whose root is then trusted as that of the table above is."""

    root: FileName = Field("", description="the repository's root.json that trust begins with")
    metadata: str = Field("", max_length=2048, description="address of the folder of its metadata")
    targets: str = Field("", max_length=2048, description="address of the folder of its targets")
    product: str = Field("", max_length=64, description="that releases must be of")


class OtaSettings(Section):
    """[ota]: whose updates are taken. Without a root nothing that is signed can be verified, and nothing is installed."""

    root: FileName = Field("", description="the root document that trust begins with")
    unsigned: Literal["refuse", "accept-anyone-can-replace-my-firmware"] = Field(
        "refuse", description="jobs that name a file beside which no signed release lies"
    )
    boards: Texts = Field((), description="names of this board, where the system does not know them")
    slots: FileName = Field("", description="launcher and slots; default: slots in hub.state_dir")
    rauc: bool = Field(False, description="install whole systems through RAUC")
    command: FileName = Field("", description="program that installs whole systems: SWUpdate, Mender, the board's own")
    reboot: str = Field("systemctl reboot", max_length=1024, description="what is run to boot such a system")
    automatic: bool = Field(True, description="install without asking; else `agent ota approve`")
    window: Annotated[str, AfterValidator(values.cron)] = Field("", description="cron line that opens the window")
    window_length: Seconds = Field(7200.0, ge=60, le=86_400, description="how long the window is open")
    time_zone: Annotated[str, AfterValidator(values.zone)] = Field("UTC", description="of the window")
    jitter: Seconds = Field(1800.0, ge=0, le=43_200, description="a fleet's hubs begin within this time")
    trial: Seconds = Field(600.0, ge=1, le=86_400, description="all must be well for so long before a version stays")
    trial_limit: Seconds = Field(1800.0, ge=2, le=172_800, description="and must have been by then, or it goes back")
    patience: Seconds = Field(120.0, ge=1, le=3600, description="something may be wrong for so long at a stretch")
    health: Texts = Field((), description="programs that must end with 0 in a trial")
    memory: Size = Field(268_435_456, ge=33_554_432, description="a version on trial may use so much")
    room: Size = Field(8_388_608, ge=0, description="of the disk must be free in a trial")
    bandwidth: Size = Field(0, ge=0, description="bytes a second of downloads; 0: no limit")
    download_time: Seconds = Field(86_400.0, ge=60, le=2_592_000, description="a download may take so long")
    device_time: Seconds = Field(172_800.0, ge=60, le=2_592_000, description="devices are waited for so long")
    device_battery: float = Field(30.0, ge=0, le=100, description="percent that a device must have left for it")
    ca: FileName = Field("", description="PEM file with the authorities of file servers")
    plain_http: bool = Field(False, description="fetch over unencrypted HTTP: what is signed stays safe, not secret")
    tuf: TufSettings = Field(default_factory=TufSettings, description="releases of a TUF repository")


class LoggingSettings(Section):
    level: Level = Field("info", description="debug, info, warning or error")
    format: Literal["auto", "journald", "json", "console"] = Field("auto", description="form of a log line")
    levels: dict[str, Level] = Field(default_factory=dict, description="level of single loggers")
    fold_after: int = Field(20, ge=1, le=1_000_000, description="repeats shown before they are only counted")
    fold_window: Seconds = Field(60.0, ge=1, le=86_400, description="repeats are counted over this time")


class Settings(Section):
    """The whole configuration. Made by `agent.settings.load`; `Settings()` has every default."""

    hub: HubSettings = Field(default_factory=HubSettings)
    uplinks: dict[Name, UplinkSettings] = Field(default_factory=dict)
    radios: dict[Name, RadioSettings] = Field(default_factory=dict)
    store: StoreSettings = Field(default_factory=StoreSettings)
    commands: CommandSettings = Field(default_factory=CommandSettings)
    identity: IdentitySettings = Field(default_factory=IdentitySettings)
    ota: OtaSettings = Field(default_factory=OtaSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    _origins: Mapping[str, str] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _named: frozenset[Path] = PrivateAttr(default=frozenset())

    @property
    def origins(self) -> Mapping[str, str]:
        """Dotted key -> "file:line" or "environment NAME", for the keys that were given; the others have their default."""
        return self._origins

    @property
    def named(self) -> frozenset[Path]:
        """Every absolute path that a value names, those of secrets and drivers too; whether there is a file is another question."""
        return self._named
