from dataclasses import replace

import numpy as np
import pytest

from compute.engine.errors import ModelFileError
from compute.engine.models import ModelCache, read_model
from compute.engine.seal import PreparedModel
from sealed.errors import ColumnFormatError
from sealed.profiles import SCORE_V1
from sealed.sealing import c0_digest


@pytest.fixture
def trade(trade_of):
    return trade_of(SCORE_V1, [[1, 2]], np.array([[0]]))


def altered(trade, tmp_path, change):
    data = bytearray(trade.task.c0_path.read_bytes())
    path = tmp_path / "altered"
    path.write_bytes(change(data))
    return replace(trade.task, c0_path=path)


def flip(data: bytearray) -> bytearray:
    data[-4] ^= 1
    return data


def test_a_sealed_model_altered_on_disk_is_refused(trade, engine_of, tmp_path):
    with pytest.raises(ModelFileError, match="changed"):
        read_model(engine_of(SCORE_V1), altered(trade, tmp_path, flip))


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_a_sealed_model_of_another_length_is_refused(trade, engine_of, tmp_path, change):
    with pytest.raises(ModelFileError, match="12 columns"):
        read_model(engine_of(SCORE_V1), altered(trade, tmp_path, change))


def test_a_sealed_model_that_is_gone_is_refused(trade, engine_of, tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_model(engine_of(SCORE_V1), replace(trade.task, c0_path=tmp_path / "gone"))


def test_a_residue_outside_its_prime_never_reaches_seal_even_under_its_own_digest(trade, engine_of, tmp_path):
    data = bytearray(trade.task.c0_path.read_bytes())
    data[:4] = SCORE_V1.primes[0].to_bytes(4, "little")
    path = tmp_path / "foreign"
    path.write_bytes(data)
    size = SCORE_V1.column_bytes
    digest = c0_digest(bytes(data[i : i + size]) for i in range(0, len(data), size))
    with pytest.raises(ColumnFormatError, match="prime 0"):
        read_model(engine_of(SCORE_V1), replace(trade.task, c0_path=path, c0_digest=digest))


def test_the_models_used_last_are_kept_within_the_budget():
    prepared = []

    def use(cache: ModelCache, name: bytes, size: int) -> None:
        cache.get((name, name), size, lambda: prepared.append(name) or PreparedModel(()))

    cache = ModelCache(budget=10)
    for name in (b"a", b"b", b"a", b"c", b"a", b"b"):
        use(cache, name, 5)
        assert cache.used <= 10
    assert prepared == [b"a", b"b", b"c", b"b"]
    use(cache, b"huge", 50)
    assert (prepared[-1], cache.used) == (b"huge", 50)
    use(cache, b"huge", 50)
    assert prepared.count(b"huge") == 1


def test_a_model_that_could_not_be_prepared_leaves_nothing_behind():
    cache = ModelCache(budget=10)

    def fail():
        raise ModelFileError("gone")

    with pytest.raises(ModelFileError):
        cache.get((b"a", b"a"), 5, fail)
    assert cache.used == 0
    model = PreparedModel(())
    assert cache.get((b"a", b"a"), 5, lambda: model) is model
