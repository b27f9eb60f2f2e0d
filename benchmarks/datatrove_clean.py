"""datatrove's filters over a folder of JSON Lines: `PROFILE IN OUT DROPPED PROCESSES`.

`fineweb` is the order and the settings of its examples/fineweb.py after the extraction,
`fineweb2` that of the FineWeb-2 pipeline with the published values for Chinese.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

# fineweb-2/configs/cmn_Hani.yml, as its pipeline hands the values over; 0 is off.
CHINESE_REPETITION: dict[str, Any] = {
    "language": "cmn_Hani",
    "dup_line_frac": 0.287,
    "dup_para_frac": 0,
    "dup_line_char_frac": 0,
    "dup_para_char_frac": 0,
    "top_n_grams": ((2, 0.256), (3, 0.201), (4, 0.171)),
    "dup_n_grams": ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127)),
}
CHINESE_LINES: dict[str, Any] = {
    "language": "cmn_Hani",
    "short_line_thr": 999,
    "char_duplicates_ratio": 0.1,
    "line_punct_thr": 0.106,
    "new_line_ratio": 0.178,
}
CHINESE_WORDS: dict[str, Any] = {
    "language": "cmn_Hani",
    "max_avg_word_length": 5,
    "min_avg_word_length": 1,
    "max_non_alpha_words_ratio": 0.735,
    "stop_words": list("的年在月是和日了於·為有被人中为他與後也而由"),
    "min_stop_words": 2,
}


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
            filters = [
                GopherRepetitionFilter(**CHINESE_REPETITION, **exclusion("repetition")),
                FineWebQualityFilter(**CHINESE_LINES, **exclusion("fineweb")),
                GopherQualityFilter(**CHINESE_WORDS, **exclusion("quality")),
            ]
        LocalPipelineExecutor(
            pipeline=[JsonlReader(inputs), *filters, JsonlWriter(out, compression=None)],
            tasks=int(processes),
            workers=int(processes),
            logging_dir=logs,
            skip_completed=False,
        ).run()


if __name__ == "__main__":
    main()
