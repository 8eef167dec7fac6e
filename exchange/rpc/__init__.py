"""The exchange on the network. Messages end here: what goes further in are values of the domain."""
