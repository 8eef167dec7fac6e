"""Pages: as many items as were asked for, and as fit a message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")

# Far below the smallest message limit in use (gRPC's default of 4 MiB), so that one more item still fits.
MAX_PAGE_BYTES: Final = 2 * 2**20
_CHUNK = 32


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """Items in order, and whether more follow."""

    items: tuple[ItemT, ...]
    more: bool


def load_page(
    keys: Sequence[KeyT],
    size: int,
    load: Callable[[Sequence[KeyT]], Sequence[ItemT]],
    cost: Callable[[ItemT], int],
) -> Page[ItemT]:
    """Return the page of the first `size` of `keys`, fewer when their `cost` in bytes would pass the limit.

    `keys` hold one more than `size` when there are more; `load` returns the items of some keys in order.
    """
    items: list[ItemT] = []
    spent = 0
    wanted = keys[:size]
    for start in range(0, len(wanted), _CHUNK):
        for item in load(wanted[start : start + _CHUNK]):
            spent += cost(item)
            if items and spent > MAX_PAGE_BYTES:
                return Page(tuple(items), more=True)
            items.append(item)
    return Page(tuple(items), more=len(keys) > size)
