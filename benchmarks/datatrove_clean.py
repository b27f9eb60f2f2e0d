"""datatrove's filters over a folder of JSON Lines: `PROFILE IN OUT DROPPED PROCESSES`.

`fineweb` is the order and the settings of its examples/fineweb.py after the extraction,
`fineweb2` that of the FineWeb-2 pipeline with the published values for Chinese.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import Any

import fineweb2_values
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter


def main() -> None:
    """Run the pipeline."""
    profile, inputs, out, dropped, processes = sys.argv[1:]
    for folder in (out, dropped):
        shutil.rmtree(folder, ignore_errors=True)

    def exclusion(name: str) -> dict[str, Any]:
        return {"exclusion_writer": JsonlWriter(f"{dropped}/{name}", compression=None)}

    with tempfile.TemporaryDirectory() as logs:
        if profile == "fineweb":
            filters = [
                GopherRepetitionFilter(**exclusion("repetition")),
                GopherQualityFilter(**exclusion("quality")),
                C4QualityFilter(filter_no_terminal_punct=False, **exclusion("c4")),
                FineWebQualityFilter(**exclusion("fineweb")),
            ]
        else:
            filters = fineweb2_values.chinese_filters(exclusion)
        LocalPipelineExecutor(
            pipeline=[JsonlReader(inputs), *filters, JsonlWriter(out, compression=None)],
            tasks=int(processes),
            workers=int(processes),
            logging_dir=logs,
            skip_completed=False,
        ).run()


if __name__ == "__main__":
    main()
