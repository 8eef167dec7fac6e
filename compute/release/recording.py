"""Having an act recorded: the exchange's word for it, checked, or the certainty that it will never be.

recorded            a receipt that proves exactly our statement
ExchangeRefused     not recorded by any attempt that has reached the exchange; what was reserved is given back
Unrecorded          anything else: what was reserved stays so until the same request has been asked again

An earlier attempt that is still on its way may yet be recorded after a refusal. Nothing leaves for it: a
release needs its receipt, and the same request, made anew, is the same statement and finds that record.
"""

import logging
from collections.abc import Awaitable

from compute.domain.errors import UNRECORDED, ExchangeRefusedError, ReceiptError, UnrecordedError
from compute.domain.license import Agreement
from compute.formats.payloads import entry_from_bytes, receipt_statement_from_payload
from compute.release.receipt import Expected, Recorded, require_recorded
from wire.event_log import facts_of, log_event


async def recorded_by_exchange(
    answer: Awaitable[Recorded],
    expected: Expected,
    agreement: Agreement,
    log: logging.Logger,
    *,
    first_attempt: bool,
) -> Recorded:
    """Return the exchange's answer once it proves that `expected` is recorded.

    `first_attempt` says that this process has not asked before and no other can have: only then is a refusal
    of the node itself certain. Raises ExchangeRefusedError or UnrecordedError.
    """
    try:
        recorded = await answer
    except ExchangeRefusedError as refused:
        log_event(log, logging.WARNING, "record_refused", reason=refused.reason, final=refused.final)
        if refused.final or first_attempt:
            raise
        raise UnrecordedError(UNRECORDED) from refused
    except UnrecordedError as error:
        log_event(log, logging.WARNING, "record_unanswered", license=expected.license)
        raise UnrecordedError(UNRECORDED) from error
    try:
        require_recorded(
            recorded,
            expected,
            exchange_key=agreement.exchange_key,
            origin=agreement.exchange,
            read_statement=receipt_statement_from_payload,
            read_entry=entry_from_bytes,
        )
    except ReceiptError as error:
        log_event(log, logging.ERROR, "receipt_invalid", license=expected.license, **facts_of(error))
        raise UnrecordedError(UNRECORDED) from error
    return recorded
