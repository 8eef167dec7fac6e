from functools import cache

from compute.engine.seal import SealEngine
from sealed import ring
from sealed.block import blind_polynomial, block_key, mask_polynomial
from sealed.packing import block_digest, pack, parse_column
from sealed.profiles import Profile
from sealed.sealing import public_a


@cache
def engine_of(profile: Profile) -> SealEngine:
    return SealEngine(profile)


def test_the_seal_engine_gives_the_known_block(answer, model):
    profile, engine = answer.profile, engine_of(answer.profile)
    prepared = engine.prepare_sealed(
        (parse_column(profile, packed), public_a(profile, answer.ctx, j))
        for j, packed in enumerate(model.packed())
    )
    key = block_key(
        answer.octets("block_seed"), answer.ctx, answer.octets("c0_digest"), answer.octets("place")
    )
    blinds = [blind_polynomial(profile, key, i) for i in range(profile.blinds)]
    columns = [engine.prepare_plain(values) for values in (*answer.gathered, *blinds)]
    block = engine.multiply_accumulate(prepared, columns)
    block[0] = ring.add(profile, block[0], mask_polynomial(profile, key))
    assert block_digest(pack(block)).hex() == answer["block_sha256"]
