"""Times as users type them."""

from datetime import UTC, datetime

import typer


def parse_moment(text: str) -> datetime:
    """Return the time that ISO 8601 text gives, UTC unless it says otherwise; as records print it, too."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "must be a time such as 2026-01-31, 2026-01-31T13:05 or 2026-01-31T13:05:00Z; UTC unless it says "
            "otherwise"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
