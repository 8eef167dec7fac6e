"""The cryptography that bank and node share: rings, sampling, sealing, blocks, opening. No I/O, no clock.

`sealing` is the bank's side up to what travels, `block` the node's evaluation and the bank's opening,
`packing` the bytes between them. Formats: docs/spec/sealing.md, docs/spec/block.md, docs/spec/release.md.
"""
