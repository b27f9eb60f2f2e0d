"""Texts, their fingerprints in units, and what `resolve` makes of them."""

from __future__ import annotations

import random

import pytest

from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning.duplicates import resolve
from llmctl.core.cleaning.fingerprinting import EarlierCorpus, unit_of
from llmctl.core.text.fingerprints import Fingerprinter


def made_text(seed, num_words=60):
    """Words that no other seed has in the same order."""
    generator = random.Random(seed)
    return " ".join(str(generator.randrange(1000, 10_000)) for _ in range(num_words))


def edited(text, num_edits):
    """Every tenth word replaced, so many times."""
    found = text.split()
    for number in range(num_edits):
        found[number * 10] = "edit"
    return " ".join(found)


class Workbench:
    """Fingerprints texts and resolves them."""

    def __init__(self, directory):
        self.directory = directory
        self._number = 0

    def units(self, texts, plan, division=None):
        """Write units of so many texts; all in one by default. Texts have the ids d0, d1, …"""
        paths, first = [], 0
        for size in division or [len(texts)]:
            fingerprinter = Fingerprinter(plan)
            for text in texts[first : first + size]:
                fingerprinter.add(text)
            self._number += 1
            paths.append(self.directory / f"{self._number}.fingerprints")
            ids = [f"d{number}" for number in range(first, first + size)]
            unit_of(fingerprinter.finish(), ids).write(paths[-1])
            first += size
        return paths

    def resolve(self, texts, division=None, earlier=(), between=lambda: None, **plan):
        """Return what is dropped of the texts; `earlier` are lists of texts."""
        plan = DuplicatesPlan(**plan)
        units = self.units(texts, plan, division)
        corpora = [
            EarlierCorpus(f"old{number}", tuple(self.units(each, plan)))
            for number, each in enumerate(earlier)
        ]
        scratch = self.directory / f"scratch{self._number}"
        scratch.mkdir()
        found = resolve(units, plan, scratch, between, corpora)
        assert not list(scratch.iterdir())
        return found

    def survivors(self, texts, **options):
        """Return the survivor of each dropped text."""
        return {number: survivor for number, survivor, _ in self.resolve(texts, **options).pairs()}


@pytest.fixture
def bench(tmp_path):
    return Workbench(tmp_path)


@pytest.fixture
def texts():
    return made_text, edited
