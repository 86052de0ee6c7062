"""Notes on a custom file, and whether it is read otherwise than by earlier releases."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    """Notes for the person who asked, filled while a file is read.

    `anew`: something in the file was read wrongly by the first version, so that its trials are not taken for these. All
    other files keep the ids of their trials.
    """

    words: list[str] = field(default_factory=list)
    anew: bool = False

    def add(self, text: str, anew: bool = False) -> None:
        """Note something."""
        self.words.append(text)
        self.anew |= anew
