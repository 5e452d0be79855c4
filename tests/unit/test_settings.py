from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.errors import SettingsError
from worker.settings import Settings, load, load_only
from worker.settings.checks import REFUSED_PROPERTIES
from worker.settings.values import GroupProtocol, LogLevel, SaslMechanism, is_loopback

NEEDED = {"DREAMDATA_API_KEY": "abc123", "CONSENT_CATEGORIES": "analytics,marketing"}

DEFAULTS = {
    "dreamdata_url": "https://api.dreamdata.cloud",
    "variant": "b2b_saas",
    "event_mapping": {},
    "unmapped_events": "drop",
    "traits": ("email", "name", "company"),
    "traits_placement": "top_level",
    "forward_identify": False,
    "kafka_brokers": ("localhost:9092",),
    "kafka_topics": ("delivery-dreamdata",),
    "kafka_consumer_group": "dreamdata-worker",
    "kafka_group_protocol": "classic",
    "kafka_auto_offset_reset": "earliest",
    "kafka_tls_enabled": False,
    "kafka_sasl_mechanism": None,
    "kafka_client": {},
    "schema_registry_url": None,
    "batch_max_bytes": 500_000,
    "batch_max_events": 2_500,
    "batch_linger_ms": 1_000,
    "event_max_bytes": None,
    "delivery_concurrency": 10,
    "max_in_flight_per_partition": 1,
    "rate_limit_per_second": 100,
    "request_timeout_seconds": 30,
    "retry_initial_seconds": 1,
    "retry_max_seconds": 60,
    "give_up_after_seconds": None,
    "rejection_limit": 10,
    "dead_letter_topic": "{topic}.dead-letters",
    "identity_topic": "{group}.{topic}.identity",
    "identity_ttl_days": 400,
    "shutdown_timeout_seconds": 20,
    "watchdog_seconds": 300,
    "host": "127.0.0.1",
    "port": 8082,
    "console_token": None,
    "log_level": "info",
    "log_format": "auto",
}

# what a shell, a container and Kubernetes put beside the worker's own variables
AROUND = {
    "HOME": "/root",
    "HOSTNAME": "worker-6f47f5a0",
    "HOSTS": "a,b",
    "SORT": "1",
    "POST": "x",
    "PORTS": "1",
    "PATH": "/usr/bin",
    "PS1": "$ ",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "LOG_DIR": "/var/log",
    "TERM": "xterm",
    "PYTHONPATH": "/app",
    "HTTPS_PROXY": "http://proxy:3128",
    "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
    "KAFKA_PORT": "tcp://10.0.0.1:9092",
    "KAFKA_HOST": "10.0.0.1",
    "KAFKA_SERVICE_HOST": "10.0.0.1",
    "KAFKA_SERVICE_PORT": "9092",
    "KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
    "KAFKA_PORT_9092_TCP_PROTO": "tcp",
    "SCHEMA_REGISTRY_PORT": "tcp://10.0.0.2:8081",
    "SCHEMA_REGISTRY_SERVICE_HOST": "10.0.0.2",
    "SCHEMA_REGISTRY_HOST": "10.0.0.2",
    "DREAMDATA_WORKER_PORT": "tcp://10.0.0.3:8082",
    "KUBERNETES_SERVICE_HOST": "10.0.0.4",
}


def loaded(**env: str) -> Settings:
    return load(NEEDED | env)


def loaded_with(folder: Path, file: str, env: dict[str, str] | None = None) -> Settings:
    path = folder / "worker.toml"
    path.write_text(file)
    return load(NEEDED | (env or {}), path)


def problems(**env: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        loaded(**env)
    return raised.value.problems


def problem(**env: str) -> str:
    (only,) = problems(**env)
    return only


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_setting_nobody_set_has_its_documented_default(name: str) -> None:
    assert getattr(loaded(), name) == DEFAULTS[name]


def test_every_setting_is_in_the_table_of_defaults_or_optional_and_unset() -> None:
    others = set(Settings.model_fields) - set(DEFAULTS) - {"dreamdata_api_key", "consent_categories", "schema_dir"}
    assert {name: getattr(loaded(), name) for name in others} == dict.fromkeys(others)


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_shipped_schemas_are_the_default_folder() -> None:
    assert loaded().schema_dir.is_dir()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        loaded().port = 1  # type: ignore[misc]  # this is what must not work


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1234")
    assert loaded().port == 8082


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    settings = loaded_with(tmp_path, "port = 2\nhost = '0.0.0.0'", {"PORT": "1"})
    assert (settings.port, settings.host) == (1, "0.0.0.0")


def test_a_table_in_the_environment_replaces_the_file_s(tmp_path: Path) -> None:
    settings = loaded_with(tmp_path, '[event_mapping]\n"B" = "b"', {"EVENT_MAPPING": '{"A": "a"}'})
    assert settings.event_mapping == {"A": "a"}


def test_worker_config_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("port = 2")
    assert loaded(WORKER_CONFIG=str(path)).port == 2


def test_lists_and_tables_are_arrays_and_tables_in_the_file(tmp_path: Path) -> None:
    text = 'traits = ["email", "plan"]\n[event_mapping]\n"Demo Booked" = "demo_booked"\n"Logged In" = false'
    settings = loaded_with(tmp_path, text)
    assert settings.traits == ("email", "plan")
    assert settings.event_mapping == {"Demo Booked": "demo_booked", "Logged In": False}


def test_an_empty_variable_counts_as_not_set() -> None:
    assert loaded(KAFKA_SASL_USERNAME="", PORT=" ").port == 8082


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("CONSENT_CATEGORIES", "not-required", (), id="consent-not-required"),
        pytest.param(
            "CONSENT_CATEGORIES", " analytics , marketing,", ("analytics", "marketing"), id="list-with-spaces"
        ),
        pytest.param("TRAITS", "*", None, id="all-traits"),
        pytest.param("KAFKA_TOPICS", "^delivery-.{1,9}$", ("^delivery-.{1,9}$",), id="pattern-with-comma"),
        pytest.param("KAFKA_BROKERS", "a:9092,[::1]:9093", ("a:9092", "[::1]:9093"), id="brokers"),
        pytest.param("KAFKA_GROUP_PROTOCOL", "consumer", GroupProtocol.CONSUMER, id="enum"),
        pytest.param("LOG_LEVEL", "DEBUG", LogLevel.DEBUG, id="level-in-capitals"),
        pytest.param("DREAMDATA_URL", "https://acme.com/in/", "https://acme.com/in", id="url-without-last-slash"),
        pytest.param("DREAMDATA_URL", "http://127.0.0.2:8083", "http://127.0.0.2:8083", id="plain-http-loopback"),
        pytest.param("DREAMDATA_URL", "http://[::1]:8083", "http://[::1]:8083", id="plain-http-loopback-v6"),
        pytest.param("FORWARD_IDENTIFY", "true", True, id="boolean"),
        pytest.param("REJECTION_LIMIT", "0", 0, id="off"),
        pytest.param("KAFKA_CLIENT", '{"fetch.wait.max.ms": 10}', {"fetch.wait.max.ms": 10}, id="properties"),
    ],
)
def test_a_value_is_understood(name: str, text: str, value: object) -> None:
    assert getattr(loaded(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("env", "words"),
    [
        pytest.param({"BATCH_MAX_BYTES": "500001"}, "at most 500000", id="body-over-the-limit"),
        pytest.param({"BATCH_MAX_BYTES": "10"}, "at least 1000", id="body-too-small"),
        pytest.param({"PORT": "http"}, "'http'", id="no-number"),
        pytest.param({"RATE_LIMIT_PER_SECOND": "nan"}, "a number above 0", id="nan"),
        pytest.param({"VARIANT": "b2b"}, "b2b_saas, default", id="unknown-word"),
        pytest.param({"FORWARD_IDENTIFY": "maybe"}, "true or false", id="no-boolean"),
        pytest.param({"DREAMDATA_URL": "http://acme.com"}, "unencrypted", id="plain-http-beyond-loopback"),
        pytest.param({"DREAMDATA_URL": "http://127.0.0.1.acme.com"}, "unencrypted", id="name-that-looks-like-loopback"),
        pytest.param({"DREAMDATA_URL": "https://jane:geheim@acme.com"}, "user name or password", id="url-userinfo"),
        pytest.param({"DREAMDATA_URL": "https://acme.com?a=geheim"}, "query", id="url-query"),
        pytest.param({"DREAMDATA_URL": "acme.com"}, "no web address", id="url-without-scheme"),
        pytest.param({"DREAMDATA_URL": "https://acme.com:99999"}, "no web address", id="url-port"),
        pytest.param(
            {"SCHEMA_REGISTRY_URL": "http://a:geheim@acme.com"}, "user name or password", id="registry-userinfo"
        ),
        pytest.param({"CONSENT_CATEGORIES": "not-required,analytics"}, "mixes", id="consent-mixed"),
        pytest.param({"CONSENT_CATEGORIES": ","}, "names no category", id="consent-empty"),
        pytest.param({"TRAITS": "*,email"}, "mixes", id="traits-mixed"),
        pytest.param({"EVENT_MAPPING": "{"}, "no JSON", id="mapping-no-json"),
        pytest.param({"EVENT_MAPPING": "[]"}, "no table", id="mapping-no-table"),
        pytest.param({"EVENT_MAPPING": '{"A": true}'}, "does not say what it is called", id="mapping-true"),
        pytest.param({"EVENT_MAPPING": '{"A": ""}'}, "neither a name nor false", id="mapping-empty-name"),
        pytest.param({"KAFKA_TOPICS": "^a("}, "does not compile", id="pattern"),
        pytest.param({"KAFKA_TOPICS": "a,^b"}, "mixes", id="pattern-and-name"),
        pytest.param({"KAFKA_TOPICS": "a b"}, "no topic name", id="topic-name"),
        pytest.param({"KAFKA_TOPICS": "a" * 250}, "no topic name", id="topic-name-too-long"),
        pytest.param({"KAFKA_BROKERS": "a b"}, "no broker's address", id="broker"),
        pytest.param({"DEAD_LETTER_TOPIC": "dead"}, "without {topic}", id="dead-letters-without-topic"),
        pytest.param({"DEAD_LETTER_TOPIC": "{topic}"}, "no name of its own", id="dead-letters-into-the-source"),
        pytest.param({"DEAD_LETTER_TOPIC": "{topic}/x"}, "no name of its own", id="dead-letters-illegal"),
        pytest.param({"IDENTITY_TOPIC": "{topic}.identity"}, "without {group}", id="identity-without-group"),
        pytest.param({"IDENTITY_TOPIC": "i"}, "without {group} and {topic}", id="identity-without-both"),
        pytest.param({"DEAD_LETTER_TOPIC": "{group}.{topic}.identity"}, "cannot hold both", id="one-topic-for-both"),
        pytest.param({"KAFKA_CONSUMER_GROUP": "my group"}, "KAFKA_CONSUMER_GROUP goes into it", id="group-in-topic"),
        pytest.param({"KAFKA_TOPICS": "delivery-a,delivery-a.dead-letters"}, "names delivery-a.dead-letters", id="own"),
        pytest.param({"KAFKA_TOPICS": "other.delivery-a.identity"}, "must not read", id="another-group-s"),
        pytest.param({"KAFKA_TOPICS": "a" * 240}, "more than 249", id="own-topic-name-too-long"),
        pytest.param({"RETRY_INITIAL_SECONDS": "61"}, "RETRY_MAX_SECONDS is 60 (default)", id="initial-over-maximum"),
        pytest.param({"GIVE_UP_AFTER_SECONDS": "59"}, "RETRY_MAX_SECONDS is 60", id="maximum-over-give-up"),
        pytest.param({"REQUEST_TIMEOUT_SECONDS": "4"}, "at least 5", id="request-below-connect"),
        pytest.param({"EVENT_MAX_BYTES": "3000", "BATCH_MAX_BYTES": "2000"}, "EVENT_MAX_BYTES", id="event-over-body"),
        pytest.param({"KAFKA_CLIENT": '{"heartbeat.interval.ms": 12000}'}, "heartbeat", id="heartbeat-over-session"),
        pytest.param({"KAFKA_CLIENT": '{"session.timeout.ms": "3000"}'}, "heartbeat", id="session-below-heartbeat"),
        pytest.param({"KAFKA_CLIENT": '{"session.timeout.ms": "x"}'}, "no whole number", id="session-no-number"),
        pytest.param(
            {"KAFKA_CLIENT": '{"max.poll.interval.ms": 9000}'}, "max.poll.interval.ms", id="poll-below-session"
        ),
        pytest.param({"KAFKA_CLIENT": '{"error_cb": "x"}'}, "takes a function", id="callback"),
        pytest.param({"KAFKA_CLIENT": '{"a": []}'}, "gives a a value", id="property-no-scalar"),
        pytest.param({"KAFKA_TLS_CA_FILE": __file__}, "KAFKA_TLS_ENABLED=true", id="ca-without-tls"),
        pytest.param({"KAFKA_TLS_ENABLED": "1", "KAFKA_TLS_CA_FILE": "/no/ca"}, "is no file", id="ca-missing"),
        pytest.param(
            {"KAFKA_TLS_ENABLED": "1", "KAFKA_TLS_CERT_FILE": __file__}, "belong together", id="certificate-without-key"
        ),
        pytest.param({"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD", id="no-login"),
        pytest.param({"KAFKA_SASL_PASSWORD": "x"}, "without KAFKA_SASL_MECHANISM", id="password-alone"),
        pytest.param({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "SCRAM-SHA-512", id="unknown-mechanism"),
        pytest.param({"SCHEMA_REGISTRY_USERNAME": "x"}, "without SCHEMA_REGISTRY_URL", id="registry-login-alone"),
        pytest.param(
            {"SCHEMA_REGISTRY_URL": "http://a", "SCHEMA_REGISTRY_PASSWORD": "x"}, "belong together", id="registry-half"
        ),
        pytest.param({"SCHEMA_DIR": "/no/such"}, "no folder", id="schema-folder"),
        pytest.param({"WORKER_CONFIG": "/no/such.toml"}, "cannot be read", id="settings-file"),
    ],
)
def test_a_wrong_setting_is_one_problem_that_says_what_is_allowed(env: dict[str, str], words: str) -> None:
    said = problem(**env)
    assert words in said
    assert "geheim" not in said


@pytest.mark.parametrize("name", sorted(REFUSED_PROPERTIES))
def test_a_property_that_breaks_a_promise_is_refused_with_its_reason(name: str) -> None:
    assert f"sets {name}, which is refused: {REFUSED_PROPERTIES[name]}" in problem(KAFKA_CLIENT=f'{{"{name}": "1"}}')


def test_session_and_heartbeat_are_the_broker_s_under_the_consumer_protocol() -> None:
    said = problem(KAFKA_GROUP_PROTOCOL="consumer", KAFKA_CLIENT='{"session.timeout.ms": 9000}')
    assert "the broker decides it" in said


def test_oauthbearer_goes_through_kafka_client() -> None:
    client = '{"sasl.mechanisms": "OAUTHBEARER", "security.protocol": "SASL_SSL", "sasl.oauthbearer.method": "oidc"}'
    assert loaded(KAFKA_CLIENT=client).kafka_client["sasl.mechanisms"] == "OAUTHBEARER"


def test_everything_wrong_is_reported_at_once_and_each_thing_once() -> None:
    with pytest.raises(SettingsError) as raised:
        load({"PORT": "x", "RETRY_INITIAL_SECONDS": "x", "KAFKA_BROKER": "a:1", "REQUEST_TIMEOUT_SECONDS": "1"})
    names = sorted(said.split()[0] for said in raised.value.problems)
    assert names == [
        "CONSENT_CATEGORIES",
        "DREAMDATA_API_KEY",
        "KAFKA_BROKER",
        "PORT",
        "REQUEST_TIMEOUT_SECONDS",
        "RETRY_INITIAL_SECONDS",
    ]


def test_a_problem_says_where_the_value_came_from(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PORT \(from .*worker\.toml\) cannot be 'x'"):
        loaded_with(tmp_path, "port = 'x'")


def test_a_command_that_sends_nothing_needs_no_key() -> None:
    assert load({"CONSENT_CATEGORIES": "not-required"}, api_key_required=False).api_key() == ""


def test_a_command_that_asks_a_worker_needs_no_more_than_it_reads(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('port = 9000\nvariant = "nonsense"\n')
    env = {"HOST": "0.0.0.0", "CONSENT_CATEGORIES": "", "DREAMDATA_API_KEY_FILE": "/not/for/everybody"}
    settings = load_only(("host", "port", "console_token"), env, file)
    assert (settings.host, settings.port, settings.console_token) == ("0.0.0.0", 9000, None)


def test_what_it_reads_is_judged_and_spelling_with_it() -> None:
    with pytest.raises(SettingsError) as raised:
        load_only(("host", "port"), {"PORT": "many", "CONSOLE_TOKNE": "x"})
    assert [problem.split()[0] for problem in raised.value.problems] == ["CONSOLE_TOKNE", "PORT"]


def test_a_command_that_sends_nothing_needs_no_key_file_either(tmp_path: Path) -> None:
    env = {"CONSENT_CATEGORIES": "not-required", "DREAMDATA_API_KEY_FILE": str(tmp_path / "missing")}
    assert load(env, api_key_required=False).dreamdata_api_key_file == tmp_path / "missing"
    with pytest.raises(SettingsError, match="missing"):
        load(env)


def test_the_files_of_other_secrets_are_read_by_every_command(tmp_path: Path) -> None:
    env = {"CONSENT_CATEGORIES": "not-required", "CONSOLE_TOKEN_FILE": str(tmp_path / "missing")}
    with pytest.raises(SettingsError, match="CONSOLE_TOKEN_FILE"):
        load(env, api_key_required=False)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"speed .* no setting has this name"):
        loaded_with(tmp_path, "speed = 9")


def test_a_misspelt_name_in_the_file_gets_a_guess(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"did you mean batch_max_bytes\?"):
        loaded_with(tmp_path, "batch_max_byte = 9000")


def test_a_file_that_is_no_toml_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not TOML"):
        loaded_with(tmp_path, "port: 9")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KAFKA_BROKER", "KAFKA_BROKERS"),
        ("KAFKA_TOPIC", "KAFKA_TOPICS"),
        ("KAFKA_SASL_MECHANISMS", "KAFKA_SASL_MECHANISM"),
        ("DREAMDATA_APIKEY", "DREAMDATA_API_KEY"),
        ("DREMADATA_URL", "DREAMDATA_URL"),
        ("AKFKA_BORKERS", "KAFKA_BROKERS"),
        ("CONSENT_CATEGORY", None),
        ("CONSENT_CATEGORIS", "CONSENT_CATEGORIES"),
        ("kafka_brokers", "KAFKA_BROKERS"),
        ("TRAIT", "TRAITS"),
        ("WORKER_CONFG", "WORKER_CONFIG"),
    ],
)
def test_a_name_within_two_letters_of_a_setting_is_refused(name: str, meant: str | None) -> None:
    if meant is None:
        assert loaded(**{name: "x"}).port == 8082
    else:
        assert problem(**{name: "x"}) == f"{name} (from the environment) is unknown: did you mean {meant}?"


@pytest.mark.parametrize("name", AROUND)
def test_what_others_put_into_the_environment_is_left_alone(name: str) -> None:
    assert loaded(**{name: AROUND[name]}).port == 8082


SECRETS = {
    "DREAMDATA_API_KEY": {},
    "KAFKA_SASL_PASSWORD": {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "u"},
    "SCHEMA_REGISTRY_PASSWORD": {"SCHEMA_REGISTRY_URL": "http://a", "SCHEMA_REGISTRY_USERNAME": "u"},
    "CONSOLE_TOKEN": {},
}
CONSENT = {"CONSENT_CATEGORIES": "analytics", "DREAMDATA_API_KEY": "abc123"}


def with_file(name: str, path: Path) -> dict[str, str]:
    env = CONSENT | SECRETS[name] | {f"{name}_FILE": str(path)}
    if name == "DREAMDATA_API_KEY":
        del env[name]
    return env


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_its_file_without_the_line_break(name: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b" geheim \r\n")
    assert load(with_file(name, path)).secret(name.lower()) == " geheim "


def test_a_secret_in_the_environment_loses_its_line_break_too() -> None:
    assert loaded(DREAMDATA_API_KEY="abc123\n").api_key() == "abc123"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param(b"\n", "is empty", id="empty"),
        pytest.param(b"a\nb\n", "more than one line", id="two-lines"),
        pytest.param(b"\xff\xfe", "not UTF-8", id="binary"),
    ],
)
def test_a_secret_s_file_that_cannot_be_used_is_one_problem(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load(with_file(name, path))
    (said,) = raised.value.problems[:1]
    assert f"{name}_FILE" in said
    assert words in said


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_and_its_file_together_are_a_problem(name: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("geheim")
    with pytest.raises(SettingsError) as raised:
        load(with_file(name, path) | {name: "geheim too"})
    assert [said for said in raised.value.problems if "are both set" in said and "geheim" not in said]


def test_a_rotated_key_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    settings = load(with_file("DREAMDATA_API_KEY", path))
    path.write_text("new\n")
    assert settings.api_key() == "new"


def test_the_last_good_key_is_kept_while_the_file_is_away(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    settings = load(with_file("DREAMDATA_API_KEY", path))
    path.write_text("second")
    settings.api_key()
    path.unlink()
    assert settings.api_key() == "second"


def test_the_key_of_the_start_is_used_when_the_file_goes_away_before_it_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    settings = load(with_file("DREAMDATA_API_KEY", path))
    path.write_text("")
    assert settings.api_key() == "first"


def test_no_secret_is_shown_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("geheim-token")
    settings = loaded(
        DREAMDATA_API_KEY="geheim-key",
        KAFKA_SASL_MECHANISM="PLAIN",
        KAFKA_SASL_USERNAME="u",
        KAFKA_SASL_PASSWORD="geheim-password",
        CONSOLE_TOKEN_FILE=str(path),
        KAFKA_CLIENT='{"ssl.key.password": "geheim", "sasl.oauthbearer.client.secret": "geheim", "debug": "cgrp"}',
    )
    assert "geheim" not in repr(settings) + str(settings) + str(settings.effective())


def test_no_problem_repeats_a_secret() -> None:
    said = problems(
        DREAMDATA_API_KEY="geheim\ngeheim",
        KAFKA_CLIENT='{"sasl.password": "geheim", "ssl.key.password": "geheim"}',
        KAFKA_SASL_PASSWORD="geheim",
        CONSOLE_TOKEN="geheim\n\ngeheim",
    )
    assert len(said) == 4
    assert "geheim" not in "".join(said)


def test_what_is_in_effect_is_listed_with_its_origin(tmp_path: Path) -> None:
    settings = loaded_with(tmp_path, "traits = ['email', 'plan']", {"PORT": "1"})
    rows = {name: (value, origin) for name, value, origin in settings.effective()}
    assert rows["PORT"] == ("1", "from the environment")
    assert rows["TRAITS"] == ("email,plan", f"from {tmp_path / 'worker.toml'}")
    assert rows["DREAMDATA_API_KEY"] == ("***", "from the environment")
    assert rows["GIVE_UP_AFTER_SECONDS"] == ("-", "default")
    assert set(rows) == {name.upper() for name in Settings.model_fields}


def test_a_consent_category_signal_does_not_know_is_a_warning() -> None:
    (said,) = loaded(CONSENT_CATEGORIES="analytics,marketng").warnings
    assert "'marketng'" in said


def test_a_password_in_the_clear_is_a_warning() -> None:
    login = {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p", "KAFKA_SASL_MECHANISM": "plain"}
    settings = loaded(**login)
    assert settings.kafka_sasl_mechanism is SaslMechanism.PLAIN
    assert "unencrypted" in settings.warnings[0]


@pytest.mark.parametrize("name", ["delivery-dead-letters", "delivery.identity", ".dead-letters", "a.dead-letters.b"])
def test_a_topic_that_only_looks_like_the_worker_s_own_may_be_read(name: str) -> None:
    assert loaded(KAFKA_TOPICS=name).kafka_topics == (name,)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("LOCALHOST", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.acme.com", False),
        ("127.0.0.1.acme.com", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_addresses(host: str, here: bool) -> None:  # noqa: FBT001  # a table's column
    assert is_loopback(host) is here
