"""Taking one check out, to show that an attack is real and that this check is what stops it."""

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def _nothing(*_: object, **__: object) -> None:
    """What is left of a check that raises when it is taken out."""


@contextmanager
def without(check: str, instead: Callable[..., Any] = _nothing) -> Iterator[None]:
    """Run the block with the function of this full name replaced: by nothing, or by what stands `instead`.

    A test that only shows a refusal proves little: perhaps the attack would fail anyway, or is refused for
    another reason. So every attack here is run twice over the same sockets against the same servers, once
    against them as they are and once with one named function patched out. That the second run wins proves
    that the attack is real, and that nothing but this function stood in its way. Where two sides, or a last
    line, hold the same rule, the test takes all of them out and says so.

    Patching is honest because the servers run in this process: what is patched is the very function that the
    other tests, and the shipped servers, call. It must have been called inside the block, so a check that was
    renamed, moved or is no longer asked makes the test fail instead of passing for no reason.
    """
    place, _, name = check.rpartition(".")
    owner = pkgutil.resolve_name(place)
    assert callable(getattr(owner, name)), f"{check} is no function"
    calls = 0

    def taken_out(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        return instead(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, taken_out)
        yield
    assert calls, f"{check} was never asked: it is not what stops this attack"
