"""The bins of the rows asked for, from the revision that a license names.

Licensed columns are kept in memory, those used last within a budget; the database is where they come from.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compute.domain.license import Agreement
from compute.records.revision import gather
from compute.store import revisions
from compute.store.database import AsyncDatabase

DEFAULT_BUDGET_BYTES: Final = 256 * 2**20

_Bins = NDArray[np.uint8]
_Key = tuple[str, int, str]


class Gathering:
    """Reads columns of `database` and keeps up to `budget` bytes of them. One event loop owns it."""

    def __init__(self, database: AsyncDatabase, budget: int = DEFAULT_BUDGET_BYTES) -> None:
        self._database = database
        self._budget = budget
        self._kept: OrderedDict[_Key, _Bins] = OrderedDict()

    async def bins(self, agreement: Agreement, rows: Sequence[int]) -> bytes:
        """Return the licensed bins of `rows` (-1 is absent): rows × attributes, one byte each."""
        columns = [
            await self._column((agreement.dataset, agreement.revision, column.name))
            for column in agreement.columns
        ]
        gathered = await asyncio.to_thread(gather, columns, rows)
        return gathered.tobytes()

    async def _column(self, key: _Key) -> _Bins:
        if key not in self._kept:
            data = await self._database.read(lambda connection: revisions.column_data(connection, *key))
            self._kept[key] = np.frombuffer(data, dtype=np.uint8)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(column.nbytes for column in self._kept.values()) > self._budget:
            self._kept.popitem(last=False)
        return self._kept[key]
