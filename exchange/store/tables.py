"""The tables. Times are microseconds since 1970 in UTC; ids are the last segments of resource names.

What was signed, recorded or numbered is only ever added: triggers of the migrations forbid changing or
deleting it (`APPEND_ONLY`).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData()

RowNumber = BigInteger().with_variant(Integer, "sqlite")
Time = BigInteger

APPEND_ONLY: Final = (
    "record",
    "record_party",
    "log_entry",
    "dataset_revision",
    "license_step",
    "deployed_model",
    "charged_block",
)

record = Table(
    "record",
    metadata,
    Column("number", RowNumber, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False, unique=True),
    Column("leaf", LargeBinary, nullable=False, unique=True),
    Column("entry", LargeBinary, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("receipt_key_id", LargeBinary, nullable=False),
    Column("receipt_signature", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("time", Time, nullable=False, index=True),
    Column("dataset", Text, index=True),
    Column("license", Text, index=True),
    sqlite_autoincrement=True,
)
record_party = Table(
    "record_party",
    metadata,
    Column("party", Text, nullable=False),
    Column("record", RowNumber, ForeignKey("record.number"), nullable=False),
    PrimaryKeyConstraint("party", "record"),
)
record_pending = Table(
    "record_pending",
    metadata,
    Column("record", RowNumber, ForeignKey("record.number"), primary_key=True, autoincrement=False),
)
log_entry = Table(
    "log_entry",
    metadata,
    Column("log_index", RowNumber, primary_key=True, autoincrement=False),
    Column("record", RowNumber, ForeignKey("record.number"), nullable=False, unique=True),
)
party = Table(
    "party",
    metadata,
    Column("party", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("node_address", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("record", RowNumber, ForeignKey("record.number")),
)
party_member = Table(
    "party_member",
    metadata,
    Column("party", Text, ForeignKey("party.party"), nullable=False),
    Column("member", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("roles", Text, nullable=False),
    PrimaryKeyConstraint("party", "member"),
)
signing_key = Table(
    "signing_key",
    metadata,
    Column("public_key", LargeBinary, primary_key=True),
    Column("party", Text, ForeignKey("party.party"), nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("possession", LargeBinary, nullable=False),
    Column("register_time", Time, nullable=False),
    Column("retire_time", Time),
)
Index(
    "signing_key_in_use",
    signing_key.c.party,
    signing_key.c.purpose,
    unique=True,
    sqlite_where=signing_key.c.retire_time.is_(None),
    postgresql_where=signing_key.c.retire_time.is_(None),
)
exchange = Table(
    "exchange",
    metadata,
    Column("number", Integer, CheckConstraint("number = 1"), primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("operator", Text, ForeignKey("party.party"), nullable=False),
)
dataset = Table(
    "dataset",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("provider", Text, ForeignKey("party.party"), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("subject_kind", Text),
    Column("identifier_scheme", Text, nullable=False),
    Column("classification_grade", Integer, nullable=False),
    Column("scenarios", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("legality_undertaking", Boolean, nullable=False),
    Column("assessment_sha256", LargeBinary, nullable=False),
    Column("assessor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("latest", Integer, nullable=False),
    Column("reviewed", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("record", RowNumber, ForeignKey("record.number")),
)
dataset_revision = Table(
    "dataset_revision",
    metadata,
    Column("dataset", Text, ForeignKey("dataset.dataset"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("description", LargeBinary, nullable=False),
    Column("key_id", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("columns", Text, nullable=False),
    Column("create_time", Time, nullable=False),
    PrimaryKeyConstraint("dataset", "number"),
)
license_ = Table(
    "license",
    metadata,
    Column("license", Text, primary_key=True),
    Column("dataset", Text, ForeignKey("dataset.dataset"), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("revision_digest", LargeBinary, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("provider", Text, ForeignKey("party.party"), nullable=False, index=True),
    Column("bank", Text, ForeignKey("party.party"), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("agreement", LargeBinary),
    Column("agreement_signatures", LargeBinary, nullable=False),
    Column("steward_key", LargeBinary),
    Column("node_key", LargeBinary),
    Column("bank_key", LargeBinary),
    Column("state_reason", Text, nullable=False),
    Column("used_models", Integer, nullable=False),
    Column("used_rows", BigInteger, nullable=False),
    Column("used_bits", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("record", RowNumber, ForeignKey("record.number")),
)
Index("license_newest", license_.c.create_time, license_.c.license)
license_step = Table(
    "license_step",
    metadata,
    Column("license", Text, ForeignKey("license.license"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Time, nullable=False),
    Column("terms", Text),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("license", "position"),
)
deployed_model = Table(
    "deployed_model",
    metadata,
    Column("provider", Text, nullable=False),
    Column("sealing", Text, nullable=False),
    Column("license", Text, ForeignKey("license.license"), nullable=False, index=True),
    Column("c0_digest", LargeBinary, nullable=False),
    PrimaryKeyConstraint("provider", "sealing"),
)
charged_block = Table(
    "charged_block",
    metadata,
    Column("provider", Text, nullable=False),
    Column("block", Text, nullable=False),
    Column("license", Text, ForeignKey("license.license"), nullable=False, index=True),
    Column("sealing", Text, nullable=False),
    Column("block_digest", LargeBinary, nullable=False),
    Column("place", LargeBinary, nullable=False),
    Column("rows_gathered", Integer, nullable=False),
    PrimaryKeyConstraint("provider", "block"),
)
idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("reply", LargeBinary, nullable=False),
    Column("time", Time, nullable=False),
    PrimaryKeyConstraint("caller", "request_id"),
)
