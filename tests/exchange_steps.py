"""Small market, many states: how to bring a listing or a license into any state, and how to be refused."""

import itertools

from bourse.exchange.v1 import (
    dataset_service_pb2,
    license_service_pb2,
)
from exchange_papers import (
    request_id,
    signed,
    terms,
)
from exchange_world import (
    BUREAU,
    HARBOUR,
    OFFICER,
    SECONDS,
    WATCH,
    PartyOfTests,
    refused,
)

from exchange.domain.datasets import DatasetState
from exchange.domain.licenses import LicenseState
from wire.signing import Purpose

STEWARD, NODE = BUREAU.member("steward"), BUREAU.member("node")
ANALYST, AUDITOR = HARBOUR.member("analyst"), WATCH.member("auditor")
RIVAL = PartyOfTests(
    "rival",
    "provider",
    (("steward", ("STEWARD",)), ("node", ("NODE",))),
    (("STEWARD", "steward"), ("NODE", "node")),
)
OTHER_BANK = PartyOfTests("other-bank", "bank", (("analyst", ("ANALYST",)),), (("BANK", "analyst"),))
numbers = itertools.count()


def fresh_name():
    return f"set-{next(numbers)}"


def refusal(call, request):
    with refused() as refusals:
        call(request, timeout=SECONDS)
    return refusals[0]


def reason(call, request):
    return refusal(call, request).reason


def dataset_in(world, state):
    """A dataset in a state, by the shortest way."""
    name = fresh_name()
    path = {
        DatasetState.DRAFT: (),
        DatasetState.SUBMITTED: ("submit",),
        DatasetState.REJECTED: ("submit", "reject"),
        DatasetState.LISTED: ("submit", "approve"),
        DatasetState.SUSPENDED: ("submit", "approve", "suspend"),
        DatasetState.DELISTED: ("submit", "approve", "delist"),
    }[state]
    dataset = world.drafted(name)
    for verb in path:
        dataset = dataset_call(world, verb)(dataset_request(verb, dataset.name), timeout=SECONDS)
    return dataset


def dataset_call(world, verb, who=None):
    who = who or (STEWARD if verb == "submit" else OFFICER)
    return getattr(world.as_(who).datasets, f"{verb.title()}Dataset")


def dataset_request(verb, name, **changes):
    values = {"name": name, "request_id": request_id()} | changes
    if verb == "approve":
        values.setdefault("comment", "evidence read")
    elif verb != "submit":
        values.setdefault("reason", "as the rules say")
    return getattr(dataset_service_pb2, f"{verb.title()}DatasetRequest")(**values)


def license_in(world, state):
    """A license in a state, by the shortest way."""
    if state is LicenseState.REQUESTED:
        return world.requested("loans")
    if state is LicenseState.OFFERED:
        requested = world.requested("loans")
        return world.as_(STEWARD).licenses.OfferLicense(
            license_service_pb2.OfferLicenseRequest(name=requested.name, request_id=request_id()),
            timeout=SECONDS,
        )
    if state is LicenseState.ACCEPTED:
        return world.accepted("loans")
    if state is LicenseState.AGREED:
        accepted = world.accepted("loans")
        return world.as_(STEWARD).licenses.AgreeLicense(
            license_request(world, "agree", accepted), timeout=SECONDS
        )
    if state is LicenseState.ACTIVE:
        return world.licensed("loans")
    requested = world.requested("loans")
    return world.as_(ANALYST).licenses.TerminateLicense(
        license_request(world, "terminate", requested), timeout=SECONDS
    )


def license_request(world, verb, license_, **changes):
    values = {"name": license_.name, "request_id": request_id()}
    payload = license_.agreement.payload or b"no agreement yet"
    if verb == "counter":
        values["terms"] = terms()
    elif verb == "accept":
        values["etag"] = license_.etag
    elif verb == "agree":
        values["agreement"] = signed(world.key(STEWARD), Purpose.AGREEMENT, payload)
    elif verb == "verify":
        values["agreement"] = signed(world.key(ANALYST), Purpose.AGREEMENT, payload)
    elif verb == "terminate":
        values["reason"] = "enough"
    return getattr(license_service_pb2, f"{verb.title()}LicenseRequest")(**(values | changes))


def license_call(world, verb):
    who = STEWARD if verb in {"offer", "agree"} else ANALYST
    return getattr(world.as_(who).licenses, f"{verb.title()}License")
