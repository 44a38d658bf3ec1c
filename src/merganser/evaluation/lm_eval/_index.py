"""Which folders of lm-eval's package speak of a name.

lm-eval's own index parses all of its 14,000 task files, which takes many seconds at every start. Here their text is
searched for the name, and lm-eval then indexes only the folders where it stands.
"""

from __future__ import annotations

import re
from pathlib import Path

from merganser.evaluation.lm_eval._library import lm_eval_library

_DEFINED = re.compile(rb"""^["']?(?:task|group)["']?:[ ]*["']?([\w.:/-]+)""", re.MULTILINE)


class OwnFiles:
    """The text of lm-eval's task files, by folder; read once for one search."""

    def __init__(self) -> None:
        root = Path(str(lm_eval_library().__file__)).parent / "tasks"
        self._texts: dict[Path, list[bytes]] = {}
        for file in sorted(root.glob("**/*")):
            if file.is_file() and ("yaml" in file.name or not file.suffix):  # templates often have no suffix
                self._texts.setdefault(file.parent, []).append(file.read_bytes())

    def folders(self, name: str) -> list[Path]:
        """Folders with a file that has the name as a whole word, in order."""
        wanted = name.encode()
        word = re.compile(rb"(?<![\w-])" + re.escape(wanted) + rb"(?![\w-])")
        return [
            folder
            for folder, texts in self._texts.items()
            if any(wanted in text and word.search(text) is not None for text in texts)
        ]

    def names(self) -> list[str]:
        """What the files define, for suggestions."""
        found = {name for texts in self._texts.values() for text in texts for name in _DEFINED.findall(text)}
        return sorted(name.decode(errors="replace") for name in found)
