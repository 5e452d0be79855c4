"""Asks everything a check is about, area by area, and hands what it hears to those who judge it.

An area that fails keeps no other one from being looked at; what needs its answer is skipped, and says so. Nothing is
sent, made or committed. No judgement of what was answered in here, and no layout.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from worker.assembly import mapping_of, registry_of
from worker.check.cluster import examine_cluster, read_topics
from worker.check.mapping import judge_mapping
from worker.check.results import Result, finding, ok, skipped, warning
from worker.check.schemas import judge_schema
from worker.client_properties import client_properties, consumer_properties
from worker.errors import SchemaUnavailableError, SettingsError
from worker.inspector import Inspector, try_consumer
from worker.schema_directory import SchemaFile, schema_files
from worker.settings import API_KEY_MISSING, API_KEY_PLACE, Settings
from worker.settings.sources import SecretFileError, read_secret

if TYPE_CHECKING:
    from worker.registry import Registry

SETTINGS, KEY, API, NETWORK, REGISTRY, SCHEMAS = "settings", "key", "api", "network", "registry", "schemas"
MAX_SUBJECTS = 50
REGISTRY_SECONDS = 10.0


def examine(settings: Settings, *, offline: bool) -> Iterator[Result]:
    """All results in their order, each as soon as it is known. Raises SettingsError where a client takes its settings
    for wrong, before the first of them.
    """
    clients = None if offline else _clients(settings)
    yield from _settings(settings)
    yield _key(settings)
    yield ok(API, f"batches go to {settings.dreamdata_url}/v1/batch (not asked: a check sends nothing)")
    if clients is None:
        yield skipped(NETWORK, "brokers, topics, group, transactions and registry are not asked, because of --offline")
    else:
        yield from _network(settings, *clients)
    yield from _schema_dir(settings)
    yield from judge_mapping(settings, mapping_of(settings))


def _clients(settings: Settings) -> tuple[Inspector, "Registry | None"]:
    try_consumer(consumer_properties(settings))
    return Inspector(client_properties(settings)), registry_of(settings)


def _network(settings: Settings, inspector: Inspector, registry: "Registry | None") -> Iterator[Result]:
    seen = inspector.look()
    yield from examine_cluster(settings, inspector, seen)
    if registry is None:
        yield skipped(
            REGISTRY, "SCHEMA_REGISTRY_URL is not set; records with a registry's id or GUID would wait for it"
        )
        return
    listed: tuple[str, ...] = () if settings.topics_pattern else settings.kafka_topics
    yield from _registry(settings, registry, read_topics(settings, seen) or listed)
    registry.close()


def _settings(settings: Settings) -> Iterator[Result]:
    given = sum(origin != "default" for _, _, origin in settings.effective())
    yield ok(SETTINGS, f"{given} are given, the others are defaults; --show lists them")
    for doubt in settings.warnings:
        yield warning(SETTINGS, doubt.rstrip("."), "correct it if it is not meant")


def _key(settings: Settings) -> Result:
    file = settings.dreamdata_api_key_file
    if file is not None and settings.dreamdata_api_key is not None:
        what = "DREAMDATA_API_KEY and DREAMDATA_API_KEY_FILE are both set, so that `run` does not start"
        return finding(KEY, what, "unset one of them")
    if file is not None:
        try:
            read_secret(file)
        except SecretFileError as error:
            return finding(KEY, f"DREAMDATA_API_KEY_FILE {error}", "put the key into that file, in one line")
        return ok(KEY, f"DREAMDATA_API_KEY_FILE names {file}, which can be read")
    if settings.dreamdata_api_key is None:
        return finding(KEY, f"{API_KEY_MISSING}, so that `run` does not start", f"set one of them; {API_KEY_PLACE}")
    return ok(KEY, f"DREAMDATA_API_KEY is set {settings.origin('dreamdata_api_key')}")


def _registry(settings: Settings, registry: "Registry", topics: Iterable[str]) -> Iterator[Result]:
    """The subjects of the topics first: where there are very many, the others are left out."""
    deadline = time.monotonic() + REGISTRY_SECONDS
    try:
        names = registry.subjects()
    except SchemaUnavailableError as error:
        yield finding(REGISTRY, str(error), "until it is mended, records with a registry's id or GUID wait")
        return
    expected = {f"{topic}-value" for topic in topics}
    yield ok(REGISTRY, f"{settings.schema_registry_url}: {len(names)} subject{'' if len(names) == 1 else 's'}")
    for looked_at, name in enumerate(sorted(names, key=lambda name: (name not in expected, name))):
        if looked_at == MAX_SUBJECTS or time.monotonic() > deadline:
            yield skipped(REGISTRY, f"{len(names) - looked_at} more subjects, not looked at to keep this short")
            return
        yield _subject(settings, registry, name, matters=name in expected)


def _subject(settings: Settings, registry: "Registry", name: str, *, matters: bool) -> Result:
    try:
        subject = registry.latest(name)
    except SchemaUnavailableError as error:
        if matters:
            return finding(REGISTRY, f"{name}: {error}", "register its schema anew; records written with it wait")
        return ok(REGISTRY, f"{name} cannot be read: {error}")
    label = f"{name} version {subject.version} ({subject.ref})"
    return judge_schema(
        REGISTRY, label, subject.plan, consent_required=bool(settings.consent_categories), matters=matters
    )


def _schema_dir(settings: Settings) -> Iterator[Result]:
    try:
        files = schema_files(settings.schema_dir)
    except SettingsError as error:
        yield finding(SCHEMAS, str(error), "correct SCHEMA_DIR, or grant the right to read it")
        return
    if not files and settings.schema_registry_url is None:
        yield finding(
            SCHEMAS,
            f"{settings.schema_dir} has no *.avsc file and SCHEMA_REGISTRY_URL is not set: no record can be read",
            "set one of the two as the producer writes",
        )
    elif not files:
        yield ok(SCHEMAS, f"{settings.schema_dir} has no *.avsc file; single-object encoding cannot be read")
    for file in files:
        yield _schema_file(settings, file)


def _schema_file(settings: Settings, file: SchemaFile) -> Result:
    if isinstance(file.content, str):
        return finding(SCHEMAS, file.content, "mend the file or take it away: `run` does not start with it")
    return judge_schema(
        SCHEMAS,
        f"{file.path.name} ({file.content.ref})",
        file.content.plan,
        consent_required=bool(settings.consent_categories),
        matters=True,
    )
