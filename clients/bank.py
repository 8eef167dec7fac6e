"""The bank's client: licensing datasets, deploying a scorecard to their nodes, and scoring jointly with them.

    with BankClient.open(home) as bank:
        bank.deploy("licenses/...", scorecard)
        results = bank.score(scorecard, read_rows(path, id_column="id", columns=...), consent_reference="...")

The bank's own part, its points and its keys never leave this process, except encrypted to its own disk.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bourse.compute.v1 import evaluation_service_pb2
from bourse.exchange.v1 import dataset_pb2, license_pb2, license_service_pb2
from bourse.type.v1 import agreement_pb2, signature_pb2

from clients.agreement import (
    SIGNERS,
    CheckedAgreement,
    check_agreement,
    check_signed_by,
    check_turn,
    final_agreement,
    read_agreement,
)
from clients.connection import Connection, Meter, Peer, RefusedError, new_request_id
from clients.deploying import Deployer, Order
from clients.errors import BourseError, EvidenceError, KeystoreError
from clients.evidence import revision_digest
from clients.jobs import CHUNK_ROWS, ChunkRows, Job, Plan, ProviderPlan, draw_chunks, new_job_name
from clients.keystore import Deployment, Keystore
from clients.market import MarketClient, utc_now
from clients.own_cells import check_own_cells
from clients.results import Results
from clients.rows import Rows
from clients.scorecard import PlacedPart, Scorecard, check_part_range, place_part
from clients.scoring import Asked, OpenedRow, Scorer, ScoringError, charged, opened_rows
from clients.terms import covers
from sealed.profiles import SCORE_V1
from wire.signing import Purpose

OnProgress = Callable[[str, str, int, int], None]
"""(dataset, step, done, total)."""


def _silent(_dataset: str, _step: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Fit:
    """How a scorecard's part fits a license: what is sealed, and the verified agreement."""

    agreement: CheckedAgreement
    part: PlacedPart


class BankClient(MarketClient):
    """An analyst of one bank."""

    def __init__(self, connection: Connection, *, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(connection, now=now)
        self.keystore = Keystore(
            self.home.keystore_directory, party=self.member.party_name, data_key=self.member.data_key
        )

    def catalog(self) -> Iterator[dataset_pb2.Dataset]:
        """Yield the listed datasets, by name."""
        return self.datasets(state=dataset_pb2.DATASET_STATE_LISTED)

    def request_license(
        self,
        dataset: str,
        scenario: str,
        terms: agreement_pb2.Terms,
        *,
        revision: int = 0,
        note: str = "",
        request_id: str | None = None,
    ) -> license_pb2.License:
        """Ask for a license for a declared purpose; revision 0 is the newest. Recorded."""
        return self.exchange.call(
            self._licenses.CreateLicense,
            license_service_pb2.CreateLicenseRequest(
                license=license_pb2.License(
                    dataset=dataset, revision=revision, scenario=scenario, terms=terms
                ),
                note=note,
                request_id=request_id or new_request_id(),
            ),
        )

    def counter_license(
        self,
        seen: license_pb2.License,
        terms: agreement_pb2.Terms,
        *,
        note: str = "",
        request_id: str | None = None,
    ) -> license_pb2.License:
        """Answer an offer, as it was read, with other terms. Recorded."""
        return self.exchange.call(
            self._licenses.CounterLicense,
            license_service_pb2.CounterLicenseRequest(
                name=seen.name,
                terms=terms,
                note=note,
                etag=seen.etag,
                request_id=request_id or new_request_id(),
            ),
        )

    def accept_license(
        self, seen: license_pb2.License, *, request_id: str | None = None
    ) -> license_pb2.License:
        """Accept the offer as it was read: refused when it changed since. Remembers its terms. Recorded."""
        self.remember_terms(seen.name, seen.terms)
        return self.exchange.call(
            self._licenses.AcceptLicense,
            license_service_pb2.AcceptLicenseRequest(
                name=seen.name, etag=seen.etag, request_id=request_id or new_request_id()
            ),
        )

    def verify_license(
        self, name: str, *, terms: agreement_pb2.Terms | None = None, request_id: str | None = None
    ) -> license_pb2.License:
        """Sign an agreement that the provider has signed, once it says what this home accepted, or `terms`.

        Compared are license, dataset, revision and its digest, parties, scenario, terms, columns with their
        bins, participants, keys and the exchange; the provider's signature and the description's are
        verified, and the exchange's countersignature in the reply. Raises EvidenceError, with nothing signed,
        for any difference; BourseError when it is not our turn.
        """
        license_ = self.license(name)
        check_turn(license_, "bank")
        seen = terms if terms is not None else self.remembered_terms(name)
        description, payload = self.described(license_.dataset, license_.revision)
        checked = check_agreement(
            license_,
            seen,
            description,
            payload,
            self.home.exchange,
            own_key=self.member.public_key,
            signer="bank",
        )
        if checked.agreement.bank != self.member.party_name:
            raise EvidenceError(f"{name}: is another bank's license.")
        check_signed_by(checked, *SIGNERS[:1])
        self.check_registered_keys(checked.agreement)
        reply = self.exchange.call(
            self._licenses.VerifyLicense,
            license_service_pb2.VerifyLicenseRequest(
                name=name,
                agreement=self.member.signed(Purpose.AGREEMENT, license_.agreement.payload),
                request_id=request_id or new_request_id(),
            ),
        )
        if reply.agreement.payload != license_.agreement.payload:
            raise EvidenceError("The exchange countersigned another agreement than this bank signed.")
        final_agreement(reply.agreement, self.home.exchange, bank=self.member.party_name)
        return reply

    def fit(self, license_name: str, scorecard: Scorecard) -> Fit:
        """Return how the scorecard's part fits a finalized license. Raises ScorecardError, EvidenceError."""
        license_ = self.license(license_name)
        if license_.state != license_pb2.LICENSE_STATE_ACTIVE:
            raise BourseError(
                "LICENSE_STATE",
                f"{license_name} is {license_pb2.LicenseState.Name(license_.state)[14:]}; only an ACTIVE one "
                "can be used.",
                way_out="`bourse bank license show` says whose turn it is.",
            )
        agreement = final_agreement(license_.agreement, self.home.exchange, bank=self.member.party_name)
        terms = agreement.agreement
        if terms.license != license_name or terms.dataset != license_.dataset:
            raise EvidenceError(f"{license_name}: its agreement is another license's.")
        description, payload = self.described(terms.dataset, terms.revision)
        if revision_digest(payload) != terms.revision_digest:
            raise EvidenceError(f"{license_name}: the description is not of the licensed revision.")
        part = place_part(scorecard, terms.dataset, description, terms.revision_digest, terms.columns)
        place = f"providers[{scorecard.place_of(terms.dataset)}]"
        check_part_range(place, part, profile=terms.terms.profile, drop=terms.terms.drop)
        return Fit(agreement, part)

    def fit_published(self, dataset: str, scorecard: Scorecard, *, drop: int) -> PlacedPart:
        """Return the scorecard's part placed on everything that a dataset publishes now, range-checked.

        Before a license is there: raises ScorecardError as `fit` does.
        """
        description, payload = self.described(dataset)
        columns = [
            agreement_pb2.AgreementColumn(name=column.name, bins=len(column.bins))
            for column in description.columns
        ]
        part = place_part(scorecard, dataset, description, revision_digest(payload), columns)
        check_part_range(f"providers[{scorecard.place_of(dataset)}]", part, profile=SCORE_V1.name, drop=drop)
        return part

    def deploy(
        self,
        license_name: str,
        scorecard: Scorecard,
        *,
        on_progress: OnProgress = _silent,
        meter: Meter | None = None,
    ) -> Deployment:
        """Seal the scorecard's part for the license's dataset and have its node accept it. Recorded.

        Deploying the same part again returns the deployment there is; after an interruption it goes on.
        """
        fit = self.fit(license_name, scorecard)
        dataset = fit.agreement.agreement.dataset
        deployer = Deployer(
            self.member,
            self.keystore,
            self._node_of(fit.agreement),
            self.now,
            meter or Meter(),
            lambda step, done, total: on_progress(dataset, step, done, total),
        )
        return deployer.deploy(Order(fit.agreement, fit.part, scorecard.part_of(dataset).canonical_bytes()))

    def deployments_for(self, scorecard: Scorecard, licenses: Sequence[str] = ()) -> list[Deployment]:
        """Return an accepted deployment of every provider part, under one of `licenses` if any are given.

        Of several it is the newest whose license is in force, and the newest when none is. Raises BourseError
        when a part is not deployed.
        """
        known = [one for one in self.keystore.deployments() if one.accepted is not None]
        chosen = []
        for part in scorecard.providers:
            model = part.canonical_bytes()
            found = [
                one
                for one in known
                if one.dataset == part.dataset
                and one.model == model
                and (not licenses or one.license in licenses)
            ]
            if not found:
                raise BourseError(
                    "NOT_DEPLOYED",
                    f"The scorecard's part for {part.dataset} is not deployed"
                    f"{' under the licenses given' if licenses else ''}.",
                    way_out="Deploy it with `bourse bank deploy --license NAME --scorecard FILE`.",
                )
            chosen.append(self._usable(found))
        return chosen

    def _usable(self, deployments: Sequence[Deployment]) -> Deployment:
        if len(deployments) > 1:
            for one in reversed(deployments):
                license_ = self.license(one.license)
                if license_.state == license_pb2.LICENSE_STATE_ACTIVE and covers(license_.terms, self.now()):
                    return one
        return deployments[-1]

    def score(
        self,
        scorecard: Scorecard,
        rows: Rows,
        *,
        consent_reference: str,
        licenses: Sequence[str] = (),
        on_job: Callable[[str], None] = lambda _name: None,
        on_remark: Callable[[str], None] = lambda _remark: None,
        on_progress: OnProgress = _silent,
        meter: Meter | None = None,
    ) -> Results:
        """Score `rows` jointly with every provider that the scorecard names, by its deployed parts.

        Charges every provider's license for every row. Without `licenses`, `deployments_for` says which are
        used. `on_job` is told the job's name before anything is sent, `on_remark` of own cells that count as
        missing. Raises InputError when those are most of a column's; RefusedError with nothing charged when a
        clause refuses; ScoringError, which names the job to resume, when it stops later.
        """
        for remark in check_own_cells(scorecard, rows):
            on_remark(remark)
        deployments = self.deployments_for(scorecard, licenses)
        own_part = scorecard.own_part()
        plan = Plan(
            scorecard.name,
            consent_reference,
            len(rows),
            tuple(
                ProviderPlan(one.name, one.dataset, draw_chunks(len(rows), new_request_id))
                for one in deployments
            ),
            self.now(),
        )
        own = tuple(map(own_part, rows))
        chunks = [
            ChunkRows(rows.ids[start : start + CHUNK_ROWS], own[start : start + CHUNK_ROWS])
            for start in range(0, len(rows), CHUNK_ROWS)
        ]
        job = self.job(new_job_name(self.now()))
        job.start(plan, chunks)
        on_job(job.name)
        try:
            return self._run(job, on_progress, meter or Meter())
        except RefusedError as error:
            if error.passing:
                raise ScoringError(error, job.name) from None
            shutil.rmtree(job.directory, ignore_errors=True)
            error.way_out = f"{error.way_out} Nothing was charged, and the job is forgotten.".strip()
            raise

    def resume(
        self, job_name: str, *, on_progress: OnProgress = _silent, meter: Meter | None = None
    ) -> Results:
        """Go on with a job that stopped, or return the results of one that ended. Charges nothing twice."""
        return self._run(self.job(job_name), on_progress, meter or Meter())

    def opened(self, job_name: str) -> Results:
        """Return the rows of a job that are open at every provider by now, in the bank's order; asks nobody.

        For a job that cannot go on: what was charged is not lost. Raises BourseError when there are none.
        """
        job = self.job(job_name)
        plan = job.plan()
        rows = list(opened_rows(job, plan))
        if not rows:
            raise BourseError("NOTHING_OPENED", f"No row of job {job_name} is open at every provider.")
        return self._results(job, plan, rows)

    def job(self, name: str) -> Job:
        """Return a job by name; it need not have started."""
        if not name.replace("-", "").isalnum() or not name.isascii():
            raise KeystoreError("A job's name looks like 20260131-130500-4f2a1b3c.")
        return Job(
            self.home.jobs_directory / name, party=self.member.party_name, data_key=self.member.data_key
        )

    def jobs(self) -> list[Job]:
        """Return all jobs that have started, the oldest first."""
        directory = self.home.jobs_directory
        if not directory.is_dir():
            return []
        found = [self.job(path.name) for path in sorted(directory.iterdir()) if path.is_dir()]
        return [job for job in found if job.started()]

    def usage(self, license_name: str) -> evaluation_service_pb2.LicenseUsage:
        """Return what the provider's node has charged to a license: what its caps are checked against."""
        license_ = self.license(license_name)
        party = license_.provider.removeprefix("parties/")
        node = self.connection.node(party, self.party(license_.provider).node_address)
        return self.usage_at(node, license_)

    def _run(self, job: Job, on_progress: OnProgress, meter: Meter) -> Results:
        plan = job.plan()
        with job.locked():
            asked = [self._asked(place, one) for place, one in enumerate(plan.providers)]
            Scorer(self.member, job, plan, asked, meter, on_progress).run()
        rows = list(opened_rows(job, plan))
        if len(rows) != plan.rows:
            raise EvidenceError("The job is not finished.", way_out=f"Resume {job.name}.")
        return self._results(job, plan, rows)

    def _results(self, job: Job, plan: Plan, rows: Sequence[OpenedRow]) -> Results:
        datasets = [one.dataset for one in plan.providers]
        return Results(
            job.name,
            tuple(row.identifier for row in rows),
            tuple(row.own for row in rows),
            {dataset: tuple(row.parts[place] for row in rows) for place, dataset in enumerate(datasets)},
            {dataset: charged(job, plan, place) for place, dataset in enumerate(datasets)},
            {one.dataset: self.keystore.deployment(one.deployment).license for one in plan.providers},
        )

    def _asked(self, place: int, plan: ProviderPlan) -> Asked:
        deployment = self.keystore.deployment(plan.deployment)
        if deployment.opened is None or deployment.accepted is None:
            raise KeystoreError(f"{plan.dataset}: its deployment was not accepted.")
        signed = signature_pb2.SignedPayload.FromString(deployment.agreement)
        agreement = CheckedAgreement(signed, read_agreement(signed))
        return Asked(
            place,
            plan.dataset,
            self._node_of(agreement),
            agreement,
            deployment,
            deployment.opened,
            deployment.accepted,
        )

    def _node_of(self, agreement: CheckedAgreement) -> Peer:
        return self.connection.node(
            agreement.provider_party, self.party(agreement.agreement.provider).node_address
        )
