"""Resource names, read strictly.

The exchange gives `parties/{party}`, `datasets/{dataset}/revisions/{n}`, `licenses/{license}` and
`tradeRecords/{n}`; nodes give `sealings/{sealing}` and `evaluations/{evaluation}/blocks/{n}`.

Source: AIP-122; docs/spec/identity.md for the party's own name.
"""

import re
from typing import Final

from exchange.domain.errors import FieldInvalidError
from wire.identity import IdentityError, check_name
from wire.strict import StrictParseError, parse_decimal

MAX_REVISION: Final = 1_000_000
MAX_RECORD_INDEX: Final = 2**53
MAX_BLOCK: Final = 2**20
MAX_NAME: Final = 200

SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")
SLUG_RULE: Final = "2 to 63 of a-z, 0-9 and hyphen, opening with a letter"
_UID = re.compile(r"[0-9a-z][0-9a-z-]{7,63}")


def party_name(party: str) -> str:
    return f"parties/{party}"


def dataset_name(dataset: str) -> str:
    return f"datasets/{dataset}"


def revision_name(dataset: str, revision: int) -> str:
    return f"datasets/{dataset}/revisions/{revision}"


def license_name(license_id: str) -> str:
    return f"licenses/{license_id}"


def trade_record_name(index: int) -> str:
    return f"tradeRecords/{index}"


def check_party_id(field: str, party: str) -> str:
    """Return `party` if it may name one, else raise FieldInvalidError."""
    try:
        return check_name(field, party)
    except IdentityError as error:
        raise FieldInvalidError((field, str(error).removeprefix(f"{field}: "))) from None


def check_slug(field: str, text: str) -> str:
    """Return `text` if it is a slug, else raise FieldInvalidError."""
    if not SLUG.fullmatch(text):
        raise FieldInvalidError((field, f"must be {SLUG_RULE}"))
    return text


def party_of(field: str, name: str) -> str:
    """Return the party's id in `parties/{party}`, or raise FieldInvalidError."""
    (party,) = _segments(field, name, "parties/{party}")
    return check_party_id(field, party)


def dataset_of(field: str, name: str) -> str:
    """Return the dataset's id in `datasets/{dataset}`, or raise FieldInvalidError."""
    (dataset,) = _segments(field, name, "datasets/{dataset}")
    return check_slug(field, dataset)


def revision_of(field: str, name: str) -> tuple[str, int]:
    """Return dataset and number in `datasets/{dataset}/revisions/{revision}`, or raise FieldInvalidError."""
    dataset, number = _segments(field, name, "datasets/{dataset}/revisions/{revision}")
    return check_slug(field, dataset), _number(field, number, MAX_REVISION)


def license_of(field: str, name: str) -> str:
    """Return the license's id in `licenses/{license}`, or raise FieldInvalidError."""
    (license_id,) = _segments(field, name, "licenses/{license}")
    return _uid(field, license_id)


def trade_record_of(field: str, name: str) -> int:
    """Return the index in `tradeRecords/{index}`, or raise FieldInvalidError."""
    (index,) = _segments(field, name, "tradeRecords/{index}")
    return _number(field, index, MAX_RECORD_INDEX)


def check_sealing_name(field: str, name: str) -> str:
    """Return `name` if it is one of a sealing, else raise FieldInvalidError."""
    (sealing,) = _segments(field, name, "sealings/{sealing}")
    _uid(field, sealing)
    return name


def check_block_name(field: str, name: str) -> str:
    """Return `name` if it is one of a block, else raise FieldInvalidError."""
    evaluation, number = _segments(field, name, "evaluations/{evaluation}/blocks/{block}")
    _uid(field, evaluation)
    _number(field, number, MAX_BLOCK)
    return name


def _segments(field: str, name: str, pattern: str) -> list[str]:
    wanted, found = pattern.split("/"), name.split("/") if len(name) <= MAX_NAME else []
    if len(wanted) != len(found) or any(
        not part.startswith("{") and part != other for part, other in zip(wanted, found, strict=True)
    ):
        raise FieldInvalidError((field, f"must have the form {pattern}"))
    return [other for part, other in zip(wanted, found, strict=True) if part.startswith("{")]


def _number(field: str, text: str, largest: int) -> int:
    try:
        return parse_decimal(text, max_value=largest)
    except StrictParseError as error:
        raise FieldInvalidError((field, str(error))) from None


def _uid(field: str, text: str) -> str:
    if not _UID.fullmatch(text):
        raise FieldInvalidError((field, "its last segment must be 8 to 64 of a-z, 0-9 and hyphen"))
    return text
