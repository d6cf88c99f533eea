"""Which function of the source holds a line? The compiler inlines; what is inlined keeps its file and line.

    feed_turn  --inlined--> raw_next  at raw_inline.h:41      callgrind says feed_turn, raw_inline.h, 41
                                                              this says   raw_next

Found by how the C files are written: a definition begins at the first column and ends with a brace there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from pathlib import Path

NAME = re.compile(r"\b(\w+)\s*\(")
NOT_A_FUNCTION = ("#", "}", "/", " ", "\t", "typedef", "_Static_assert", "struct", "enum", "extern")
Span = tuple[int, int, str]  # first line, last line, name


def function_spans(text: str) -> list[Span]:
    """Every function that a C file defines, in order."""
    spans: list[Span] = []
    name, first, inside = "", 0, False
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            if line.startswith("}"):
                spans.append((first, number, name))
                name, inside = "", False
            continue
        if line and not line.startswith(NOT_A_FUNCTION) and (found := NAME.search(line)):
            name, first = found[1], number
        if not name:
            continue
        code = line.split("/*")[0].rstrip()
        if code.endswith("{"):
            inside = True
        elif code.endswith("}"):
            spans.append((first, number, name))
            name = ""
        elif code.endswith(";"):
            name = ""
    return spans


class Sources:
    """The functions of the C files under some folders, by file name and line."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._files = {path.name: path for folder in folders for path in sorted(folder.glob("*.[ch]"))}

    @cache  # noqa: B019 - lives as long as the program
    def spans(self, file: str) -> list[Span]:
        """Of a file by its name; none where it is not ours."""
        path = self._files.get(file)
        return function_spans(path.read_text()) if path else []

    def function_at(self, file: str, line: int) -> str:
        """The function that holds the line; empty where there is none, or the file is not ours."""
        spans = self.spans(file)
        index = bisect_right(spans, line, key=lambda span: span[0]) - 1
        return spans[index][2] if index >= 0 and line <= spans[index][1] else ""
