"""The page beside the tests names every check that they take out, and no other."""

import pkgutil
import re
from pathlib import Path

HERE = Path(__file__).parent
FUNCTION = re.compile(r"\b(?:clients|compute|exchange|sealed|wire)(?:\.\w+){2,}")


def functions_in(text: str, quote: str) -> set[str]:
    """The full names of functions that stand between these quotes."""
    found = set()
    for quoted in re.findall(rf"{quote}([\w.]+){quote}", text):
        if FUNCTION.fullmatch(quoted):
            found.add(quoted)
    return found


def test_the_page_names_the_checks_that_the_tests_take_out():
    page = functions_in((HERE / "README.md").read_text(), "`")
    tests = set().union(*(functions_in(path.read_text(), '"') for path in HERE.glob("test_*.py")))
    injected = {  # faults that tests bring in
        "compute.rpc.evaluation_service.check_entity_ids",
        "compute.verbs.sealing.Sealings.put_column",
    }
    assert page == tests - injected


def test_every_check_on_this_page_and_on_that_of_security_is_there():
    for page in (HERE / "README.md", HERE.parents[1] / "docs" / "security.md"):
        for name in functions_in(page.read_text(), "`"):
            assert callable(pkgutil.resolve_name(name)), name


def test_the_page_names_every_file():
    page = (HERE / "README.md").read_text()
    for path in HERE.glob("*.py"):
        named = f"`{path.name}`" in page or path.name.startswith("test_hole_")
        assert named or path.name == "conftest.py", path.name
