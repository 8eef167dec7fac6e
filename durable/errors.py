"""What can go wrong with a database, as its user has to act on it. No message quotes a statement, a value or
a password.
"""


class DurableError(Exception):
    """Any failure of the database itself, as against a refusal by the program's own rules."""


class DatabaseUnavailableError(DurableError):
    """The database is out of reach, full, read-only or too busy. Nothing was changed; try again later."""


class CommitUnknownError(DatabaseUnavailableError):
    """The connection broke while the transaction was being committed: all of it is kept, or nothing.

    Whoever repeats the change must carry the same request id, so that it happens once.
    """


class DatabaseDamagedError(DurableError):
    """The database's own structure is damaged; restore it before anything is written."""


class DatabaseConfigurationError(DurableError):
    """The database's address or settings cannot keep what this program promises; the message says which."""


class SchemaOutdatedError(DurableError):
    """The database lacks migrations that this version needs; run the program's `migrate` command."""


class SchemaUnknownError(DurableError):
    """The database was written by a newer version, or by another program."""
