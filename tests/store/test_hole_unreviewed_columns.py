"""No compliance, no listing: what a review never saw must not be sold under the name of what it saw."""

import os
from dataclasses import replace

import pytest
from bourse.type.v1 import column_pb2
from exchange_bench import ANALYST, OFFICER, SCENARIO, STEWARD, TERMS, signed
from exchange_papers import COLUMNS, canonical, description

from exchange.domain.errors import DatasetStateError, FieldInvalidError
from exchange.domain.parties import KeyPurpose
from exchange.store.datasets import get_dataset
from exchange.verbs import datasets, licenses
from wire.signing import Purpose

DIAGNOSIS = column_pb2.Column(
    name="diagnosis",
    meaning="What a hospital found.",
    bins=[
        column_pb2.Bin(label="missing", missing=column_pb2.MissingBin()),
        column_pb2.Bin(label="other", other=column_pb2.OtherBin()),
    ],
)
WITH_DIAGNOSIS = replace(TERMS, columns=(*TERMS.columns, "diagnosis"))


def revise(bench, number: int, *columns: column_pb2.Column) -> None:
    payload = canonical(description("loans", "bureau", revision=number, columns=columns))
    paper = signed(bench.keys[KeyPurpose.NODE], Purpose.DATASET_DESCRIPTION, payload)
    bench.do(STEWARD, lambda tx, act: datasets.add_revision(tx, act, get_dataset(tx, "loans"), paper))


def request(bench, terms, revision: int = 0):
    license_id = os.urandom(16).hex()
    return bench.do(
        ANALYST,
        lambda tx, act: licenses.request_license(
            tx,
            act,
            license_id,
            dataset_id="loans",
            revision=revision,
            scenario=SCENARIO,
            terms=terms,
            note="",
        ),
    )


def test_a_column_that_came_after_the_review_is_not_licensed(bench):
    bench.listed("loans")
    revise(bench, 2, *COLUMNS, DIAGNOSIS)
    with pytest.raises(FieldInvalidError, match="after the review"):
        request(bench, WITH_DIAGNOSIS)
    asked = request(bench, TERMS)
    assert asked.revision == 2, "newer rows of reviewed columns are licensed"
    with pytest.raises(FieldInvalidError, match="after the review"):
        bench.do(
            STEWARD,
            lambda tx, act: licenses.offer(tx, act, asked, terms=WITH_DIAGNOSIS, note="", etag=""),
        )


def test_a_revision_that_was_rejected_is_not_licensed_behind_the_one_approved(bench):
    bench.drafted("loans")
    revise(bench, 2, *COLUMNS, DIAGNOSIS)
    bench.move_dataset("loans", "submit", STEWARD)
    bench.move_dataset("loans", "reject", OFFICER)
    revise(bench, 3, *COLUMNS)
    bench.move_dataset("loans", "submit", STEWARD)
    assert bench.move_dataset("loans", "approve", OFFICER).reviewed == 3
    for passed_over in (1, 2):
        with pytest.raises(DatasetStateError, match="revision 3 or a newer"):
            request(bench, WITH_DIAGNOSIS if passed_over == 2 else TERMS, passed_over)
    assert request(bench, TERMS, 3).revision == 3
