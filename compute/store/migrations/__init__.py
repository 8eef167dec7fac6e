"""The schema of a node's database, step by step; `compute.store.schema` is where the steps lead."""
