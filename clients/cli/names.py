"""Names and choices as users type them: `payments-bureau` for `datasets/payments-bureau`, `natural-person`
for an enum's value.
"""

from typing import Any

import typer


def full_name(collection: str, text: str) -> str:
    """Return the full resource name of a short or full one."""
    return text if text.startswith(f"{collection}/") else f"{collection}/{text}"


def chosen(enum: Any, prefix: str, text: str | None, option: str) -> Any:
    """Return the value of a protobuf enum that `text`, such as `natural-person`, names; 0 for None."""
    if text is None:
        return 0
    name = prefix + text.upper().replace("-", "_")
    known = {one: number for one, number in enum.items() if number}
    if name not in known:
        choices = ", ".join(one.removeprefix(prefix).lower().replace("_", "-") for one in known)
        raise typer.BadParameter(f"must be one of {choices}", param_hint=option)
    return known[name]
