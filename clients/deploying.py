"""Deploying a model: sealing a scorecard's part for one provider and having the node accept it.

    (1) the license is the bank's, in force, signed by all three; the description is the node's
    (2) the part fits what is published and licensed, and its range what the license opens
    (3) salt and request id are written down; the node draws its nonces
    (4) the context derived from the agreement and the nonces is the node's
    (5) seal; send the columns that the node lacks; sign the statement over their digest
    (6) the node's acceptance is recorded: receipt, record, both statements

An interruption at any point is mended by deploying again: the same salt seals the same bytes.

Source: docs/spec/sealing.md.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bourse.compute.v1 import sealing_pb2, sealing_service_pb2, sealing_service_pb2_grpc
from bourse.type.v1 import query_pb2, record_pb2, signature_pb2, statement_pb2

from clients.agreement import CheckedAgreement
from clients.connection import Meter, Peer, new_request_id
from clients.errors import EvidenceError
from clients.evidence import (
    MAX_STATEMENT_BYTES,
    check_receipt,
    check_sole_signature,
    read_payload,
)
from clients.keystore import AcceptedSealing, Deployment, Keystore, OpenedSealing, new_deployment_name
from clients.member import Member
from clients.scorecard import PlacedPart
from sealed import sealing
from wire.signing import Purpose

OnProgress = Callable[[str, int, int], None]
"""(step, done, total)."""

NONCE_BYTES = 32


@dataclass(frozen=True)
class Order:
    """What is to be deployed: a checked agreement, the part placed on its columns, its canonical bytes."""

    agreement: CheckedAgreement
    part: PlacedPart
    model: bytes


@dataclass(frozen=True)
class Deployer:
    """Deploys models at one node for one bank."""

    member: Member
    keystore: Keystore
    node: Peer
    now: Callable[[], datetime]
    meter: Meter
    on_progress: OnProgress

    def deploy(self, order: Order) -> Deployment:
        """Return the accepted deployment of `order`; the one there is, if it was deployed before.

        Raises RefusedError, EvidenceError, KeystoreError.
        """
        license_name = order.agreement.agreement.license
        with self.keystore.locked():
            deployment = self.keystore.find(license_name, order.model)
            if deployment is None:
                deployment = self._planned(order)
                self.keystore.save(deployment)
            if deployment.accepted is not None:
                return deployment
            opened = deployment.opened
            if opened is None:
                opened = self._open(order, deployment)
                deployment = replace(deployment, opened=opened)
                self.keystore.save(deployment)
            accepted = self._send(order, deployment, opened)
            deployment = replace(deployment, accepted=accepted)
            self.keystore.save(deployment)
        return deployment

    def _planned(self, order: Order) -> Deployment:
        agreement = order.agreement.agreement
        return Deployment(
            name=new_deployment_name(),
            license=agreement.license,
            dataset=agreement.dataset,
            agreement=order.agreement.signed.SerializeToString(deterministic=True),
            model=order.model,
            weights=tuple(order.part.weights),
            salt=secrets.token_bytes(32),
            request_id=new_request_id(),
            create_time=self.now(),
        )

    def _open(self, order: Order, deployment: Deployment) -> OpenedSealing:
        """(3) and (4): have the node draw nonces, derive the context and compare."""
        self.on_progress("opening", 0, 1)
        opened = self.node.call(
            self._service.CreateSealing,
            sealing_service_pb2.CreateSealingRequest(
                sealing=sealing_pb2.Sealing(
                    agreement=order.agreement.signed, query_kind=query_pb2.QUERY_KIND_NAMED
                ),
                request_id=deployment.request_id,
            ),
            meter=self.meter,
            step="open sealing",
        )
        if len(opened.owner_nonce) != NONCE_BYTES or len(opened.sealing_nonce) != NONCE_BYTES:
            raise EvidenceError(f"The node's nonces must have {NONCE_BYTES} bytes each.")
        context = sealing_context(order.agreement, opened.owner_nonce, opened.sealing_nonce)
        if opened.context != context:
            raise EvidenceError(
                "The node's context is not the one that license and nonces give; nothing has been sealed."
            )
        if opened.columns != len(deployment.weights) + order.agreement.profile.blinds:
            raise EvidenceError("The node expects another number of sealed columns than the license gives.")
        self.on_progress("opening", 1, 1)
        return OpenedSealing(opened.name, opened.owner_nonce, opened.sealing_nonce, context)

    def _send(self, order: Order, deployment: Deployment, opened: OpenedSealing) -> AcceptedSealing:
        """(5) and (6)."""
        agreement = order.agreement
        digest = sealing.model_digest(deployment.model)
        self.on_progress("sealing", 0, 1)
        with self.meter.timed("seal"):
            model = sealing.seal(
                agreement.profile,
                deployment.weights,
                digest,
                deployment.salt,
                opened.context,
                agreement.agreement.terms.drop,
            )
            columns = model.packed()
            c0_digest = sealing.c0_digest(columns)
        self.on_progress("sealing", 1, 1)
        current = self.node.call(
            self._service.GetSealing,
            sealing_service_pb2.GetSealingRequest(name=opened.name),
            meter=self.meter,
            step="open sealing",
        )
        missing = [index for index in current.missing_columns if index < len(columns)]
        for done, index in enumerate(missing):
            self.on_progress("sending", done, len(missing))
            self.node.call(
                self._service.PutSealedColumn,
                sealing_service_pb2.PutSealedColumnRequest(
                    sealing=opened.name, index=index, data=columns[index]
                ),
                meter=self.meter,
                step="send sealed model",
            )
        self.on_progress("sending", len(missing), len(missing))
        statement = statement_pb2.SealingStatement(
            version=1,
            sealing=opened.name,
            context=opened.context,
            c0_digest=c0_digest,
            commitment=sealing.commitment(digest, deployment.salt),
        )
        signed = self.member.signed(
            Purpose.SEALING,
            statement.SerializeToString(deterministic=True),
            public_key=agreement.agreement.bank_key,
        )
        accepted = self.node.call(
            self._service.AcceptSealing,
            sealing_service_pb2.AcceptSealingRequest(name=opened.name, statement=signed),
            timeout=120.0,
            meter=self.meter,
            step="accept sealed model",
        )
        check_deployed(agreement, opened.name, signed, accepted.entry, accepted.receipt)
        return AcceptedSealing(
            c0_digest,
            signed.SerializeToString(deterministic=True),
            accepted.entry,
            accepted.receipt.SerializeToString(deterministic=True),
        )

    @property
    def _service(self) -> sealing_service_pb2_grpc.SealingServiceStub:
        return sealing_service_pb2_grpc.SealingServiceStub(self.node.channel)


def sealing_context(agreement: CheckedAgreement, owner_nonce: bytes, sealing_nonce: bytes) -> bytes:
    """Return the 32 bytes that a sealing under this license is bound to (docs/spec/sealing.md)."""
    terms = agreement.agreement.terms
    return sealing.context(
        agreement.profile,
        kind="named",
        license_digest=agreement.digest,
        owner=agreement.agreement.provider,
        owner_nonce=owner_nonce,
        sealing=sealing_nonce,
        scale=terms.drop,
        drop=terms.drop,
        columns=[
            sealing.column_label(column.name, index)
            for column in agreement.agreement.columns
            for index in range(column.bins)
        ],
    )


def check_deployed(
    agreement: CheckedAgreement,
    sealing_name: str,
    own: signature_pb2.SignedPayload,
    entry: bytes,
    receipt: record_pb2.Receipt,
) -> statement_pb2.ModelStatement:
    """Return the node's statement once the exchange is proven to have recorded it with our own.

    (1) the receipt, (2) kind, license and statements of the record, (3) the node's signature, (4) what the
    node states.
    """
    terms = agreement.agreement
    record = check_receipt(receipt, entry, origin=terms.exchange, exchange_key=terms.exchange_key)  # (1)
    if record.kind != record_pb2.RECORD_KIND_MODEL_DEPLOYED or record.license != terms.license:  # (2)
        raise EvidenceError("The record is not that of this model's deployment.")
    if len(record.statements) != 2 or record.statements[1] != own:
        raise EvidenceError("The record does not carry the statement that this bank signed.")
    payload = check_sole_signature(
        "model statement", record.statements[0], terms.node_key, Purpose.MODEL_STATEMENT
    )  # (3)
    statement = read_payload("model statement", statement_pb2.ModelStatement, payload, MAX_STATEMENT_BYTES)
    expected = statement_pb2.ModelStatement(  # (4)
        version=1,
        license=terms.license,
        license_digest=agreement.digest,
        sealing=sealing_name,
        sealing_statement_sha256=hashlib.sha256(own.payload).digest(),
        columns=sum(column.bins for column in terms.columns),
    )
    if statement != expected:
        raise EvidenceError("The node states another model, sealing or license than was deployed.")
    return statement
