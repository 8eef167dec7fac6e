"""The bank's keystore: what it needs to open its own scores, one encrypted file per deployed model.

A deployment is written down before anything depends on it: its request id before a sealing is asked for, its
salt before the first sealed column leaves. So whatever is interrupted goes on with the same sealing, and no
second model is counted. The HE secret key is derived when needed and never stored.

Source: docs/spec/keystore.md.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from clients.errors import KeystoreError
from clients.jsontext import JSONTextError, canonical_json, parse_json
from clients.secretstore import SecretStore
from wire.envelope import DataKey

FORMAT = "bourse-deployment/1"
PURPOSE = "bourse/bank/deployment"


@dataclass(frozen=True)
class OpenedSealing:
    """What the node drew for a deployment, and the 32-byte context that bank and node both derive."""

    name: str
    owner_nonce: bytes
    sealing_nonce: bytes
    context: bytes


@dataclass(frozen=True)
class AcceptedSealing:
    """The proof that the sealed model is deployed: our signed statement, the record and its receipt.

    `statement` and `receipt` are serialized messages, `c0_digest` is 32 bytes.
    """

    c0_digest: bytes
    statement: bytes
    entry: bytes
    receipt: bytes


@dataclass(frozen=True)
class Deployment:
    """One model at one provider under one license. `model` are canonical bytes, `salt` 32."""

    name: str
    license: str
    dataset: str
    agreement: bytes
    model: bytes = field(repr=False)
    weights: tuple[int, ...] = field(repr=False)
    salt: bytes = field(repr=False)
    request_id: str
    create_time: datetime
    opened: OpenedSealing | None = None
    accepted: AcceptedSealing | None = None


class Keystore:
    """The deployments of one bank. Whoever adds one holds `locked`, so that no model is deployed twice."""

    def __init__(self, directory: Path, *, party: str, data_key: Callable[[bytes], DataKey]) -> None:
        self._store = SecretStore(directory, purpose=PURPOSE, place=party, data_key=data_key)
        self.locked = self._store.locked

    def deployments(self) -> list[Deployment]:
        """Return all deployments, the oldest first. Raises KeystoreError when one does not open."""
        found = [_parse(name, self._store.get(name)) for name in self._store.names()]
        return sorted(found, key=lambda one: (one.create_time, one.name))

    def deployment(self, name: str) -> Deployment:
        """Return one deployment by name."""
        if name not in self._store.names():
            raise KeystoreError(
                "There is no deployment of this name.", way_out="`bourse bank deployments` lists them."
            )
        return _parse(name, self._store.get(name))

    def find(self, license_: str, model: bytes) -> Deployment | None:
        """Return the newest deployment of these canonical bytes under a license, if there is one."""
        found = [one for one in self.deployments() if one.license == license_ and one.model == model]
        return found[-1] if found else None

    def save(self, deployment: Deployment) -> None:
        """Write a deployment, in place of its earlier stage; durable on return."""
        self._store.put(deployment.name, _dump(deployment))


def new_deployment_name() -> str:
    """Return a fresh random name; it tells nothing of model or license."""
    return secrets.token_hex(8)


def _dump(deployment: Deployment) -> bytes:
    document: dict[str, Any] = {
        "format": FORMAT,
        "license": deployment.license,
        "dataset": deployment.dataset,
        "agreement": deployment.agreement.hex(),
        "model": deployment.model.decode(),
        "weights": list(deployment.weights),
        "salt": deployment.salt.hex(),
        "request_id": deployment.request_id,
        "create_time": deployment.create_time.isoformat(),
    }
    if deployment.opened is not None:
        document["opened"] = {
            "name": deployment.opened.name,
            "owner_nonce": deployment.opened.owner_nonce.hex(),
            "sealing_nonce": deployment.opened.sealing_nonce.hex(),
            "context": deployment.opened.context.hex(),
        }
    if deployment.accepted is not None:
        document["accepted"] = {
            "c0_digest": deployment.accepted.c0_digest.hex(),
            "statement": deployment.accepted.statement.hex(),
            "entry": deployment.accepted.entry.hex(),
            "receipt": deployment.accepted.receipt.hex(),
        }
    return canonical_json(document)


def _parse(name: str, data: bytes) -> Deployment:
    """Read what `_dump` wrote. The envelope has proven that nobody changed it; the format may be newer."""
    try:
        document: Mapping[str, Any] = parse_json(data)
        if document["format"] != FORMAT:
            raise KeystoreError(f"{name}: was written by another release.")
        opened, accepted = document.get("opened"), document.get("accepted")
        return Deployment(
            name=name,
            license=document["license"],
            dataset=document["dataset"],
            agreement=bytes.fromhex(document["agreement"]),
            model=document["model"].encode(),
            weights=tuple(document["weights"]),
            salt=bytes.fromhex(document["salt"]),
            request_id=document["request_id"],
            create_time=datetime.fromisoformat(document["create_time"]),
            opened=opened
            and OpenedSealing(
                opened["name"],
                bytes.fromhex(opened["owner_nonce"]),
                bytes.fromhex(opened["sealing_nonce"]),
                bytes.fromhex(opened["context"]),
            ),
            accepted=accepted
            and AcceptedSealing(
                bytes.fromhex(accepted["c0_digest"]),
                bytes.fromhex(accepted["statement"]),
                bytes.fromhex(accepted["entry"]),
                bytes.fromhex(accepted["receipt"]),
            ),
        )
    except (JSONTextError, KeyError, TypeError, ValueError, AttributeError):
        raise KeystoreError(f"{name}: holds no deployment that this release reads.") from None
