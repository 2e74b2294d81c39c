"""A config of PEFT with a key that changes what the adapter means and is not known."""

import json
import os
import tempfile
from pathlib import Path

from weft.runtime.adapters.peft_config import read_config


def trigger() -> None:
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("adapter").mkdir()
            config = {"peft_type": "LORA", "r": 4, "layer_replication": [[0, 2], [1, 3]]}
            Path("adapter/adapter_config.json").write_text(json.dumps(config), "utf-8")
            read_config(Path("adapter"))
        finally:
            os.chdir(here)
