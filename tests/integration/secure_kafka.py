"""A broker that asks who you are and what you may: TLS, SASL, client certificates, ACLs. No assertions in here.

The harness itself goes in by a plain listener, where it may do everything.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # in no __all__ of the client's
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.integration.authority import Authority
from worker.demo.broker import EmbeddedKafka, free_port

PLAIN_USER = "alice"
PLAIN_PASSWORD = "alice-secret"
CERTIFIED_USER = "CN=worker"

_JAAS = "org.apache.kafka.common.security"


class Right(NamedTuple):
    """One ACL: what may be done to a topic, a group or a transactional id; `prefixed`: to all that begin so."""

    kind: ResourceType
    name: str
    operation: AclOperation
    prefixed: bool = False


def rights_of_a_worker(topic: str, group: str) -> list[Right]:
    """What the README lists, with the worker's own topics for it to make."""
    letters, log = f"{topic}.dead-letters", f"{group}.{topic}.identity"
    on_own = [AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE]
    return [
        Right(ResourceType.TOPIC, topic, AclOperation.READ),
        Right(ResourceType.TOPIC, topic, AclOperation.DESCRIBE),
        Right(ResourceType.GROUP, group, AclOperation.READ),
        Right(ResourceType.TRANSACTIONAL_ID, f"{group}-", AclOperation.WRITE, prefixed=True),
        Right(ResourceType.TRANSACTIONAL_ID, f"{group}-", AclOperation.DESCRIBE, prefixed=True),
        *(Right(ResourceType.TOPIC, name, operation) for name in (letters, log) for operation in on_own),
        Right(ResourceType.TOPIC, log, AclOperation.READ),
    ]


class SecureKafka:
    """`plain` is the harness's address, `sasl` the one with passwords, `mutual` the one with client certificates."""

    def __init__(
        self, broker: EmbeddedKafka, authority: Authority, stranger: Authority, sasl: int, mutual: int
    ) -> None:
        """Takes over a broker already started: use `start`."""
        self.plain = broker.bootstrap_servers
        self.sasl = f"127.0.0.1:{sasl}"
        self.mutual = f"127.0.0.1:{mutual}"
        self.authority = authority
        self._stranger = stranger
        self._broker = broker
        self._admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

    @classmethod
    def start(cls, folder: Path, java: Path) -> Self:
        authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        certified = authority.certify("broker")
        plain, sasl, mutual, controller = (free_port() for _ in range(4))
        names = {"PLAINTEXT": plain, "SASL_SSL": sasl, "SSL": mutual}
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in names.items())
        stores: dict[str, str] = {}
        for listener in ("sasl_ssl", "ssl"):
            stores |= {
                f"listener.name.{listener}.ssl.keystore.type": "PEM",
                f"listener.name.{listener}.ssl.keystore.location": str(certified.both),
                f"listener.name.{listener}.ssl.truststore.type": "PEM",
                f"listener.name.{listener}.ssl.truststore.location": str(authority.certificate),
            }
        scram = f"{_JAAS}.scram.ScramLoginModule required;"
        properties = {
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": addresses,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{_JAAS}.plain.PlainLoginModule required user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
            ),
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            **stores,
            "listener.name.sasl_ssl.ssl.client.auth": "none",
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
        broker = EmbeddedKafka.start(java=java, port=plain, properties=properties)
        return cls(broker, authority, stranger, sasl, mutual)

    def stop(self) -> None:
        self._broker.stop()

    def set_password(self, user: str, password: str) -> None:
        """For both SCRAM mechanisms, from the next connection on; makes the user where there is none."""
        changes = [
            UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        for change in changes:
            self._admin.alter_user_scram_credentials([change])[user].result(timeout=10)

    def grant(self, user: str, rights: Iterable[Right]) -> None:
        given = [
            AclBinding(*_pattern(right), f"User:{user}", "*", right.operation, AclPermissionType.ALLOW)
            for right in rights
        ]
        for future in self._admin.create_acls(given).values():
            future.result(timeout=10)

    def take(self, user: str, rights: Iterable[Right]) -> None:
        taken = [
            AclBindingFilter(*_pattern(right), f"User:{user}", "*", right.operation, AclPermissionType.ALLOW)
            for right in rights
        ]
        for future in self._admin.delete_acls(taken).values():
            future.result(timeout=10)

    def show_certificate(self, *, trusted: bool) -> None:
        """At the listener with passwords, to connections made from now on: the authority's or a stranger's."""
        signer = self.authority if trusted else self._stranger
        entry = ConfigEntry(
            "listener.name.sasl_ssl.ssl.keystore.location",
            str(signer.certify("broker").both),
            incremental_operation=AlterConfigOpType.SET,
        )
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(timeout=10)


def _pattern(right: Right) -> tuple[ResourceType, str, ResourcePatternType]:
    return right.kind, right.name, ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL
