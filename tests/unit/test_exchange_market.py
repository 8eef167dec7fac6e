"""The market's rules as tables: which step leads where, which terms can be licensed, what a release costs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from exchange.domain.callers import Caller, admit
from exchange.domain.charges import (
    Charged,
    Deployed,
    charge,
    charged_by,
    check_in_force,
    check_model,
    check_release,
    deploy,
)
from exchange.domain.datasets import (
    DATASET_STATES,
    REVISABLE,
    Dataset,
    DatasetState,
    Evidence,
    Listing,
    Revision,
    SubjectKind,
    check_listing,
)
from exchange.domain.errors import (
    CallerSuspendedError,
    ClauseRefusedError,
    DatasetIncompleteError,
    DatasetStateError,
    FieldInvalidError,
    IdentityUnknownError,
    LicenseStateError,
    PartyStateError,
    RoleNotAllowedError,
    SigningKeyUnusableError,
    StatementRefusedError,
    TermNotEnforcedError,
)
from exchange.domain.licenses import LICENSE_STATES, License, LicenseState, Step, Usage
from exchange.domain.parties import (
    PARTY_STATES,
    PURPOSES_OF_KIND,
    ROLES_OF_KIND,
    KeyPurpose,
    Member,
    Party,
    PartyKind,
    PartyState,
    Role,
    SigningKey,
    check_profile,
)
from exchange.domain.signed import SignedBytes
from exchange.domain.statements import ModelStatement, ReleaseRequest, ReleaseStatement, SealingStatement
from exchange.domain.terms import QueryKind, Terms, check_terms
from wire.identity import Identity

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
PUBLISHED = {"duration": 5, "housing": 4}
TERMS = Terms(
    columns=("duration", "housing"),
    query_kinds=(QueryKind.NAMED,),
    profile="score-v1",
    drop=9,
    max_rows=600,
    max_openings_per_entity=2,
    max_models=1,
    max_bits=6600,
    valid_from=NOW,
    valid_until=NOW + timedelta(days=30),
)
AGREEMENT = SignedBytes(b"agreement", ())
REQUEST_BYTES = SignedBytes(b"request", ())
SEALING_BYTES = SignedBytes(b"sealing", ())
LICENSE = License(
    license="0f1e2d3c",
    dataset="loans",
    revision=1,
    revision_digest=bytes(32),
    scenario="consumer-credit-scoring",
    provider="bureau",
    bank="harbour-bank",
    state=LicenseState.ACTIVE,
    terms=TERMS,
    history=(Step(LicenseState.REQUESTED, "harbour-bank", NOW, TERMS),),
    agreement=AGREEMENT,
    pins=None,
    state_reason="",
    usage=Usage(),
    version=1,
    create_time=NOW,
    update_time=NOW,
)
LISTING = Listing(
    title="Loans of a town",
    description="Loans granted between 1990 and 1994.",
    subject_kind=SubjectKind.NATURAL_PERSON,
    identifier_scheme="national-id",
    classification_grade=3,
    scenarios=("consumer-credit-scoring",),
    tags=("loans",),
    evidence=Evidence(legality_undertaking=True, assessment_sha256=bytes(32), assessor="Examiner & Sons"),
)
REVISION = Revision("loans", 1, SignedBytes(b"", ()), bytes(32), (("duration", 5),), NOW)
DATASET = Dataset(
    dataset="loans",
    provider="bureau",
    listing=LISTING,
    state=DatasetState.LISTED,
    state_reason="",
    latest=REVISION,
    version=1,
    create_time=NOW,
    update_time=NOW,
)


def party(name, kind, *members, state=PartyState.ACTIVE):
    return Party(name, name, kind, state, tuple(members), (), "", 1, NOW, NOW)


BUREAU = party("bureau", PartyKind.PROVIDER, Member("steward", frozenset({Role.STEWARD})))
BANK = party("harbour-bank", PartyKind.BANK)

MACHINES = (PARTY_STATES, DATASET_STATES, LICENSE_STATES)
# What the contract's comments say, written down a second time.
STEPS = {
    ("party", "suspend", "active", "suspended"),
    ("party", "reinstate", "suspended", "active"),
    ("dataset", "submit", "draft", "submitted"),
    ("dataset", "submit", "rejected", "submitted"),
    ("dataset", "approve", "submitted", "listed"),
    ("dataset", "reject", "submitted", "rejected"),
    ("dataset", "suspend", "listed", "suspended"),
    ("dataset", "reinstate", "suspended", "listed"),
    ("dataset", "delist", "listed", "delisted"),
    ("dataset", "delist", "suspended", "delisted"),
    ("license", "offer", "requested", "offered"),
    ("license", "counter", "offered", "requested"),
    ("license", "accept", "offered", "accepted"),
    ("license", "agree", "accepted", "agreed"),
    ("license", "verify", "agreed", "verified"),
    ("license", "finalize", "verified", "active"),
    ("license", "terminate", "requested", "terminated"),
    ("license", "terminate", "offered", "terminated"),
    ("license", "terminate", "accepted", "terminated"),
    ("license", "terminate", "agreed", "terminated"),
    ("license", "terminate", "verified", "terminated"),
    ("license", "terminate", "active", "terminated"),
}


def test_the_state_machines_have_the_steps_of_the_contract_and_no_other():
    for machine in MACHINES:
        states = type(machine.transitions[0].target)
        for transition in machine.transitions:
            for state in states:
                wanted = {
                    target
                    for noun, verb, source, target in STEPS
                    if (noun, verb, source) == (machine.noun, transition.verb, state.value)
                }
                if wanted:
                    assert {machine.after(transition.verb, state).value} == wanted
                else:
                    with pytest.raises(machine.error, match=state.upper()):
                        machine.after(transition.verb, state)


@pytest.mark.parametrize("missing", ["title", "description", "subject_kind", "identifier_scheme"])
def test_a_listing_that_lacks_something_is_not_submitted(missing):
    empty = replace(LISTING, **{missing: None if missing == "subject_kind" else ""})
    draft = replace(DATASET, state=DatasetState.DRAFT, listing=empty)
    with pytest.raises(DatasetIncompleteError, match=missing):
        draft.moved("submit", NOW)
    assert replace(draft, listing=LISTING).moved("submit", NOW).state is DatasetState.SUBMITTED


@pytest.mark.parametrize("missing", ["legality_undertaking", "assessment_sha256", "assessor"])
def test_a_listing_without_its_evidence_is_not_submitted(missing):
    evidence = replace(LISTING.evidence, **{missing: getattr(Evidence(), missing)})
    draft = replace(DATASET, state=DatasetState.DRAFT, listing=replace(LISTING, evidence=evidence))
    with pytest.raises(DatasetIncompleteError, match=f"evidence.{missing}"):
        draft.moved("submit", NOW)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("title", {"title": "x" * 201}),
        ("title", {"title": "bell\a"}),
        ("description", {"description": "x" * 5001}),
        ("identifier_scheme", {"identifier_scheme": "National ID"}),
        ("classification_grade", {"classification_grade": 5}),
        ("classification_grade", {"classification_grade": -1}),
        ("scenarios", {"scenarios": tuple(f"scenario-{n}" for n in range(33))}),
        ("scenarios", {"scenarios": ("same", "same")}),
        ("scenarios[0]", {"scenarios": ("Upper",)}),
        ("tags[0]", {"tags": ("",)}),
        ("tags[0]", {"tags": ("x" * 64,)}),
        ("evidence.assessment_sha256", {"evidence": Evidence(assessment_sha256=bytes(31))}),
        ("evidence.assessor", {"evidence": Evidence(assessor="x" * 201)}),
    ],
)
def test_a_listing_out_of_bounds_is_refused_by_its_field(path, changes):
    check_listing("dataset", LISTING)
    check_listing("dataset", Listing())
    with pytest.raises(FieldInvalidError) as refused:
        check_listing("dataset", replace(LISTING, **changes))
    assert f"dataset.{path}" in [field for field, _ in refused.value.violations]


def test_a_listing_changes_only_before_its_review_and_after_a_rejection():
    for state in DatasetState:
        dataset = replace(DATASET, state=state)
        if state in {DatasetState.DRAFT, DatasetState.REJECTED}:
            assert dataset.rewritten(Listing(title="other"), NOW).version == 2
        else:
            with pytest.raises(DatasetStateError):
                dataset.rewritten(Listing(), NOW)


def test_a_revision_is_newer_and_comes_outside_of_reviews():
    newer = replace(REVISION, number=2)
    for state in DatasetState:
        dataset = replace(DATASET, state=state)
        if state in REVISABLE:
            assert dataset.revised(newer, NOW).latest == newer
            with pytest.raises(FieldInvalidError, match="exceed 1"):
                dataset.revised(REVISION, NOW)
        else:
            with pytest.raises(DatasetStateError):
                dataset.revised(newer, NOW)
    assert frozenset(DatasetState) - REVISABLE == {DatasetState.SUBMITTED, DatasetState.DELISTED}


@pytest.mark.parametrize("state", list(DatasetState))
def test_who_sees_a_listing_depends_on_its_state(state):
    dataset = replace(DATASET, state=state)
    in_catalog = state in {DatasetState.LISTED, DatasetState.SUSPENDED, DatasetState.DELISTED}

    def sees(name, kind):
        return dataset.visible_to(Caller("uri", name, "member", kind, frozenset()))

    assert sees("bureau", PartyKind.PROVIDER)
    assert sees("square", PartyKind.OPERATOR)
    assert sees("watch", PartyKind.REGULATOR)
    assert sees("rival", PartyKind.PROVIDER) is in_catalog
    assert sees("harbour-bank", PartyKind.BANK) is in_catalog


def test_terms_within_bounds_are_licensed():
    check_terms("terms", TERMS, PUBLISHED, NOW)
    for drop in range(7, 13):
        check_terms("terms", replace(TERMS, drop=drop), PUBLISHED, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"query_kinds": (None,)},
        {"query_kinds": (QueryKind.NAMED, None)},
        {"query_kinds": (QueryKind.NAMED, QueryKind.NAMED)},
        {"profile": "wide-v1"},
        {"drop": 6},
        {"drop": 13},
        {"drop": 2**32 - 1},
    ],
)
def test_a_term_that_nothing_enforces_is_refused(changes):
    with pytest.raises(TermNotEnforcedError, match=f"terms.{next(iter(changes))}"):
        check_terms("terms", replace(TERMS, **changes), PUBLISHED, NOW)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("columns", {"columns": ()}),
        ("columns", {"columns": ("duration", "duration")}),
        ("columns[1]", {"columns": ("duration", "income")}),
        ("query_kinds", {"query_kinds": ()}),
        ("profile", {"profile": ""}),
        ("drop", {"drop": 0}),
        ("max_rows", {"max_rows": 0}),
        ("max_rows", {"max_rows": 10**12 + 1}),
        ("max_openings_per_entity", {"max_openings_per_entity": 0}),
        ("max_models", {"max_models": 0}),
        ("max_bits", {"max_bits": 0}),
        ("max_bits", {"max_bits": 10}),
        ("max_bits", {"max_bits": 2**64 - 1}),
        ("valid_until", {"valid_until": NOW}),
        ("valid_until", {"valid_from": NOW - timedelta(days=9), "valid_until": NOW}),
        ("valid_until", {"valid_from": NOW + timedelta(days=31)}),
    ],
)
def test_terms_out_of_bounds_are_refused_by_their_field(path, changes):
    with pytest.raises(FieldInvalidError) as refused:
        check_terms("terms", replace(TERMS, **changes), PUBLISHED, NOW)
    assert f"terms.{path}" in [field for field, _ in refused.value.violations]


def test_a_caller_is_who_the_registry_says_now():
    steward = Identity("bourse.test", "provider", "bureau", "steward")
    caller = admit(steward, BUREAU, {Role.STEWARD, Role.AUDITOR})
    assert (caller.party, caller.member, caller.kind) == ("bureau", "steward", PartyKind.PROVIDER)
    with pytest.raises(IdentityUnknownError):
        admit(steward, None, {Role.STEWARD})
    with pytest.raises(IdentityUnknownError):
        admit(Identity("bourse.test", "provider", "bureau", "stranger"), BUREAU, {Role.STEWARD})
    with pytest.raises(IdentityUnknownError):
        admit(Identity("bourse.test", "bank", "bureau", "steward"), BUREAU, {Role.STEWARD})
    with pytest.raises(CallerSuspendedError):
        admit(steward, replace(BUREAU, state=PartyState.SUSPENDED), {Role.STEWARD})
    with pytest.raises(RoleNotAllowedError, match="auditor or node"):
        admit(steward, BUREAU, {Role.NODE, Role.AUDITOR})


def test_every_role_and_purpose_fits_exactly_one_kind_of_party():
    for table, values in ((ROLES_OF_KIND, Role), (PURPOSES_OF_KIND, KeyPurpose)):
        assert set(table) == set(PartyKind)
        assert sorted(one for held in table.values() for one in held) == sorted(values)


@pytest.mark.parametrize("kind", list(PartyKind))
@pytest.mark.parametrize("purpose", list(KeyPurpose))
def test_a_key_serves_only_a_purpose_of_its_partys_kind(kind, purpose):
    key = SigningKey(purpose, bytes(32), bytes(64), NOW)
    if purpose in PURPOSES_OF_KIND[kind]:
        assert party("somebody", kind).with_key(key).pinned_key(purpose) == bytes(32)
    else:
        with pytest.raises(SigningKeyUnusableError, match="purposes"):
            party("somebody", kind).with_key(key)


def test_a_party_without_key_pins_none_and_retires_none():
    with pytest.raises(SigningKeyUnusableError, match="administrator"):
        BUREAU.pinned_key(KeyPurpose.NODE)
    retired = BUREAU.with_key(SigningKey(KeyPurpose.NODE, bytes(32), bytes(64), NOW)).without_key(
        bytes(32), NOW
    )
    with pytest.raises(SigningKeyUnusableError):
        retired.pinned_key(KeyPurpose.NODE)
    with pytest.raises(SigningKeyUnusableError):
        retired.without_key(bytes(32), NOW)


def profile(kind=PartyKind.PROVIDER, **changes):
    values = {
        "display_name": "Bureau",
        "members": (Member("steward", frozenset({Role.STEWARD})),),
        "node_address": "node.bureau.test:7500",
    }
    check_profile("party", kind, **(values | changes))


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("display_name", {"display_name": ""}),
        ("display_name", {"display_name": "x" * 201}),
        ("members", {"members": tuple(Member(f"m{n}", frozenset({Role.NODE})) for n in range(65))}),
        ("members", {"members": (Member("node", frozenset({Role.NODE})),) * 2}),
        ("members[0].member", {"members": (Member("Node", frozenset({Role.NODE})),)}),
        ("members[0].roles", {"members": (Member("node", frozenset()),)}),
        ("members[0].roles", {"members": (Member("node", frozenset({Role.ANALYST})),)}),
        ("node_address", {"node_address": "bureau"}),
        ("node_address", {"node_address": "bureau:0"}),
        ("node_address", {"node_address": "bureau:65536"}),
        ("node_address", {"node_address": "bu reau:7500"}),
        ("node_address", {"node_address": "dns:///bureau:7500"}),
        ("node_address", {"kind": PartyKind.BANK, "members": ()}),
    ],
)
def test_a_profile_out_of_bounds_is_refused_by_its_field(path, changes):
    for address in ("", "127.0.0.1:7500", "[::1]:7500", "node.bureau.test:1"):
        profile(node_address=address)
    with pytest.raises(FieldInvalidError) as refused:
        profile(**changes)
    assert f"party.{path}" in [field for field, _ in refused.value.violations]


def test_the_operator_keeps_an_administrator():
    administrator = Member("admin", frozenset({Role.ADMINISTRATOR}))
    officer = Member("officer", frozenset({Role.COMPLIANCE_OFFICER}))
    operator = party("square", PartyKind.OPERATOR, administrator)
    assert operator.described(NOW, display_name="x", members=(administrator, officer), node_address="")
    with pytest.raises(PartyStateError, match="administrator"):
        operator.described(NOW, display_name="x", members=(officer,), node_address="")


# What node and bank say of a release of 10 rows out of 100, all charged.
SEALING = SealingStatement("sealings/model-01", bytes(32), b"c" * 32, bytes(32))
MODEL = ModelStatement("0f1e2d3c", AGREEMENT.sha256, "sealings/model-01", SEALING_BYTES.sha256, 9)
DEPLOYED = Deployed("0f1e2d3c", "sealings/model-01", b"c" * 32)
BLOCK = "evaluations/eval-001/blocks/0"
REQUEST = ReleaseRequest(BLOCK, bytes(32), b"c" * 32, b"b" * 32, bytes(32), 10, QueryKind.NAMED, 9)
STATEMENT = ReleaseStatement(
    license="0f1e2d3c",
    license_digest=AGREEMENT.sha256,
    sealing="sealings/model-01",
    block=BLOCK,
    request_sha256=REQUEST_BYTES.sha256,
    place=b"p" * 32,
    rows_gathered=100,
    rows_opened=10,
    rows_charged=100,
    bits_charged=1100,
    consent_digest=bytes(32),
    query_kind=QueryKind.NAMED,
)


def test_a_release_that_all_say_alike_passes():
    check_release(LICENSE, DEPLOYED, STATEMENT, REQUEST_BYTES, REQUEST)
    after, cost = charge(LICENSE, None, STATEMENT, REQUEST)
    assert after.usage == Usage(models=0, rows=100, bits=1100)
    assert (cost.rows_gathered, cost.rows_opened, cost.rows_charged, cost.bits_charged) == (
        100,
        10,
        100,
        1100,
    )


@pytest.mark.parametrize(
    ("statement", "request_"),
    [
        ({"license_digest": bytes(32)}, {}),
        ({"request_sha256": bytes(32)}, {}),
        ({"block": "evaluations/eval-001/blocks/1"}, {}),
        ({}, {"block": "evaluations/eval-001/blocks/1"}),
        ({}, {"c0_digest": bytes(32)}),
        ({}, {"drop": 7}),
        ({}, {"rows": 11}),
        ({"rows_opened": 11}, {}),
        ({"rows_opened": 0}, {"rows": 0}),
        ({"rows_gathered": 9}, {}),
        ({"rows_gathered": 8193}, {}),
    ],
)
def test_a_release_that_node_bank_and_license_tell_differently_is_refused(statement, request_):
    with pytest.raises(StatementRefusedError):
        check_release(
            LICENSE,
            DEPLOYED,
            replace(STATEMENT, **statement),
            REQUEST_BYTES,
            replace(REQUEST, **request_),
        )


@pytest.mark.parametrize(
    "deployed", [None, replace(DEPLOYED, license="other"), replace(DEPLOYED, c0_digest=b"")]
)
def test_a_release_needs_its_model_recorded_under_its_license(deployed):
    with pytest.raises(StatementRefusedError, match="not recorded under this license"):
        check_release(LICENSE, deployed, STATEMENT, REQUEST_BYTES, REQUEST)


@pytest.mark.parametrize("field", ["license", "sealing", "block_digest", "place", "rows_gathered"])
def test_a_block_once_charged_stays_what_it_was(field):
    again = replace(STATEMENT, rows_charged=0, bits_charged=0)
    before = charged_by(LICENSE, STATEMENT, REQUEST)
    assert isinstance(before, Charged)
    _, cost = charge(LICENSE, before, again, REQUEST)
    assert (cost.rows_charged, cost.bits_charged) == (0, 0)
    other = replace(before, **{field: 7 if field == "rows_gathered" else "other"})
    with pytest.raises(StatementRefusedError, match="charged before"):
        charge(LICENSE, other, again, REQUEST)


@pytest.mark.parametrize(
    ("usage", "clause", "asked"),
    [(Usage(rows=501), "max_rows", "100"), (Usage(bits=5501), "max_bits", "1100")],
)
def test_a_cap_that_does_not_suffice_refuses_and_says_the_way_out(usage, clause, asked):
    with pytest.raises(ClauseRefusedError) as refused:
        charge(replace(LICENSE, usage=usage), None, STATEMENT, REQUEST)
    assert (refused.value.clause, refused.value.asked) == (clause, asked)
    assert "are used" in refused.value.limit
    assert "at most 99 rows" in refused.value.way_out
    exact = Usage(rows=500, bits=5500)
    assert charge(replace(LICENSE, usage=exact), None, STATEMENT, REQUEST)[0].usage == Usage(0, 600, 6600)


def test_a_model_that_all_say_alike_is_counted_until_the_cap():
    check_model(LICENSE, PUBLISHED, MODEL, SEALING_BYTES, SEALING)
    used = deploy(LICENSE)
    assert used.usage.models == 1
    with pytest.raises(ClauseRefusedError) as refused:
        deploy(used)
    assert refused.value.clause == "max_models"


@pytest.mark.parametrize(
    "changes",
    [
        {"license_digest": bytes(32)},
        {"sealing": "sealings/model-02"},
        {"sealing_statement_sha256": bytes(32)},
        {"columns": 8},
        {"columns": 10},
    ],
)
def test_a_model_that_node_bank_and_license_tell_differently_is_refused(changes):
    with pytest.raises(StatementRefusedError):
        check_model(LICENSE, PUBLISHED, replace(MODEL, **changes), SEALING_BYTES, SEALING)


@pytest.mark.parametrize("state", list(LicenseState))
def test_only_an_active_license_is_in_force(state):
    license_ = replace(LICENSE, state=state)
    if state is LicenseState.ACTIVE:
        check_in_force(license_, DATASET, BUREAU, BANK, NOW)
    else:
        with pytest.raises(LicenseStateError, match=state.upper()):
            check_in_force(license_, DATASET, BUREAU, BANK, NOW)


@pytest.mark.parametrize("state", list(DatasetState))
def test_only_a_listed_dataset_keeps_its_licenses_in_force(state):
    dataset = replace(DATASET, state=state)
    if state is DatasetState.LISTED:
        check_in_force(LICENSE, dataset, BUREAU, BANK, NOW)
    else:
        with pytest.raises(LicenseStateError, match=state.upper()):
            check_in_force(LICENSE, dataset, BUREAU, BANK, NOW)


def test_a_license_is_in_force_from_its_first_moment_to_before_its_last():
    last = TERMS.valid_until - timedelta(microseconds=1)
    check_in_force(LICENSE, DATASET, BUREAU, BANK, last)
    for moment, clause in (
        (TERMS.valid_from - timedelta(microseconds=1), "valid_from"),
        (TERMS.valid_until, "valid_until"),
    ):
        with pytest.raises(ClauseRefusedError) as refused:
            check_in_force(LICENSE, DATASET, BUREAU, BANK, moment)
        assert refused.value.clause == clause


def test_a_suspended_side_takes_its_licenses_out_of_force():
    for provider, bank, side in (
        (replace(BUREAU, state=PartyState.SUSPENDED), BANK, "provider"),
        (BUREAU, replace(BANK, state=PartyState.SUSPENDED), "bank"),
    ):
        with pytest.raises(LicenseStateError, match=f"its {side} is SUSPENDED"):
            check_in_force(LICENSE, DATASET, provider, bank, NOW)
