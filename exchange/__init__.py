"""The exchange: parties, listings, licenses and the trade ledger.

It sees no record of a person, no ciphertext, no key of others and no model. `rpc` speaks to the network,
`verbs` are what parties can do, `domain` holds the market's rules and knows nothing of the others, `formats`
writes and reads the bytes that are signed, `store` keeps everything.
"""
