"""The first schema: publications, revisions, licenses, sealings, evaluations, releases."""

from typing import Final

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
)

revision: Final = "0001"
down_revision: Final = None

_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "entity_secret",
        Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
        Column("envelope", LargeBinary, nullable=False),
    )
    op.create_table(
        "idempotency",
        Column("caller", Text, primary_key=True),
        Column("request_id", Text, primary_key=True),
        Column("request_sha256", LargeBinary, nullable=False),
        Column("reply", LargeBinary, nullable=False),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_table(
        "publication",
        Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
        Column("name", Text, nullable=False, unique=True),
        Column("dataset", Text, nullable=False),
        Column("file", Text, nullable=False),
        Column("specification", LargeBinary, nullable=False),
        Column("change_note", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("revision", Integer),
        Column("rows", BigInteger, nullable=False),
        Column("bytes_total", BigInteger, nullable=False),
        Column("remarks", Text, nullable=False),
        Column("error_reason", Text, nullable=False),
        Column("error_message", Text, nullable=False),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_table(
        "revision",
        Column("dataset", Text, primary_key=True),
        Column("number", Integer, CheckConstraint("number > 0"), primary_key=True),
        Column("digest", LargeBinary, nullable=False),
        Column("description", LargeBinary, nullable=False),
        Column("signature", LargeBinary, nullable=False),
        Column("bins_salt", LargeBinary, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_table(
        "revision_column",
        Column("dataset", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("name", Text, primary_key=True),
        Column("place", Integer, nullable=False),
        Column("bins", Integer, CheckConstraint("bins BETWEEN 1 AND 255"), nullable=False),
        Column("data", LargeBinary, nullable=False),
        ForeignKeyConstraint(["dataset", "number"], ["revision.dataset", "revision.number"]),
    )
    op.create_table(
        "entity",
        Column("dataset", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("entity_key", LargeBinary, primary_key=True),
        Column("row", BigInteger, nullable=False),
        ForeignKeyConstraint(["dataset", "number"], ["revision.dataset", "revision.number"]),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "withdrawal",
        Column("dataset", Text, primary_key=True),
        Column("entity_key", LargeBinary, primary_key=True),
        Column("sequence", Integer, CheckConstraint("sequence > 0"), nullable=False),
        Column("create_time", BigInteger, nullable=False),
        UniqueConstraint("dataset", "sequence"),
    )
    op.create_table(
        "license",
        Column("name", Text, primary_key=True),
        Column("agreement", LargeBinary, nullable=False),
        Column("signatures", LargeBinary, nullable=False),
        Column("bank", Text, nullable=False),
        Column("models", Integer, CheckConstraint("models >= 0"), nullable=False),
        Column("rows", BigInteger, CheckConstraint("rows >= 0"), nullable=False),
        Column("bits", BigInteger, CheckConstraint("bits >= 0"), nullable=False),
        Column("waiting", BigInteger, CheckConstraint("waiting >= 0"), nullable=False),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_table(
        "opening",
        Column("license", Text, ForeignKey("license.name"), primary_key=True),
        Column("entity_key", LargeBinary, primary_key=True),
        Column("charged", Integer, CheckConstraint("charged >= 0"), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sealing",
        Column("name", Text, primary_key=True),
        Column("license", Text, ForeignKey("license.name"), nullable=False),
        Column("kind", Text, nullable=False),
        Column("owner_nonce", LargeBinary, nullable=False),
        Column("sealing_nonce", LargeBinary, nullable=False),
        Column("context", LargeBinary, nullable=False, unique=True),
        Column("columns", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("blocks", Integer, nullable=False),
        Column("c0_digest", LargeBinary),
        Column("statement", LargeBinary),
        Column("statement_signatures", LargeBinary),
        Column("model_statement", LargeBinary),
        Column("model_statement_signatures", LargeBinary),
        Column("request_id", Text),
        Column("entry", LargeBinary),
        Column("receipt", LargeBinary),
        Column("receipt_signatures", LargeBinary),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_table(
        "sealed_column",
        Column("sealing", Text, ForeignKey("sealing.name"), primary_key=True),
        Column("place", Integer, primary_key=True),
        Column("data", LargeBinary, nullable=False),
    )
    op.create_table(
        "evaluation",
        Column("name", Text, primary_key=True),
        Column("sealing", Text, ForeignKey("sealing.name"), nullable=False),
        Column("license", Text, ForeignKey("license.name"), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("blocks", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("error", Text, nullable=False),
        Column("consent_salt", LargeBinary, nullable=False),
        Column("consent_digest", LargeBinary, nullable=False),
        Column("create_time", BigInteger, nullable=False),
    )
    op.create_index("evaluation_running", "evaluation", ["state", "create_time"])
    op.create_table(
        "block",
        Column("evaluation", Text, ForeignKey("evaluation.name"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("rows", Integer, nullable=False),
        Column("entity_keys", LargeBinary, nullable=False),
        Column("gathered", LargeBinary),
        Column("gathered_salt", LargeBinary),
        Column("withdrawals", Integer),
        Column("place", LargeBinary),
        Column("seed", LargeBinary),
        Column("data", LargeBinary),
        Column("sha256", LargeBinary),
        Column("charged_by", Text),
    )
    op.create_table(
        "release",
        Column("name", Text, primary_key=True),
        Column("evaluation", Text, nullable=False),
        Column("number", Integer, nullable=False),
        Column("license", Text, ForeignKey("license.name"), nullable=False),
        Column("request_sha256", LargeBinary, nullable=False),
        Column("request", LargeBinary, nullable=False),
        Column("request_signatures", LargeBinary, nullable=False),
        Column("rows", LargeBinary, nullable=False),
        Column("rows_charged", Integer, CheckConstraint("rows_charged >= 0"), nullable=False),
        Column("bits_charged", BigInteger, CheckConstraint("bits_charged >= 0"), nullable=False),
        Column("statement", LargeBinary, nullable=False),
        Column("statement_signatures", LargeBinary, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("entry", LargeBinary),
        Column("receipt", LargeBinary),
        Column("receipt_signatures", LargeBinary),
        Column("create_time", BigInteger, nullable=False),
        ForeignKeyConstraint(["evaluation", "number"], ["block.evaluation", "block.number"]),
        UniqueConstraint("evaluation", "number", "request_sha256"),
    )
    op.create_index("release_state", "release", ["state"])


def downgrade() -> None:
    """Drop every table, with all that is in it."""
    for table in (
        "release",
        "block",
        "evaluation",
        "sealed_column",
        "sealing",
        "opening",
        "license",
        "withdrawal",
        "entity",
        "revision_column",
        "revision",
        "publication",
        "idempotency",
        "entity_secret",
    ):
        op.drop_table(table)
