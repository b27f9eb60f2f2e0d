"""boilerplate_lines: counted by documents, over all units, without dropped duplicates."""

import pytest

from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning import spill
from llmctl.core.cleaning.boilerplate import boilerplate_lines
from llmctl.core.cleaning.duplicates import resolve
from llmctl.core.text.repeated_lines import line_hashes

PLAN = DuplicatesPlan(max_line_documents=2, min_line_characters=3)
MENU = "主页 | 关于我们"
DOCUMENTS = [
    f"{MENU}\nfirst text\nshared by two",
    f"second text\n{MENU}\n{MENU}\nshared by two",
    f"third text\n\n{MENU} \nab",
    "fourth text\nab",
    "fifth text\nab",
    "a poem that was copied",
    "a poem that was copied",
    "\na poem that was copied",
    "a poem that was copied\n",
]


def found(bench, division):
    units = bench.units(DOCUMENTS, PLAN, division)
    duplicates = resolve(units, PLAN, bench.directory)
    return boilerplate_lines(units, 2, duplicates, bench.directory).tolist()


@pytest.mark.parametrize("division", [None, [1, 1, 0, 7], [2, 7]])
def test_lines_of_more_documents_are_boilerplate(bench, division):
    assert found(bench, division) == line_hashes(MENU, 1).tolist()


def test_many_parts_on_the_disk_give_one_sorted_array(bench, monkeypatch):
    monkeypatch.setattr(spill, "PART_RECORDS", 3)
    lines = [f"line {number}" for number in range(30)]
    documents = [f"document {number}\n" + "\n".join(lines) for number in range(3)]
    plan = DuplicatesPlan(similarity=None, max_line_documents=2, min_line_characters=1)
    units = bench.units(documents, plan, [1, 2])
    duplicates = resolve(units, plan, bench.directory)

    hashes = boilerplate_lines(units, 2, duplicates, bench.directory)

    assert hashes.tolist() == line_hashes("\n".join(lines), 1).tolist()
    assert boilerplate_lines(units, 3, duplicates, bench.directory).tolist() == []


def test_between_may_end_it_early(bench):
    def ends():
        raise KeyboardInterrupt

    units = bench.units(DOCUMENTS, PLAN)
    duplicates = resolve(units, PLAN, bench.directory)

    with pytest.raises(KeyboardInterrupt):
        boilerplate_lines(units, 2, duplicates, bench.directory, ends)
