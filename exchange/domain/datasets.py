"""Datasets: listings under review. No compliance, no listing.

A listing may be changed while it is a draft or rejected; what was reviewed is what is listed, and what may
be licensed: columns that a review has seen, of the revision that it saw or a newer one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from exchange.domain.callers import Caller
from exchange.domain.errors import (
    DatasetIncompleteError,
    DatasetStateError,
    FieldInvalidError,
    SignatureRefusedError,
    refuse_invalid,
)
from exchange.domain.names import MAX_REVISION, SLUG, SLUG_RULE, dataset_name, party_name
from exchange.domain.records import Receipt
from exchange.domain.signed import SignedBytes
from exchange.domain.states import StateMachine, Transition
from exchange.domain.texts import list_violations, text_violations


class DatasetState(StrEnum):
    """The state of a listing."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    LISTED = "listed"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    DELISTED = "delisted"


class SubjectKind(StrEnum):
    """What a dataset's rows are about."""

    NATURAL_PERSON = "natural_person"
    LEGAL_ENTITY = "legal_entity"
    LOCATION = "location"


_CHANGEABLE = frozenset({DatasetState.DRAFT, DatasetState.REJECTED})
CATALOG: Final = frozenset({DatasetState.LISTED, DatasetState.SUSPENDED, DatasetState.DELISTED})

DATASET_STATES: Final = StateMachine(
    "dataset",
    (
        Transition("submit", _CHANGEABLE, DatasetState.SUBMITTED),
        Transition("approve", frozenset({DatasetState.SUBMITTED}), DatasetState.LISTED),
        Transition("reject", frozenset({DatasetState.SUBMITTED}), DatasetState.REJECTED),
        Transition("suspend", frozenset({DatasetState.LISTED}), DatasetState.SUSPENDED),
        Transition("reinstate", frozenset({DatasetState.SUSPENDED}), DatasetState.LISTED),
        Transition("delist", frozenset({DatasetState.LISTED, DatasetState.SUSPENDED}), DatasetState.DELISTED),
    ),
    DatasetStateError,
)
# Not while a review looks at it, and not after the end.
REVISABLE: Final = frozenset(DatasetState) - {DatasetState.SUBMITTED, DatasetState.DELISTED}


MAX_TITLE: Final = 200
MAX_DESCRIPTION: Final = 5000
MAX_GRADE: Final = 4
MAX_WORDS: Final = 32
MAX_TAG: Final = 63
MAX_ASSESSOR: Final = 200
SHA256_BYTES: Final = 32


@dataclass(frozen=True)
class Evidence:
    """What the review looks at; the assessment's digest is 32 bytes, or empty while missing."""

    legality_undertaking: bool = False
    assessment_sha256: bytes = b""
    assessor: str = ""


@dataclass(frozen=True)
class Listing:
    """What the provider says of a dataset; empty, None and 0 are what is still missing on a draft."""

    title: str = ""
    description: str = ""
    subject_kind: SubjectKind | None = None
    identifier_scheme: str = ""
    classification_grade: int = 0
    scenarios: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    evidence: Evidence = Evidence()


@dataclass(frozen=True)
class Description:
    """What the exchange needs of a node's description: whose it is, and its columns' numbers of bins."""

    dataset: str
    revision: int
    provider: str
    columns: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Revision:
    """One immutable revision: the description's exact bytes, its digest (32 bytes), its columns and bins."""

    dataset: str
    number: int
    description: SignedBytes
    digest: bytes
    columns: tuple[tuple[str, int], ...]
    create_time: datetime


@dataclass(frozen=True)
class Dataset:
    """A dataset with its newest revision; `version` grows by one with every change.

    `reviewed` is the number of the revision that compliance approved, 0 before.
    """

    dataset: str
    provider: str
    listing: Listing
    state: DatasetState
    state_reason: str
    latest: Revision
    version: int
    create_time: datetime
    update_time: datetime
    reviewed: int = 0
    receipt: Receipt | None = None

    def visible_to(self, caller: Caller) -> bool:
        """Whether the caller may see it: all see the catalog, its provider and overseers the rest."""
        return self.state in CATALOG or caller.oversees or caller.party == self.provider

    def rewritten(self, listing: Listing, now: datetime) -> "Dataset":
        """Return it with another listing; raises DatasetStateError unless it is a draft or rejected."""
        if self.state not in _CHANGEABLE:
            raise DatasetStateError(
                f"the dataset is {self.state.upper()}; only DRAFT and REJECTED ones are changed"
            )
        return self._changed(now, listing=listing)

    def moved(self, verb: str, now: datetime, reason: str = "") -> "Dataset":
        """Return it after one of DATASET_STATES' verbs.

        Raises DatasetStateError, and DatasetIncompleteError when `submit` finds something missing.
        """
        state = DATASET_STATES.after(verb, self.state)
        if verb == "submit" and (missing := list(_missing(self.listing))):
            raise DatasetIncompleteError("the listing lacks: " + ", ".join(missing))
        reviewed = self.latest.number if verb == "approve" else self.reviewed
        return self._changed(now, state=state, state_reason=reason, reviewed=reviewed)

    def revised(self, revision: Revision, now: datetime) -> "Dataset":
        """Return it with a newer revision; raises DatasetStateError or FieldInvalidError."""
        if self.state not in REVISABLE:
            raise DatasetStateError(f"the dataset is {self.state.upper()}; it takes no revision now")
        if revision.number <= self.latest.number:
            raise FieldInvalidError(
                ("revision.description", f"its revision number must exceed {self.latest.number}")
            )
        return self._changed(now, latest=revision)

    def _changed(self, now: datetime, **values: Any) -> "Dataset":
        return replace(self, version=self.version + 1, update_time=now, **values)


def check_reviewed(field: str, columns: Sequence[str], licensed: Revision, reviewed: Revision | None) -> None:
    """Raise unless a review has seen what is to be licensed.

    `columns` are to be licensed of the revision `licensed`; `field` is where they stand. Raises
    DatasetStateError for a revision older than the one reviewed, FieldInvalidError for columns added since.
    """
    if reviewed is None or licensed.number < reviewed.number:
        raise DatasetStateError(
            f"revision {licensed.number} passed no review; license "
            f"{'none' if reviewed is None else f'revision {reviewed.number} or a newer one'}"
        )
    added = dict(licensed.columns).keys() - dict(reviewed.columns).keys()
    refuse_invalid(
        (f"{field}[{place}]", "came after the review; leave it out, or have it listed as another dataset")
        for place, column in enumerate(columns)
        if column in added
    )


def check_listing(field: str, listing: Listing) -> None:
    """Raise FieldInvalidError unless all that the listing says is well formed; it may be incomplete."""
    refuse_invalid((f"{field}.{path}", what) for path, what in _violations(listing))


def check_description(field: str, description: Description, dataset: str, provider: str) -> None:
    """Raise SignatureRefusedError when the description is of another dataset or provider, FieldInvalidError
    when its number is out of range.
    """
    if description.dataset != dataset_name(dataset) or description.provider != party_name(provider):
        raise SignatureRefusedError(f"{field}: the node signed it for another dataset or provider")
    if not 1 <= description.revision <= MAX_REVISION:
        raise FieldInvalidError((field, f"its revision number must be 1 to {MAX_REVISION}"))


def _violations(listing: Listing) -> Iterator[tuple[str, str]]:
    yield from text_violations("title", listing.title, most=MAX_TITLE)
    yield from text_violations("description", listing.description, most=MAX_DESCRIPTION)
    if listing.identifier_scheme and not SLUG.fullmatch(listing.identifier_scheme):
        yield "identifier_scheme", f"must be {SLUG_RULE}"
    if not 0 <= listing.classification_grade <= MAX_GRADE:
        yield "classification_grade", f"must be 1 to {MAX_GRADE}"
    yield from list_violations("scenarios", listing.scenarios, most=MAX_WORDS)
    for place, scenario in enumerate(listing.scenarios):
        if not SLUG.fullmatch(scenario):
            yield f"scenarios[{place}]", f"must be {SLUG_RULE}"
    yield from list_violations("tags", listing.tags, most=MAX_WORDS)
    for place, tag in enumerate(listing.tags):
        yield from text_violations(f"tags[{place}]", tag, least=1, most=MAX_TAG)
    if len(listing.evidence.assessment_sha256) not in {0, SHA256_BYTES}:
        yield "evidence.assessment_sha256", f"must be {SHA256_BYTES} bytes"
    yield from text_violations("evidence.assessor", listing.evidence.assessor, most=MAX_ASSESSOR)


def _missing(listing: Listing) -> Iterator[str]:
    for path, there in (
        ("title", listing.title),
        ("description", listing.description),
        ("subject_kind", listing.subject_kind),
        ("identifier_scheme", listing.identifier_scheme),
        ("classification_grade", listing.classification_grade),
        ("scenarios", listing.scenarios),
        ("evidence.legality_undertaking", listing.evidence.legality_undertaking),
        ("evidence.assessment_sha256", listing.evidence.assessment_sha256),
        ("evidence.assessor", listing.evidence.assessor),
    ):
        if not there:
            yield path
