"""Every setting: name, default, bounds, and what it does. No source is read and no two settings are compared here."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

import worker
from worker.core.decisions import TraitsPlacement
from worker.core.start_offsets import OffsetReset
from worker.settings.sources import SecretFileError, read_secret
from worker.settings.values import (
    CONSENT_CATEGORIES,
    Brokers,
    ConsentCategories,
    DeliveryAddress,
    EventNames,
    Format,
    GroupProtocol,
    KafkaProperties,
    Level,
    LogFormat,
    LogLevel,
    Mechanism,
    SaslMechanism,
    Secret,
    Topics,
    Traits,
    UnmappedEvents,
    Variant,
    WebAddress,
)
from worker.settings.words import shown
from worker.topics import TopicNames

DEFAULT_ORIGIN = "default"


def shipped_schemas() -> Path:
    """Inside the package where it was installed from a wheel, beside it in a checkout."""
    package = Path(worker.__file__).parent
    inside = package / "_schemas"
    return inside if inside.is_dir() else package.parent / "schemas"


class Settings(BaseModel):
    """What one worker was told. Frozen; nothing below the commands reads the environment.

    An attribute is the variable's name in lower case. `load` makes it, after every check.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    dreamdata_api_key: Secret | None = Field(
        None, description="The key of the Dreamdata source (Data Platform > Sources > Server Side Analytics APIs)."
    )
    dreamdata_api_key_file: Path | None = Field(
        None, description="A file that holds the key; read again before every probe of a hold, so a key can be rotated."
    )
    dreamdata_url: DeliveryAddress = Field(
        "https://api.dreamdata.cloud", description="Where batches are posted; plain http only towards this machine."
    )
    variant: Variant = Field(Variant.B2B_SAAS, description="Which events are sent, and under which names.")
    consent_categories: ConsentCategories = Field(
        (),
        description="Required. Categories that must all be granted before an event is sent, or `not-required`. "
        "Events without consent are filtered.",
    )
    event_mapping: EventNames = Field(
        {}, description="Adds, renames or (false) switches off events on top of the variant."
    )
    unmapped_events: UnmappedEvents = Field(
        UnmappedEvents.DROP,
        description="What becomes of a track event that is not mapped: filtered, or sent under its snake_case name.",
    )
    traits: Traits = Field(
        ("email", "name", "company"), description="The traits that are sent; `*` for all. Others are left out."
    )
    traits_placement: TraitsPlacement = Field(
        TraitsPlacement.TOP_LEVEL, description="Where traits stand in an event: `traits`, `context.traits`, or both."
    )
    forward_identify: bool = Field(
        False, description="Sends identify events too, as type `identify`; otherwise they only teach the worker."
    )

    kafka_brokers: Brokers = Field(
        ("localhost:9092",), description="Where the cluster is found first (`bootstrap.servers`)."
    )
    kafka_topics: Topics = Field(
        ("delivery-dreamdata",),
        description="The topics to deliver: names, or one pattern that starts with ^, which is looked up in the "
        "cluster every 30 s and never matches the worker's own topics.",
    )
    kafka_consumer_group: str = Field(
        "dreamdata-worker",
        min_length=1,
        description="Workers of one group share the partitions (`group.id`). Another name starts all over.",
    )
    kafka_group_protocol: GroupProtocol = Field(
        GroupProtocol.CLASSIC,
        description="How a group shares partitions (`group.protocol`): `classic` is cooperative-sticky, `consumer` "
        "is KIP-848, where the broker decides session and heartbeat.",
    )
    kafka_auto_offset_reset: OffsetReset = Field(
        OffsetReset.EARLIEST,
        description="Where to start without a usable committed offset (`auto.offset.reset`); `error` stops instead.",
    )
    kafka_tls_enabled: bool = Field(False, description="Speaks TLS with the brokers (`security.protocol`).")
    kafka_tls_ca_file: Path | None = Field(
        None, description="Authorities to trust instead of the system's (`ssl.ca.location`)."
    )
    kafka_tls_cert_file: Path | None = Field(
        None, description="The worker's own certificate (`ssl.certificate.location`)."
    )
    kafka_tls_key_file: Path | None = Field(None, description="Its private key (`ssl.key.location`).")
    kafka_sasl_mechanism: Mechanism | None = Field(
        None, description="How the worker logs in (`sasl.mechanism`); OAUTHBEARER is set up through KAFKA_CLIENT."
    )
    kafka_sasl_username: str | None = Field(None, min_length=1, description="User name (`sasl.username`).")
    kafka_sasl_password: Secret | None = Field(None, description="Password (`sasl.password`).")
    kafka_sasl_password_file: Path | None = Field(None, description="A file that holds the password; read at start.")
    # not in repr(): it may hold passwords under names we do not know
    kafka_client: KafkaProperties = Field(
        {}, repr=False, description="Any other librdkafka property; those that would break a promise are refused."
    )

    schema_registry_url: WebAddress | None = Field(
        None, description="A registry of the Confluent kind; needed for records with a schema id or GUID."
    )
    schema_registry_username: str | None = Field(None, min_length=1, description="User name at the registry.")
    schema_registry_password: Secret | None = Field(None, description="Password at the registry.")
    schema_registry_password_file: Path | None = Field(
        None, description="A file that holds the password; read at start."
    )
    schema_dir: Path = Field(
        default_factory=shipped_schemas, description="Schemas (*.avsc) of records in single-object encoding."
    )

    batch_max_bytes: int = Field(
        500_000, ge=1_000, le=500_000, description="A body is always smaller than this, as sent, envelope included."
    )
    batch_max_events: int = Field(2_500, ge=1, le=10_000, description="A full batch is sent at once.")
    batch_linger_ms: int = Field(
        1_000, ge=0, le=600_000, description="How long a batch that is not full waits for more events."
    )
    event_max_bytes: int | None = Field(
        None, ge=100, le=500_000, description="A larger payload is dead-lettered. Not set: what fits in a body alone."
    )
    delivery_concurrency: int = Field(10, ge=1, le=256, description="Requests on the wire at once, over all lanes.")
    max_in_flight_per_partition: int = Field(
        1, ge=1, le=64, description="Batches of one partition on their way at once; more than 1 gives up their order."
    )
    rate_limit_per_second: float = Field(
        100, gt=0, le=100_000, description="Requests started in a second; further ones wait."
    )
    request_timeout_seconds: float = Field(
        30, gt=0, le=600, description="How long an answer may take, connecting (5 s) included; then it is retried."
    )
    retry_initial_seconds: float = Field(
        1, gt=0, le=3_600, description="The most the first retry waits; doubled for each further one, full jitter."
    )
    retry_max_seconds: float = Field(60, gt=0, le=3_600, description="The most any retry waits.")
    give_up_after_seconds: float | None = Field(
        None, gt=0, description="A batch that is retried for longer is dead-lettered (`gave-up`). Not set: never."
    )
    rejection_limit: int = Field(
        10,
        ge=0,
        description="More single events refused in a row than this, or more unreadable records, and the worker holds "
        "instead of dead-lettering; 0 switches that off.",
    )

    dead_letter_topic: str = Field("{topic}.dead-letters", description="Where dead letters go; must hold {topic}.")
    identity_topic: str = Field(
        "{group}.{topic}.identity",
        description="Where what is known of visitors is kept; must hold {group} and {topic}.",
    )
    identity_ttl_days: int = Field(
        400, ge=1, le=36_500, description="A visitor not identified for longer is forgotten."
    )

    shutdown_timeout_seconds: float = Field(
        20, ge=0, le=3_600, description="How long a stop waits for what is on its way; the rest is redelivered."
    )
    watchdog_seconds: float = Field(
        300, ge=1, le=86_400, description="Without progress for this long the worker ends with exit code 4."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Where /healthz, /readyz, /metrics and /events listen.")
    port: int = Field(8082, ge=0, le=65_535, description="Its port; 0 takes any free one.")
    console_token: Secret | None = Field(
        None, description="Opens the pages other than /healthz, /readyz and /metrics from beyond this machine."
    )
    console_token_file: Path | None = Field(None, description="A file that holds the token; read at start.")
    log_level: Level = Field(LogLevel.INFO, description="`debug` adds a line for every event.")
    log_format: Format = Field(LogFormat.AUTO, description="`auto`: console on a terminal, JSON elsewhere.")

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _last_key: str = PrivateAttr(default="")

    def api_key(self) -> str:
        """The key of Dreamdata's source; where it comes from a file, as that file is now.

        While the file cannot be read (it is being replaced), the last key that could be. May be called from any thread.
        """
        if self.dreamdata_api_key_file is not None:
            with suppress(SecretFileError):
                self._last_key = read_secret(self.dreamdata_api_key_file)
        return self._last_key or self.secret("dreamdata_api_key") or ""

    @property
    def identity_ttl_ms(self) -> int:
        return self.identity_ttl_days * 24 * 60 * 60 * 1000

    @property
    def topics_pattern(self) -> str | None:
        """The `^regex` of KAFKA_TOPICS; None where it is a list."""
        return self.kafka_topics[0] if self.kafka_topics[0].startswith("^") else None

    def topic_names(self) -> TopicNames:
        return TopicNames(
            self.kafka_topics,
            self.kafka_consumer_group,
            dead_letter=self.dead_letter_topic,
            identity=self.identity_topic,
        )

    def origin(self, name: str) -> str:
        """Where the value of this attribute came from, in words."""
        return self._origins.get(name, DEFAULT_ORIGIN)

    def is_given(self, name: str) -> bool:
        """Whether somebody has set it, be it to the default."""
        return name in self._origins

    def secret(self, name: str) -> str | None:
        """The text of a secret, for the edge that needs it: `settings.secret("kafka_sasl_password")`."""
        value = getattr(self, name)
        return value.get_secret_value() if isinstance(value, SecretStr) else None

    def effective(self) -> list[tuple[str, str, str]]:
        """Every setting as (variable, value as shown, where it came from), in the table's order."""
        return [(name.upper(), shown(getattr(self, name)), self.origin(name)) for name in type(self).model_fields]

    @property
    def warnings(self) -> list[str]:
        """What is allowed but looks like a mistake, one sentence each."""
        found = [
            f"CONSENT_CATEGORIES names {name!r}, which Signal does not send; without it nothing is delivered. "
            f"Signal knows {', '.join(CONSENT_CATEGORIES)}."
            for name in self.consent_categories
            if name not in CONSENT_CATEGORIES
        ]
        if self.kafka_sasl_mechanism is SaslMechanism.PLAIN and not self.kafka_tls_enabled:
            found.append("KAFKA_SASL_MECHANISM=PLAIN without KAFKA_TLS_ENABLED sends the password unencrypted.")
        return found
