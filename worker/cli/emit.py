"""The command `emit`: words in, a test event in Kafka, and what to say of it. What an event is made of is in
`worker.emit`.
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.emit.events import ANONYMOUS_ID, ESSENTIAL, SIGNATURES, Call, call_of, epoch_ms, event_of
from worker.errors import NotPublishedError, SettingsError

if TYPE_CHECKING:
    from worker.settings import Settings

_SCHEMA = "signal_event.avsc"
_EPILOG = f"""\b
Examples:
  dreamdata-worker emit identify user-123 email=jane.doe@acme.com company="Acme Inc"
  dreamdata-worker emit track "Lead Generated" form_id=demo-request value:=0
  dreamdata-worker emit page Pricing plan=team
  dreamdata-worker emit group acme-inc employees:=120
  dreamdata-worker emit track "Order Completed" products:='[{{"sku": "a-1", "price": 49.5}}]'

KEY=TEXT is text; KEY:=JSON is a number, true, false, null, an array or an object. They become the properties of page
and track, the traits of identify and group.

Everything is published for one visitor, {ANONYMOUS_ID}, unless --anonymous-id says another: what identify teaches the
worker is on that visitor's next events.
"""


@click.command(epilog=_EPILOG)
@click.argument("call", type=click.Choice(list(SIGNATURES)))
@click.argument("words", nargs=-1, metavar="[NAME] [KEY=TEXT | KEY:=JSON]...")
@click.option("--topic", help="Where to; must exist. Default: the first of KAFKA_TOPICS.")
@click.option("--anonymous-id", default=ANONYMOUS_ID, show_default=True, help="Whose event it is; '' for nobody's.")
@click.option("--user-id", default="", help="The userId on the event; of identify it is the first word.")
@click.option("--message-id", default="", help="Instead of a new one: publish the same event twice.")
@click.option("--timestamp", help="When it happened: ISO-8601 with a zone. Default: now.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1000), help="As many, each with its id.")
@click.option("--no-consent", is_flag=True, help="Leave the categories of CONSENT_CATEGORIES out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and nothing else, on standard output.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)
def emit(
    *,
    call: str,
    words: Sequence[str],
    topic: str | None,
    anonymous_id: str,
    user_id: str,
    message_id: str,
    timestamp: str | None,
    count: int,
    no_consent: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Publish a test event: what a site's call of page, track, identify or group would have made.

    It is written to Kafka as Signal would, in single-object encoding with the shipped schema, and grants the consent
    that CONSENT_CATEGORIES asks for. Nothing else is sent, and no topic is made.
    """
    made = call_of(call, words, anonymous_id, user_id)
    if message_id and count > 1:
        raise SettingsError(["--message-id and --count would give several events one id; allowed: one of them."])
    timestamp_ms = epoch_ms(timestamp) if timestamp else time.time_ns() // 1_000_000

    from worker.settings import load

    settings = load(os.environ, config, api_key_required=False)
    topic = _topic(settings, topic)
    granted = () if no_consent else settings.consent_categories
    ids = [message_id or f"evt_{secrets.token_hex(8)}" for _ in range(count)]
    lines = _published(settings, topic, made, [event_of(made, each, timestamp_ms, granted) for each in ids])
    for line in lines:
        click.echo(json.dumps(line) if as_json else _in_words(line, made))
    if not as_json:
        click.echo(_consent_in_words(settings, no_consent=no_consent))
        if not (no_consent and settings.consent_categories):
            click.echo(_what_next(settings, made))


def _topic(settings: "Settings", named: str | None) -> str:
    names = settings.topic_names()
    if named is None and names.is_pattern:
        raise SettingsError([f"KAFKA_TOPICS is the pattern {names.wanted[0]}; --topic must say which one is meant."])
    topic = named or names.wanted[0]
    if names.is_own(topic):
        raise SettingsError([f"--topic {topic} is named as workers name the topics they write; no worker reads it."])
    if topic not in names.selected([topic]):
        click.echo(f"Note: a worker with these settings does not read {topic}, but {','.join(names.wanted)}.", err=True)
    return topic


def _published(
    settings: "Settings", topic: str, made: Call, events: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """The events' ids and where they are. Shipped schema only, whatever SCHEMA_DIR holds."""
    from worker.client_properties import client_properties
    from worker.emit.publisher import Publisher
    from worker.encoding import single_object_encoder
    from worker.settings.table import shipped_schemas

    if not (settings.schema_dir / _SCHEMA).is_file():
        click.echo(f"Note: SCHEMA_DIR holds no {_SCHEMA}: a worker with it says unknown-schema.", err=True)
    encode = single_object_encoder((shipped_schemas() / _SCHEMA).read_text(encoding="utf-8"))
    records = [(made.visitor.encode(), encode(event)) for event in events]
    try:
        written = Publisher(client_properties(settings)).publish(topic, records)
    except NotPublishedError as error:
        raise click.ClickException(str(error)) from error
    return [
        {
            "messageId": event["messageId"],
            "type": made.type,
            "anonymousId": made.anonymous_id,
            "userId": made.user_id,
            "topic": topic,
            "partition": place.partition,
            "offset": place.offset,
        }
        for event, place in zip(events, written, strict=True)
    ]


def _in_words(line: Mapping[str, object], made: Call) -> str:
    named = f" {made.named!r}" if made.named else ""
    where = f"topic {line['topic']}, partition {line['partition']}, offset {line['offset']}"
    return f"{line['messageId']}  {made.type}{named} of {made.visitor}  {where}"


def _consent_in_words(settings: "Settings", *, no_consent: bool) -> str:
    asked = [category for category in settings.consent_categories if category != ESSENTIAL]
    if not asked:
        return "Consent: the worker asks for none that is not always granted (CONSENT_CATEGORIES)."
    if no_consent:
        return f"Consent: none ({', '.join(asked)} left out), so the worker filters it as no-consent."
    return f"Consent: {', '.join(asked)} granted, as CONSENT_CATEGORIES asks."


def _what_next(settings: "Settings", made: Call) -> str:
    from worker.assembly import mapping_of
    from worker.core.outcomes import Reason

    if made.type == "identify" and not settings.forward_identify:
        if not made.fields:
            return "Nothing is sent for it, and it has no traits for later events."
        return "Nothing is sent for it; its traits are on this visitor's next events: emit track …, emit page …"
    if made.type == "group":
        return "Nothing is sent for it: the worker filters every group as absorbed."
    mapping = mapping_of(settings)
    target = mapping.page if made.type == "page" else mapping.track(made.named or "") if made.type == "track" else None
    if isinstance(target, Reason):
        return f"Nothing is sent for it: the worker filters it as {target}; VARIANT and EVENT_MAPPING say what is sent."
    return "See it arrive: dreamdata-worker tap"
