"""The known answers, one fixture per case."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sealed.profiles import Profile, profile_named
from sealed.sealing import SealedModel, context, seal

KNOWN_ANSWERS = json.loads(Path(__file__).with_name("sealed-query-v1.json").read_text("ascii"))


@dataclass(frozen=True)
class Answer:
    """One case of the file: its values by name, hex fields as bytes."""

    values: dict

    def __getitem__(self, name: str):
        return self.values[name]

    def octets(self, name: str) -> bytes:
        return bytes.fromhex(self.values[f"{name}_hex"])

    @property
    def profile(self) -> Profile:
        return profile_named(self["profile"])

    @property
    def gathered(self) -> np.ndarray:
        packed = [
            np.frombuffer(bytes.fromhex(row), dtype=np.uint8) for row in self["columns_packed_rows_hex"]
        ]
        return np.stack([np.unpackbits(row)[: self["rows"]] for row in packed])

    @property
    def ctx(self) -> bytes:
        return context(
            self.profile,
            kind=self["kind"],
            license_digest=self.octets("license_digest"),
            owner=self["owner"],
            owner_nonce=self.octets("owner_nonce"),
            sealing=self.octets("sealing"),
            scale=self["scale"],
            drop=self["drop"],
            columns=[name.encode() for name in self["column_names"]],
        )


def _name(case: dict) -> str:
    return f"{case['profile']}-{len(case['weights'])}x{case['rows']}"


@pytest.fixture(scope="module", params=KNOWN_ANSWERS["cases"], ids=_name)
def answer(request) -> Answer:
    return Answer(request.param)


@pytest.fixture(scope="module")
def model(answer) -> SealedModel:
    return seal(
        answer.profile,
        answer["weights"],
        answer.octets("model_digest"),
        answer.octets("salt"),
        answer.ctx,
        answer["scale"],
    )
