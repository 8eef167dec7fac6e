"""The node's one lasting secret: what identifiers are digested under. Stored as an envelope."""

from sqlalchemy import Connection, insert, select

from compute.store.schema import entity_secret


def find(connection: Connection) -> bytes | None:
    """Return the envelope of the entity-key secret, or None before the first start."""
    row = connection.execute(select(entity_secret.c.envelope)).one_or_none()
    return None if row is None else bytes(row.envelope)


def keep_first(connection: Connection, envelope: bytes) -> bytes:
    """Store the envelope unless there is one, and return the one stored."""
    found = find(connection)
    if found is not None:
        return found
    connection.execute(insert(entity_secret).values(id=1, envelope=envelope))
    return envelope
