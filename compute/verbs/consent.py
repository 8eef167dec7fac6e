"""Withdrawn consent: from then on a person counts as absent, and nobody can tell who ever was present."""

from collections.abc import Callable

from compute.domain.errors import ConsentDatasetNotFoundError
from compute.domain.evaluation import entity_key
from compute.store import idempotency, revisions, withdrawals
from compute.store.database import Connection
from compute.store.idempotency import RequestKey
from compute.verbs.node import Node


async def withdraw(
    node: Node, dataset: str, entity_id: bytes, key: RequestKey, reply: Callable[[int], bytes]
) -> bytes:
    """Withdraw a person from a dataset; return the reply to it, the first one when repeated.

    Withdrawing twice changes nothing. Raises ConsentDatasetNotFoundError, RequestIdReusedError.
    """
    person = entity_key(node.entity_secret, dataset, entity_id)
    now = node.now()

    def change(connection: Connection) -> bytes:
        first = idempotency.first_reply(connection, key)
        if first is not None:
            return first
        if not revisions.knows_dataset(connection, dataset):
            raise ConsentDatasetNotFoundError("dataset: this node has published no such dataset")
        count = withdrawals.add(connection, dataset, person, now)
        return idempotency.keep_reply(connection, key, reply(count), now)

    return await node.database.write(change)
