"""A model of 405 B parameters on a machine with 16 GiB."""

from unittest.mock import patch

import weft
from weft.commands.devices import check_memory
from weft.lang.program import STDLIB


def trigger() -> None:
    module = weft.compile(weft.load(STDLIB / "models" / "llama.llm"), "Llama3_405B")
    with patch("weft.commands.devices.memory", return_value=16 * 2**30):
        check_memory(module, "cpu")
