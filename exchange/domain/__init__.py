"""The market's rules. Nothing here reads a clock, a database, a socket or a message of the wire."""
