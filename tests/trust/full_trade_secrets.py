"""What must not have been written or told in a full trade, read from where its owners keep it.

Keystore and vault are opened with their owners' passphrases, so that what is searched for is what was used:
the salts, keys and seeds of this very trade, and everything that follows from them.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pysqlite3.dbapi2
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from compute.domain.evaluation import entity_key
from compute.store.database import AsyncDatabase, open_node_database
from compute.vault import Secret, Vault
from compute.verbs.node import unlock
from sealed.block import centered, mask_of, phase
from sealed.packing import unpack
from sealed.profiles import SCORE_V1
from sealed.sealing import derive_secret, model_digest
from tests.trust.full_trade import (
    CONSENT,
    MODEL_NAME,
    OWN_COLUMN,
    OWN_POINTS,
    PERSONS,
    PROVIDERS,
    FullTrade,
    dataset_of,
    own_cells,
    records_of,
)
from tests.trust.secrets_search import Planted, secret_bytes, secret_numbers, secret_text
from wire.credentials import load_credentials, parse_passphrase

DROP = 9
WINDOW = 6
"""So many numbers in a row are told from chance."""


@dataclass
class Secrets:
    """`told_to_nobody` may be nowhere, not at its owners' either; `in_node` lies open in one database alone.

    `bank_reads` is what the bank's own commands may show at its terminal, and nobody else may know.
    """

    told_to_nobody: list[Planted] = field(default_factory=list)
    bank_reads: list[Planted] = field(default_factory=list)
    in_node: dict[str, list[Planted]] = field(default_factory=dict)
    scores_of_blocks: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    """What the seeds and keys found here open: proof that they are the trade's own."""


def secrets_of(trade: FullTrade) -> Secrets:
    """Everything that was secret in this trade."""
    secrets = Secrets()
    secrets.told_to_nobody += [*_persons(), *_of_bank(trade), *_keys(trade.root)]
    secrets.bank_reads += [secret_text("the model's name", MODEL_NAME), secret_text("a feature", OWN_COLUMN)]
    for provider in PROVIDERS:
        asyncio.run(_of_node(trade, provider, secrets))
    return secrets


def _persons() -> Iterator[Planted]:
    for person in PERSONS:
        yield secret_text("an identifier", person)
    for cell in own_cells().values():
        yield secret_text("a cell of the bank's", cell)
    for provider in PROVIDERS:
        for row in records_of(provider).values():
            yield from (secret_text("a cell of a record", cell) for cell in row.values() if cell != "skilled")
    yield secret_text("the consent reference", CONSENT)


def _of_bank(trade: FullTrade) -> Iterator[Planted]:
    yield secret_numbers("the own points", OWN_POINTS)
    for place in (0, 20):
        yield secret_numbers("joint scores", trade.results.scores[place : place + WINDOW])
        yield secret_numbers("own parts", trade.results.own[place : place + WINDOW])
        for parts in trade.results.parts.values():
            yield secret_numbers("a provider's parts", parts[place : place + WINDOW])
    for one in trade.deployments.values():
        yield secret_bytes("a model", one.model)
        yield secret_bytes("a model's digest", model_digest(one.model))
        yield secret_bytes("a model's SHA-256", hashlib.sha256(one.model).digest())
        yield secret_bytes("a sealing's salt", one.salt)
        yield secret_numbers("weights", one.weights)
        secret = _secret_key(one).coefficients
        yield secret_bytes("an HE secret key", secret.tobytes()[:64])
        yield secret_numbers("an HE secret key", secret[:32].tolist())


def _secret_key(one):
    return derive_secret(SCORE_V1, one.weights, model_digest(one.model), one.salt, one.opened.context)


def _keys(root: Path) -> Iterator[Planted]:
    for certificate in sorted(root.rglob("tls.crt")):
        directory = certificate.parent
        passphrase = parse_passphrase((directory / "passphrase").read_bytes())
        held = load_credentials(
            lambda name, directory=directory: (directory / name).read_bytes(),
            passphrase,
            now=datetime.now(UTC),
        )
        tls = load_pem_private_key(held.key_pem, password=None)
        yield secret_bytes("a passphrase", passphrase)
        yield secret_bytes("a signing key", held.signing_key.private_bytes_raw())
        yield secret_bytes("a TLS key", tls.private_numbers().private_value.to_bytes(32, "big"))


async def _of_node(trade: FullTrade, provider: str, secrets: Secrets) -> None:
    folder = trade.root / "nodes" / provider
    passphrase = parse_passphrase((folder / "identity" / "passphrase").read_bytes())
    database = AsyncDatabase(open_node_database(f"sqlite:///{folder / 'node.db'}"))
    try:
        vault, entity_secret = await unlock(database, passphrase, bytes)
    finally:
        database.close()
    secrets.told_to_nobody.append(secret_bytes("the node's entity secret", entity_secret))
    dataset = dataset_of(provider)
    in_node = [
        secret_bytes("an entity key", entity_key(entity_secret, dataset, person.encode()))
        for person in PERSONS
    ]
    connection = pysqlite3.dbapi2.connect(folder / "node.db")
    connection.row_factory = pysqlite3.dbapi2.Row
    try:
        secrets.told_to_nobody += _salts(connection, vault)
        in_node += _open_values(connection, dataset)
        for row in connection.execute(
            "SELECT * FROM block JOIN evaluation ON evaluation.name = block.evaluation"
            " JOIN sealing ON sealing.name = evaluation.sealing"
        ):
            secrets.told_to_nobody += _of_block(row, vault, trade.deployments[dataset], secrets, provider)
    finally:
        connection.close()
    secrets.in_node[provider] = in_node


def _salts(connection, vault: Vault) -> Iterator[Planted]:
    for row in connection.execute("SELECT name, consent_salt FROM evaluation"):
        salt = vault.open(Secret.CONSENT_SALT, row["name"], row["consent_salt"])
        yield secret_bytes("the salt of a consent reference", salt)
    for row in connection.execute("SELECT dataset, number, bins_salt FROM revision"):
        salt = vault.open(Secret.BINS_SALT, f"{row['dataset']}/revisions/{row['number']}", row["bins_salt"])
        yield secret_bytes("the salt of a revision's bins", salt)


def _open_values(connection, dataset: str) -> Iterator[Planted]:
    for row in connection.execute("SELECT data FROM revision_column WHERE dataset = ?", (dataset,)):
        yield secret_bytes("bins of all records", bytes(row["data"]))
    for row in connection.execute("SELECT data FROM sealed_column"):
        yield secret_bytes("a sealed column's first residues", bytes(row["data"])[:32])
    for row in connection.execute("SELECT data FROM block"):
        yield secret_bytes("a block's first residues", bytes(row["data"])[:32])


def _of_block(row, vault: Vault, deployment, secrets: Secrets, provider: str) -> Iterator[Planted]:
    name = f"{row['evaluation']}/blocks/{row['number']}"
    seed = vault.open(Secret.BLOCK_SEED, name, row["seed"])
    yield secret_bytes("a block's seed", seed)
    yield secret_bytes("the salt of a row list", vault.open(Secret.GATHERED_SALT, name, row["gathered_salt"]))
    rows = len(PERSONS)
    mask = mask_of(SCORE_V1, seed, row["context"], row["c0_digest"], row["place"], rows)
    for start in range(0, rows - WINDOW, WINDOW):
        yield secret_numbers("a mask", mask[start : start + WINDOW].tolist())
        yield secret_numbers("released bits", (mask >> DROP)[start : start + WINDOW].tolist())
    values = phase(SCORE_V1, unpack(SCORE_V1, row["data"]), _secret_key(deployment), np.arange(rows))
    scores = (centered(SCORE_V1, values - mask) + (1 << DROP - 1)) >> DROP
    secrets.scores_of_blocks.setdefault(provider, []).append(tuple(scores.tolist()))
