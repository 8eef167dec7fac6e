"""The engine: sealed models multiplied into gathered rows, in worker processes.

`boundary` is all the node needs to know; `workers` implements it, `seal` alone knows SEAL.
"""
