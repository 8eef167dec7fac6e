"""What a node must not lose, in SQLite or PostgreSQL: rows in and out, and no decisions.

Functions take the connection of a running transaction; `durable` runs them. Secrets arrive here encrypted.
"""
