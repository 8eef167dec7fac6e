"""Names of what a node keeps, such as `evaluations/{uid}/blocks/{n}`, each spelled one way."""

import re
import unicodedata
import uuid

from compute.domain.errors import FieldError

_UID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DATASET = re.compile(r"datasets/[a-z][a-z0-9-]{1,62}")
_PUBLICATION = re.compile(rf"publications/{_UID}")
_SEALING = re.compile(rf"sealings/{_UID}")
_EVALUATION = re.compile(rf"evaluations/{_UID}")
_BLOCK = re.compile(rf"evaluations/({_UID})/blocks/(0|[1-9][0-9]{{0,6}})")
_LICENSE = re.compile(r"licenses/[0-9a-z][0-9a-z-]{7,63}")
_REQUEST_ID = re.compile(_UID)


def check_dataset(field: str, name: str) -> str:
    """Return `name` if it names a dataset, else raise FieldError."""
    return _checked(_DATASET, field, name, "must be datasets/{dataset}")


def check_license(field: str, name: str) -> str:
    """Return `name` if it names a license, else raise FieldError."""
    return _checked(_LICENSE, field, name, "must be licenses/{license}")


def check_publication(field: str, name: str) -> str:
    """Return `name` if it names a publication, else raise FieldError."""
    return _checked(_PUBLICATION, field, name, "must be publications/{publication}")


def check_sealing(field: str, name: str) -> str:
    """Return `name` if it names a sealing, else raise FieldError."""
    return _checked(_SEALING, field, name, "must be sealings/{sealing}")


def check_evaluation(field: str, name: str) -> str:
    """Return `name` if it names an evaluation, else raise FieldError."""
    return _checked(_EVALUATION, field, name, "must be evaluations/{evaluation}")


def split_block(field: str, name: str) -> tuple[str, int]:
    """Return the evaluation's name and the block's number, or raise FieldError."""
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise FieldError(field, "must be evaluations/{evaluation}/blocks/{block}")
    return f"evaluations/{match[1]}", int(match[2])


def block_name(evaluation: str, number: int) -> str:
    """Return the name of one block of an evaluation."""
    return f"{evaluation}/blocks/{number}"


def check_request_id(field: str, request_id: str) -> str:
    """Return `request_id` if it is a UUID in canonical lower case, else raise FieldError."""
    return _checked(_REQUEST_ID, field, request_id, "must be a UUID in lower case, new for every new request")


def uid_from(entropy: bytes) -> str:
    """Return the random UUID (RFC 9562, version 4) of 16 random bytes."""
    return str(uuid.UUID(bytes=entropy, version=4))


def check_text(field: str, text: str, *, least: int, most: int) -> str:
    """Return `text` if it has `least` to `most` printable characters and is NFC, else raise FieldError."""
    if not least <= len(text) <= most:
        raise FieldError(field, f"must have {least} to {most} characters")
    if not text.isprintable() or unicodedata.normalize("NFC", text) != text:
        raise FieldError(field, "must be NFC text without control characters")
    return text


def _checked(pattern: re.Pattern[str], field: str, name: str, wrong: str) -> str:
    if not pattern.fullmatch(name):
        raise FieldError(field, wrong)
    return name
