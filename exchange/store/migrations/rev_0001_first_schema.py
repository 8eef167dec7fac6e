"""The first schema: parties, datasets, licenses, and the trade ledger that is only ever added to."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.BigInteger()

# Children first.
TABLES = (
    "license_step",
    "deployed_model",
    "charged_block",
    "license",
    "dataset_revision",
    "signing_key",
    "party_member",
    "exchange",
    "dataset",
    "record_pending",
    "record_party",
    "party",
    "log_entry",
    "record",
    "idempotency",
)
APPEND_ONLY = (
    "record",
    "record_party",
    "log_entry",
    "dataset_revision",
    "license_step",
    "deployed_model",
    "charged_block",
)


def upgrade() -> None:
    """Make the tables, then forbid changing what is only added."""
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id"),
    )
    op.create_table(
        "record",
        sa.Column("number", ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_key_id", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_signature", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("dataset", sa.Text()),
        sa.Column("license", sa.Text()),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("leaf"),
        sa.UniqueConstraint("source"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_record_dataset", "record", ["dataset"])
    op.create_index("ix_record_license", "record", ["license"])
    op.create_index("ix_record_time", "record", ["time"])
    op.create_table(
        "log_entry",
        sa.Column("log_index", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("record", ROW_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("log_index"),
        sa.UniqueConstraint("record"),
    )
    op.create_table(
        "party",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("node_address", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.Column("record", ROW_NUMBER),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("party"),
    )
    op.create_table(
        "record_party",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("record", ROW_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("party", "record"),
    )
    op.create_table(
        "record_pending",
        sa.Column("record", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("record"),
    )
    op.create_table(
        "dataset",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text()),
        sa.Column("identifier_scheme", sa.Text(), nullable=False),
        sa.Column("classification_grade", sa.Integer(), nullable=False),
        sa.Column("scenarios", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("legality_undertaking", sa.Boolean(), nullable=False),
        sa.Column("assessment_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("assessor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("reviewed", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.Column("record", ROW_NUMBER),
        sa.ForeignKeyConstraint(["provider"], ["party.party"]),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("dataset"),
    )
    op.create_index("ix_dataset_provider", "dataset", ["provider"])
    op.create_table(
        "exchange",
        sa.Column(
            "number", sa.Integer(), sa.CheckConstraint("number = 1"), autoincrement=False, nullable=False
        ),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["operator"], ["party.party"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "party_member",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["party"], ["party.party"]),
        sa.PrimaryKeyConstraint("party", "member"),
    )
    op.create_table(
        "signing_key",
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("possession", sa.LargeBinary(), nullable=False),
        sa.Column("register_time", TIME, nullable=False),
        sa.Column("retire_time", TIME),
        sa.ForeignKeyConstraint(["party"], ["party.party"]),
        sa.PrimaryKeyConstraint("public_key"),
    )
    op.create_index("ix_signing_key_party", "signing_key", ["party"])
    op.create_index(
        "signing_key_in_use",
        "signing_key",
        ["party", "purpose"],
        unique=True,
        sqlite_where=sa.text("retire_time IS NULL"),
        postgresql_where=sa.text("retire_time IS NULL"),
    )
    op.create_table(
        "dataset_revision",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("description", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.dataset"]),
        sa.PrimaryKeyConstraint("dataset", "number"),
    )
    op.create_table(
        "license",
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("revision_digest", sa.LargeBinary(), nullable=False),
        sa.Column("scenario", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("agreement", sa.LargeBinary()),
        sa.Column("agreement_signatures", sa.LargeBinary(), nullable=False),
        sa.Column("steward_key", sa.LargeBinary()),
        sa.Column("node_key", sa.LargeBinary()),
        sa.Column("bank_key", sa.LargeBinary()),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("used_models", sa.Integer(), nullable=False),
        sa.Column("used_rows", sa.BigInteger(), nullable=False),
        sa.Column("used_bits", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.Column("record", ROW_NUMBER),
        sa.ForeignKeyConstraint(["bank"], ["party.party"]),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.dataset"]),
        sa.ForeignKeyConstraint(["provider"], ["party.party"]),
        sa.ForeignKeyConstraint(["record"], ["record.number"]),
        sa.PrimaryKeyConstraint("license"),
    )
    op.create_index("ix_license_bank", "license", ["bank"])
    op.create_index("ix_license_dataset", "license", ["dataset"])
    op.create_index("ix_license_provider", "license", ["provider"])
    op.create_index("license_newest", "license", ["create_time", "license"])
    op.create_table(
        "charged_block",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("block", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("sealing", sa.Text(), nullable=False),
        sa.Column("block_digest", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.LargeBinary(), nullable=False),
        sa.Column("rows_gathered", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["license"], ["license.license"]),
        sa.PrimaryKeyConstraint("provider", "block"),
    )
    op.create_index("ix_charged_block_license", "charged_block", ["license"])
    op.create_table(
        "deployed_model",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("sealing", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("c0_digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["license"], ["license.license"]),
        sa.PrimaryKeyConstraint("provider", "sealing"),
    )
    op.create_index("ix_deployed_model_license", "deployed_model", ["license"])
    op.create_table(
        "license_step",
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("terms", sa.Text()),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["license"], ["license.license"]),
        sa.PrimaryKeyConstraint("license", "position"),
    )

    if op.get_bind().dialect.name == "postgresql":
        _forbid_changes_on_postgresql()
    else:
        _forbid_changes_on_sqlite()


def downgrade() -> None:
    """Drop everything. Refused while there is a trade record: a ledger is put away whole, never emptied."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM record LIMIT 1")).first() is not None:
        raise RuntimeError("the ledger holds records; keep this database and make a new one instead")
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _forbid_changes_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is only ever added to'); END"
            )


def _forbid_changes_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
