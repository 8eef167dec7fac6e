"""Everything the exchange keeps. Functions here run inside a transaction of `durable` and decide nothing."""

from sqlalchemy import Connection

Transaction = Connection
"""What every function of the store takes: a transaction that its caller opened."""

MIGRATIONS = "exchange.store.migrations"
"""The package of the schema's migrations."""
