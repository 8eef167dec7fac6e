"""Resources as commands show them: plain values, bytes in hexadecimal, enums by their short names."""

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from bourse.compute.v1 import evaluation_service_pb2, publication_pb2
from bourse.exchange.v1 import dataset_pb2, license_pb2, party_pb2
from bourse.type.v1 import column_pb2, description_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clients.connection import StepCost
from clients.evidence import read_description
from clients.keystore import Deployment
from clients.terms import terms_json


def moment(time: Timestamp) -> str:
    """Return a time in ISO 8601, empty when it is unset."""
    return time.ToDatetime(tzinfo=UTC).isoformat() if time.ByteSize() else ""


def short(message: Message, field: str) -> str:
    """Return the short name of an enum field's value, such as `listed` of DATASET_STATE_LISTED."""
    kind = message.DESCRIPTOR.fields_by_name[field].enum_type
    return _short(kind, getattr(message, field))


def party_view(party: party_pb2.Party) -> dict[str, Any]:
    """Return a party's facts."""
    return {
        "name": party.name,
        "display_name": party.display_name,
        "kind": short(party, "kind"),
        "state": short(party, "state"),
        "members": [
            {
                "member": one.member,
                "roles": [
                    _short(one.DESCRIPTOR.fields_by_name["roles"].enum_type, role) for role in one.roles
                ],
            }
            for one in party.members
        ],
        "signing_keys": [
            {
                "purpose": short(key, "purpose"),
                "public_key": key.public_key.hex(),
                "registered": moment(key.register_time),
                "retired": moment(key.retire_time),
            }
            for key in party.signing_keys
        ],
        "node_address": party.node_address,
        "etag": party.etag,
        "create_time": moment(party.create_time),
        "update_time": moment(party.update_time),
    }


def dataset_view(dataset: dataset_pb2.Dataset) -> dict[str, Any]:
    """Return a listing's facts with what its newest revision publishes."""
    view: dict[str, Any] = {
        "name": dataset.name,
        "provider": dataset.provider,
        "title": dataset.title,
        "description": dataset.description,
        "state": short(dataset, "state"),
        "state_reason": dataset.state_reason,
        "subject_kind": short(dataset, "subject_kind"),
        "identifier_scheme": dataset.identifier_scheme,
        "classification_grade": dataset.classification_grade,
        "scenarios": list(dataset.scenarios),
        "tags": list(dataset.tags),
        "evidence": {
            "legality_undertaking": dataset.evidence.legality_undertaking,
            "assessment_sha256": dataset.evidence.assessment_sha256.hex(),
            "assessor": dataset.evidence.assessor,
        },
        "etag": dataset.etag,
        "create_time": moment(dataset.create_time),
        "update_time": moment(dataset.update_time),
    }
    if dataset.latest_revision.description.payload:
        view["revision"] = revision_view(dataset.latest_revision)
    return view


def revision_view(revision: dataset_pb2.DatasetRevision) -> dict[str, Any]:
    """Return what a revision publishes: columns, bins, quality."""
    description = read_description(revision.description.payload)
    return {
        "name": revision.name,
        "digest": revision.revision_digest.hex(),
        **description_view(description),
    }


def description_view(description: description_pb2.DatasetDescription) -> dict[str, Any]:
    """Return a description's facts."""
    quality = {one.column: one for one in description.quality}
    return {
        "revision": description.revision,
        "rows_at_least": description.rows_at_least,
        "change_note": description.change_note,
        "columns": [
            {
                **column_view(column),
                "complete_permille": quality[column.name].complete_permille if column.name in quality else 0,
                "valid_permille": quality[column.name].valid_permille if column.name in quality else 0,
            }
            for column in description.columns
        ],
    }


def column_view(column: column_pb2.Column) -> dict[str, Any]:
    """Return a published column's facts."""
    return {
        "name": column.name,
        "meaning": column.meaning,
        "unit": column.unit,
        "bins": [one.label for one in column.bins],
    }


def license_view(license_: license_pb2.License) -> dict[str, Any]:
    """Return a license's facts."""
    return {
        "name": license_.name,
        "dataset": license_.dataset,
        "revision": license_.revision,
        "scenario": license_.scenario,
        "provider": license_.provider,
        "bank": license_.bank,
        "state": short(license_, "state"),
        "state_reason": license_.state_reason,
        "terms": terms_json(license_.terms),
        "signatures": len(license_.agreement.signatures),
        "usage": {
            "models": license_.usage.models,
            "rows": license_.usage.rows,
            "bits": license_.usage.bits,
        },
        "history": [
            {
                "state": short(step, "state"),
                "actor": step.actor,
                "time": moment(step.time),
                "note": step.note,
            }
            for step in license_.history
        ],
        "etag": license_.etag,
        "create_time": moment(license_.create_time),
        "update_time": moment(license_.update_time),
    }


def publication_view(publication: publication_pb2.Publication) -> dict[str, Any]:
    """Return a publication's facts; the exact number of rows is for the steward alone."""
    view: dict[str, Any] = {
        "name": publication.name,
        "dataset": publication.dataset,
        "file": publication.file,
        "state": short(publication, "state"),
        "rows": publication.rows,
        "remarks": list(publication.remarks),
        "create_time": moment(publication.create_time),
    }
    if publication.HasField("error"):
        view["error"] = {"reason": publication.error.reason, "message": publication.error.message}
    if publication.HasField("description"):
        view["description"] = description_view(read_description(publication.description.payload))
    return view


def usage_view(usage: evaluation_service_pb2.LicenseUsage) -> dict[str, Any]:
    """Return what a node has charged to a license."""
    return {"license": usage.license, "models": usage.models, "rows": usage.rows, "bits": usage.bits}


def deployment_view(deployment: Deployment) -> dict[str, Any]:
    """Return what may be shown of a deployment: no model, no weight, no salt."""
    return {
        "deployment": deployment.name,
        "license": deployment.license,
        "dataset": deployment.dataset,
        "sealing": deployment.opened.name if deployment.opened else "",
        "state": (
            "accepted" if deployment.accepted else "interrupted" if deployment.opened else "not-opened"
        ),
        "weights": len(deployment.weights),
        "create_time": deployment.create_time.isoformat(),
    }


def costs_view(costs: Mapping[str, StepCost]) -> dict[str, dict[str, Any]]:
    """Return the cost of each step."""
    return {
        step: {
            "calls": cost.calls,
            "seconds": round(cost.seconds, 3),
            "bytes_sent": cost.bytes_sent,
            "bytes_received": cost.bytes_received,
        }
        for step, cost in costs.items()
    }


def _short(kind: Any, number: int) -> str:
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = kind.values_by_number.get(number)
    name: str = value.name if value else json.dumps(number)
    return name.removeprefix(prefix).lower().replace("_", "-")
