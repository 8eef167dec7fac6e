"""The digests printed on the format pages are those of the known answers."""

import json
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "spec"
FIRST_CASE = json.loads(Path(__file__).with_name("sealed-query-v1.json").read_text("ascii"))["cases"][0]


@pytest.mark.parametrize("page", ["hash.md", "sealing.md", "block.md"])
def test_every_digest_on_a_page_is_one_of_the_first_known_answer(page):
    digests = re.findall(r"\b[0-9a-f]{64}\b", (PAGES / page).read_text("utf-8"))
    assert digests
    assert set(digests) <= {value for value in FIRST_CASE.values() if isinstance(value, str)}


def test_the_release_page_shows_the_first_values_released_and_opened():
    page = (PAGES / "release.md").read_text("utf-8")
    released, scores = FIRST_CASE["released_first_16"][:8], FIRST_CASE["scores_first_16"][:8]
    assert f"released    {', '.join(map(str, released))}, ..." in page
    assert f"bytes       {' '.join(value.to_bytes(4, 'little').hex() for value in released)} ..." in page
    assert f"scores      {', '.join(map(str, scores))}, ..." in page
