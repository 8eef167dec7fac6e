"""Texts that people write: how long they may be, and what they may not hold."""

from collections.abc import Iterator, Sequence

from exchange.domain.errors import refuse_invalid
from wire.bins import has_control_characters


def check_text(field: str, text: str, *, least: int = 0, most: int) -> str:
    """Return `text` if it has `least` to `most` characters, none of control but line breaks and tabs.

    Raises FieldInvalidError otherwise.
    """
    refuse_invalid(text_violations(field, text, least=least, most=most))
    return text


def text_violations(field: str, text: str, *, least: int = 0, most: int) -> Iterator[tuple[str, str]]:
    """Yield what `check_text` would refuse."""
    if not least <= len(text) <= most:
        yield field, f"must have {least} to {most} characters"
    if has_control_characters(text.replace("\n", "").replace("\t", "")):
        yield field, "must hold no control characters but line breaks and tabs"


def list_violations(field: str, texts: Sequence[str], *, most: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a list that holds each text once, at most `most` of them."""
    if len(texts) > most:
        yield field, f"must be at most {most}"
    if len(set(texts)) != len(texts):
        yield field, "must hold each once"
