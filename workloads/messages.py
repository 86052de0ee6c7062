"""Words for messages: what a file, a library or a person wrote, short and on one line."""

from typing import Final

VALUE: Final = 80
"""Most characters of a value that a message shows."""
REASON: Final = 300
"""Most characters of the reason that a library gives."""


def brief(value: object) -> str:
    """A value as `repr` shows it, control characters escaped, cut to `VALUE` characters."""
    return _cut(repr(value[: 2 * VALUE] if isinstance(value, str | bytes) else value), VALUE)


def reason(error: BaseException) -> str:
    """What an exception says, on one line, control characters escaped, cut to `REASON` characters.

    Of an error of the system, what went wrong: the message names the file itself.
    """
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said[: 10 * REASON].split()) or type(error).__name__
    return _cut("".join(c if c.isprintable() else repr(c)[1:-1] for c in text), REASON)


def listed(names: "list[str] | tuple[str, ...]", most: int = 20) -> str:
    """Names with commas between them, the first `most`, each cut, and how many more there are."""
    shown = [_cut(brief(name)[1:-1], VALUE) for name in names[:most]]
    return ", ".join([*shown, *([f"and {len(names) - most:,} more"] if len(names) > most else [])])


def brief_path(written: str) -> str:
    """A path, control characters escaped; of more than `REASON` characters without its middle, for its end names it."""
    short = written if len(written) <= REASON else f"{written[:60]}…{written[61 - REASON :]}"
    return repr(short)[1:-1]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
