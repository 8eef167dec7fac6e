"""Revisions of the schema, in order. Each is complete in itself: it never imports the tables of today."""
