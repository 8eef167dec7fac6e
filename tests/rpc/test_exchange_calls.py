"""How calls behave, whatever they are about: who sees what, etags, request ids, masks, pages, sizes."""

import grpc
import pytest
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    license_service_pb2,
    party_pb2,
    party_service_pb2,
    trade_record_service_pb2,
)
from bourse.type.v1 import record_pb2
from exchange_papers import (
    listing,
    request_id,
)
from exchange_steps import (
    ANALYST,
    AUDITOR,
    NODE,
    OTHER_BANK,
    RIVAL,
    STEWARD,
    dataset_call,
    dataset_in,
    dataset_request,
    fresh_name,
    license_call,
    license_in,
    license_request,
    reason,
    refusal,
)
from exchange_world import (
    ADMIN,
    OFFICER,
    SECONDS,
)

from exchange.domain.datasets import DatasetState
from exchange.domain.licenses import LicenseState


def test_others_see_a_listing_only_once_it_is_in_the_catalog(market):
    hidden = (DatasetState.DRAFT, DatasetState.SUBMITTED, DatasetState.REJECTED)
    for state in DatasetState:
        dataset = dataset_in(market, state)
        asked = dataset_service_pb2.GetDatasetRequest(name=dataset.name)
        revision = dataset_service_pb2.GetDatasetRevisionRequest(name=f"{dataset.name}/revisions/1")
        revisions = dataset_service_pb2.ListDatasetRevisionsRequest(parent=dataset.name)
        listed = dataset_service_pb2.ListDatasetsRequest(page_size=1000)
        for who in (ANALYST, RIVAL.member("steward")):
            stub = market.as_(who).datasets
            names = {one.name for one in stub.ListDatasets(listed, timeout=SECONDS).datasets}
            if state in hidden:
                assert reason(stub.GetDataset, asked) == "DATASET_NOT_FOUND"
                assert reason(stub.GetDatasetRevision, revision) == "DATASET_NOT_FOUND"
                assert reason(stub.ListDatasetRevisions, revisions) == "DATASET_NOT_FOUND"
                assert dataset.name not in names
            else:
                assert stub.GetDataset(asked, timeout=SECONDS) == dataset
                assert stub.GetDatasetRevision(revision, timeout=SECONDS) == dataset.latest_revision
                assert dataset.name in names
        for who in (STEWARD, NODE, OFFICER, ADMIN, AUDITOR):
            assert market.as_(who).datasets.GetDataset(asked, timeout=SECONDS) == dataset


def test_a_foreign_steward_changes_nothing_and_learns_nothing(market):
    stub = market.as_(RIVAL.member("steward")).datasets
    draft, listed = dataset_in(market, DatasetState.DRAFT), dataset_in(market, DatasetState.LISTED)
    assert reason(stub.SubmitDataset, dataset_request("submit", draft.name)) == "DATASET_NOT_FOUND"
    # Not even whether its own words were well formed.
    for verb in ("suspend", "delist"):
        wrong = dataset_request(verb, listed.name, reason="", request_id="", etag="stale")
        assert reason(getattr(stub, f"{verb.title()}Dataset"), wrong) == "ROLE_NOT_ALLOWED"


def test_a_license_is_between_two_parties_and_seen_by_overseers(market):
    license_ = market.requested("loans")
    asked = license_service_pb2.GetLicenseRequest(name=license_.name)
    for who in (ANALYST, STEWARD, NODE, OFFICER, ADMIN, AUDITOR):
        assert market.as_(who).licenses.GetLicense(asked, timeout=SECONDS) == license_
    listed = license_service_pb2.ListLicensesRequest(page_size=1000)
    for who in (OTHER_BANK.member("analyst"), RIVAL.member("steward"), RIVAL.member("node")):
        stub = market.as_(who).licenses
        assert reason(stub.GetLicense, asked) == "LICENSE_NOT_FOUND"
        assert list(stub.ListLicenses(listed, timeout=SECONDS).licenses) == []
    for verb, who in (("offer", RIVAL.member("steward")), ("counter", OTHER_BANK.member("analyst"))):
        call = getattr(market.as_(who).licenses, f"{verb.title()}License")
        assert reason(call, license_request(market, verb, license_)) == "LICENSE_NOT_FOUND"


def test_a_stale_etag_changes_nothing(market):
    dataset = dataset_in(market, DatasetState.DRAFT)
    stub = market.as_(STEWARD).datasets

    def update(etag, title):
        return dataset_service_pb2.UpdateDatasetRequest(
            dataset=dataset_pb2.Dataset(name=dataset.name, title=title, etag=etag),
            update_mask={"paths": ["title"]},
            request_id=request_id(),
        )

    changed = stub.UpdateDataset(update(dataset.etag, "Second"), timeout=SECONDS)
    assert changed.etag != dataset.etag
    stale = refusal(stub.UpdateDataset, update(dataset.etag, "Third"))
    assert (stale.reason, stale.code) == ("ETAG_MISMATCH", grpc.StatusCode.ABORTED)
    assert stub.UpdateDataset(update("", "Fourth"), timeout=SECONDS).title == "Fourth"
    party = market.as_(ADMIN).parties
    suspend = party_service_pb2.SuspendPartyRequest(
        name="parties/rival", reason="rules", etag="stale", request_id=request_id()
    )
    assert reason(party.SuspendParty, suspend) == "ETAG_MISMATCH"


def test_nobody_accepts_other_terms_than_they_saw(market):
    offered = license_in(market, LicenseState.OFFERED)
    call = license_call(market, "accept")
    assert reason(call, license_request(market, "accept", offered, etag="")) == "FIELD_INVALID"
    counter = license_call(market, "counter")(license_request(market, "counter", offered), timeout=SECONDS)
    license_call(market, "offer")(license_request(market, "offer", counter), timeout=SECONDS)
    assert reason(call, license_request(market, "accept", offered)) == "ETAG_MISMATCH"


def test_a_request_id_gets_its_first_reply_or_is_refused_for_another_request(market):
    name = fresh_name()
    stub = market.as_(ADMIN).parties
    request = party_service_pb2.CreatePartyRequest(
        party_id=name,
        party=party_pb2.Party(display_name="First", kind=party_pb2.PARTY_KIND_BANK),
        request_id=request_id(),
    )
    first = stub.CreateParty(request, timeout=SECONDS)
    suspend = party_service_pb2.SuspendPartyRequest(
        name=f"parties/{name}", reason="rules", request_id=request_id()
    )
    stub.SuspendParty(suspend, timeout=SECONDS)
    assert stub.CreateParty(request, timeout=SECONDS) == first
    assert len(market.records(party=f"parties/{name}")) == 2
    other = party_service_pb2.CreatePartyRequest()
    other.CopyFrom(request)
    other.party.display_name = "Second"
    reused = refusal(stub.CreateParty, other)
    assert (reused.reason, reused.code) == ("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS)
    suspend.request_id = request.request_id
    assert reason(stub.SuspendParty, suspend) == "REQUEST_ID_REUSED"
    other.request_id = request.request_id.upper()
    got = refusal(stub.CreateParty, other)
    assert [path for path, _ in got.violations] == ["request_id"]


@pytest.mark.parametrize("paths", [[], ["*"], ["state"], ["title", "provider"], ["evidence.assessor"]])
def test_a_mask_names_fields_that_may_change(market, paths):
    dataset = dataset_in(market, DatasetState.DRAFT)
    request = dataset_service_pb2.UpdateDatasetRequest(
        dataset=dataset, update_mask={"paths": paths}, request_id=request_id()
    )
    got = refusal(market.as_(STEWARD).datasets.UpdateDataset, request)
    assert [path for path, _ in got.violations] == ["update_mask"]


def test_a_mask_changes_what_it_names_and_nothing_else(market):
    dataset = dataset_in(market, DatasetState.DRAFT)
    other = listing(title="Other", description="Other", tags=["other"], classification_grade=1)
    other.name = dataset.name
    changed = market.as_(STEWARD).datasets.UpdateDataset(
        dataset_service_pb2.UpdateDatasetRequest(
            dataset=other, update_mask={"paths": ["tags", "classification_grade"]}, request_id=request_id()
        ),
        timeout=SECONDS,
    )
    assert (changed.title, list(changed.tags), changed.classification_grade) == (dataset.title, ["other"], 1)


def pages(call, request_type, field, size, **arguments):
    found, token = [], ""
    while True:
        page = call(request_type(page_size=size, page_token=token, **arguments), timeout=SECONDS)
        assert len(getattr(page, field)) <= size
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found


def test_pages_join_into_the_whole_list_in_order(market):
    for _ in range(3):
        market.requested("loans")
    stubs = market.as_(AUDITOR)
    for call, request_type, field, key, backwards in (
        (stubs.parties.ListParties, party_service_pb2.ListPartiesRequest, "parties", "name", False),
        (stubs.datasets.ListDatasets, dataset_service_pb2.ListDatasetsRequest, "datasets", "name", False),
        (stubs.licenses.ListLicenses, license_service_pb2.ListLicensesRequest, "licenses", None, True),
        (
            stubs.records.ListTradeRecords,
            trade_record_service_pb2.ListTradeRecordsRequest,
            "trade_records",
            "index",
            False,
        ),
    ):
        whole = pages(call, request_type, field, 1000)
        assert pages(call, request_type, field, 2) == whole
        assert len(whole) > 2
        order = [getattr(one, key) if key else one.create_time.ToNanoseconds() for one in whole]
        assert order == sorted(order, reverse=backwards)


def test_a_page_token_serves_its_own_list_alone(market):
    stub = market.as_(AUDITOR).records
    first = stub.ListTradeRecords(
        trade_record_service_pb2.ListTradeRecordsRequest(page_size=1, newest_first=True), timeout=SECONDS
    )
    again = trade_record_service_pb2.ListTradeRecordsRequest(page_size=2, newest_first=True)
    again.page_token = first.next_page_token
    rest = stub.ListTradeRecords(again, timeout=SECONDS).trade_records
    assert rest[0].index == first.trade_records[0].index - 1
    for changes in ({"newest_first": False}, {"party": "parties/bureau"}, {"page_token": "AAAA"}):
        other = trade_record_service_pb2.ListTradeRecordsRequest()
        other.CopyFrom(again)
        for field, value in changes.items():
            setattr(other, field, value)
        got = refusal(stub.ListTradeRecords, other)
        assert (got.reason, got.code) == ("PAGE_TOKEN_INVALID", grpc.StatusCode.INVALID_ARGUMENT)
    assert reason(market.as_(ANALYST).records.ListTradeRecords, again) == "PAGE_TOKEN_INVALID"
    assert (
        reason(stub.ListTradeRecords, trade_record_service_pb2.ListTradeRecordsRequest(page_size=-1))
        == "FIELD_INVALID"
    )


def test_filters_narrow_and_wrong_ones_are_refused(market):
    license_ = market.licensed("loans")
    kinds = [one.kind for one in map(entry_of, market.records(license=license_.name))]
    assert kinds == [
        record_pb2.RECORD_KIND_LICENSE_REQUESTED,
        record_pb2.RECORD_KIND_LICENSE_OFFERED,
        record_pb2.RECORD_KIND_LICENSE_ACCEPTED,
        record_pb2.RECORD_KIND_LICENSE_AGREED,
        record_pb2.RECORD_KIND_LICENSE_FINALIZED,
    ]
    first = entry_of(market.records(license=license_.name)[0]).time
    assert market.records(license=license_.name, end_time=first) == []
    assert len(market.records(license=license_.name, start_time=first)) == 5
    assert len(market.records(license=license_.name, kinds=kinds[:2] * 2)) == 2
    assert market.records(license=license_.name, party="parties/rival") == []
    stub = market.as_(AUDITOR).records
    for wrong in ({"party": "bureau"}, {"license": "licenses/"}, {"kinds": [0]}, {"kinds": [99]}):
        request = trade_record_service_pb2.ListTradeRecordsRequest(**wrong)
        assert reason(stub.ListTradeRecords, request) == "FIELD_INVALID"
    datasets = market.as_(ANALYST).datasets
    wrong_state = dataset_service_pb2.ListDatasetsRequest(state=77)
    assert reason(datasets.ListDatasets, wrong_state) == "FIELD_INVALID"


def entry_of(trade_record):
    return record_pb2.TradeRecordEntry.FromString(trade_record.entry)


def test_a_record_is_shown_to_whom_it_concerns(market):
    license_ = market.licensed("loans")
    record = market.records(license=license_.name)[-1]
    asked = trade_record_service_pb2.GetTradeRecordRequest(name=record.name)
    for who in (AUDITOR, ANALYST, STEWARD, NODE):
        assert market.as_(who).records.GetTradeRecord(asked, timeout=SECONDS) == record
    for who in (RIVAL.member("steward"), OTHER_BANK.member("analyst"), ADMIN, OFFICER):
        assert reason(market.as_(who).records.GetTradeRecord, asked) == "TRADE_RECORD_NOT_FOUND"
        listed = market.as_(who).records.ListTradeRecords(
            trade_record_service_pb2.ListTradeRecordsRequest(page_size=1000), timeout=SECONDS
        )
        assert record.name not in {one.name for one in listed.trade_records}
    none = trade_record_service_pb2.GetTradeRecordRequest(name="tradeRecords/999999")
    assert reason(market.as_(AUDITOR).records.GetTradeRecord, none) == "TRADE_RECORD_NOT_FOUND"


def test_an_oversized_message_is_refused_before_it_is_read(market):
    request = dataset_service_pb2.CreateDatasetRequest(
        dataset_id=fresh_name(), dataset=listing(description="x" * (9 * 2**20)), request_id=request_id()
    )
    got = refusal(market.as_(STEWARD).datasets.CreateDataset, request)
    assert (got.reason, got.code) == ("MESSAGE_TOO_LARGE", grpc.StatusCode.RESOURCE_EXHAUSTED)
    dataset = listing()
    dataset.latest_revision.description.payload = bytes(2 * 2**20)
    dataset.latest_revision.description.signatures.add(key_id=bytes(16), value=bytes(64))
    request = dataset_service_pb2.CreateDatasetRequest(
        dataset_id=fresh_name(), dataset=dataset, request_id=request_id()
    )
    got = refusal(market.as_(STEWARD).datasets.CreateDataset, request)
    assert [path for path, _ in got.violations] == ["dataset.latest_revision.description.payload"]


@pytest.mark.parametrize("reason_", ["", "x" * 501, "bell\a"])
def test_a_reason_is_given_and_not_a_novel(market, reason_):
    listed = dataset_in(market, DatasetState.LISTED)
    got = refusal(dataset_call(market, "suspend"), dataset_request("suspend", listed.name, reason=reason_))
    assert [path for path, _ in got.violations] == ["reason"]
