"""clean: raw text → corpus.

1. Units: stretches of the input, each document in them repaired and judged alone, by
   several processes; a finished unit is a file that the next start takes up.
2. Decisions: duplicates and shares of a mix, over the fingerprints of all units.
3. Parts: each unit's kept and dropped documents, by several processes again.
4. The corpus, in the order of the input, and its report.

The bytes are the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import CorpusWriter, corpus_files
from llmctl.core.artifacts.corpus_report import (
    WARNED_SHARE,
    CorpusOrigin,
    write_corpus_report,
)
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import KNOWN_KINDS
from llmctl.core.artifacts.evaluation_items import evaluation_sources
from llmctl.core.artifacts.large_shares import large_shares
from llmctl.core.artifacts.sources import Source, printable
from llmctl.core.clean_plan import CleanPlan, PreparedShard, Shard
from llmctl.core.cleaning.decisions import EXACT_DUPLICATE, NEAR_DUPLICATE, Decisions, decide
from llmctl.core.cleaning.decontamination import load_evaluation_index
from llmctl.core.cleaning.fingerprinting import EarlierCorpus
from llmctl.core.cleaning.mixing import CHARACTERS_RULE, WEIGHT_RULE, Mixer, Sampler
from llmctl.core.cleaning.unit_files import UnitFiles, UnitIndex
from llmctl.core.cleaning.unit_jobs import DrawCollector, UnitJob, UnitSetting, unit_maker
from llmctl.core.cleaning.unit_planner import UNIT_BYTES, UnitPlanner
from llmctl.core.cleaning.unit_writer import PartAccount, PartFiles, PartWriter
from llmctl.core.errors import DataError
from llmctl.core.job_runner import JobRunner
from llmctl.core.lock import exclusive
from llmctl.core.manifest import DigestCache, Manifest
from llmctl.core.progress import Progress
from llmctl.core.text.contamination import EvaluationIndex
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

EARLIER_PREFIX = "earlier-"
MEANT_TO_DROP = frozenset({WEIGHT_RULE, CHARACTERS_RULE, "languages"})
_PLACES_SHOWN = 3


class _RefusedError(DataError):
    """For these inputs and this plan it is final: nothing that was made can be of use."""


def clean(
    plan: CleanPlan,
    sources: Sequence[Source],
    workspace: Workspace,
    *,
    settings: WorkSettings | None = None,
    progress: Progress,
) -> Manifest:
    """Read, repair, judge and deduplicate the sources, and publish the corpus.

    Args:
        plan: The recipe's section.
        sources: The inputs, in order.
        workspace: Where the corpus grows.
        settings: What the command line adds.
        progress: Who watches.

    Raises:
        BusyError: Another process makes a shard of it.
        DataError: Nothing can be read, too much cannot, a rule drops more than it may, or no
            document is left.
        MissingInputError: A source has gone.
        RecipeError: The mix names a source that there is none of.
        Interrupted, OutOfTime: `progress` asked for the end; what is finished is kept.
    """
    _warn_of_left_out(sources, progress)
    settings = settings or WorkSettings()
    with (
        atomic.storage_errors(workspace.path),
        _Work(plan, sources, workspace, settings, progress) as work,
    ):
        workspace.refuse_shards()
        names = work.make_units()
        try:
            work.refuse_unreadable(names)
            tally = work.write_corpus(work.decide(names))
        except _RefusedError:
            atomic.remove_tree(workspace.path)
            raise
    return workspace.publish(_counts(tally))


def clean_shard(
    plan: CleanPlan,
    sources: Sequence[Source],
    workspace: Workspace,
    shard: Shard,
    *,
    settings: WorkSettings,
    progress: Progress,
) -> PreparedShard:
    """Make the units of one shard, for a later `clean` to take up.

    Raises:
        BusyError: Another process makes this shard.
        MissingInputError: A source has gone.
        RecipeError: The mix names a source that there is none of.
        Interrupted, OutOfTime: `progress` asked for the end; what is finished is kept.
    """
    lock = workspace.shard_lock(shard.number, shard.count)
    with (
        atomic.storage_errors(workspace.path),
        exclusive(lock),
        _Work(plan, sources, workspace, settings, progress) as work,
    ):
        return PreparedShard(workspace.path, len(work.make_units(shard)))


class _Work:
    """The phases of one cleaning; a context manager, as it may hold processes."""

    def __init__(
        self,
        plan: CleanPlan,
        sources: Sequence[Source],
        workspace: Workspace,
        settings: WorkSettings,
        progress: Progress,
    ) -> None:
        # A source that is not there is told now, not after hours of work.
        Mixer(plan.mix, [source.name for source in sources])
        self._plan = plan
        self._sources = sources
        self._workspace = workspace
        self._settings = settings
        self._progress = progress
        self._num_bytes = sum(source.size_bytes or 0 for source in sources)
        # Starting processes takes longer than so little work.
        few = self._num_bytes <= 2 * UNIT_BYTES and not plan.duplicates.against
        self._runner = JobRunner(1 if few else settings.num_workers, progress)
        self._num_seen: int | None = None

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.__exit__(*error)

    def make_units(self, shard: Shard | None = None) -> list[str]:
        """Make the units, all or a shard's, that are not there; return their names in order."""
        plan, runner = self._plan, self._runner
        setting = UnitSetting(
            plan, self._sources, self._workspace.units, self._evaluation(), self._sample_below()
        )
        names: list[str] = []
        is_new = False

        def jobs() -> Iterator[UnitJob]:
            nonlocal is_new
            for job in self._jobs(shard):
                names.append(job.name)
                is_new |= not UnitFiles(setting.directory, job.name).is_finished
                yield job

        num_bytes = self._num_bytes + sum(path.stat().st_size for _, path in self._earlier_files())
        for _ in runner.run("clean", num_bytes, jobs(), unit_maker, setting):
            pass
        if is_new:
            self._refuse_changed()
        return names

    def _jobs(self, shard: Shard | None = None) -> Iterator[UnitJob]:
        suffix = "" if shard is None else f"-{shard.number}-of-{shard.count}"
        for number, job in enumerate(self._all_jobs(self._workspace.path / f"pieces{suffix}")):
            if shard is None or number % shard.count == shard.number - 1:
                yield job
            elif job.piece is not None:
                job.piece.unlink()

    def _all_jobs(self, pieces: Path) -> Iterator[UnitJob]:
        for name, path in self._earlier_files():
            yield UnitJob(name, num_bytes=path.stat().st_size, earlier=path)
        yield from UnitPlanner(self._sources, pieces, self._progress.check).jobs()

    def _earlier_files(self) -> Iterator[tuple[str, Path]]:
        """Yield the files of earlier corpora, each with the name of its unit."""
        for position, name in enumerate(self._plan.duplicates.against):
            for part, path in enumerate(corpus_files(self._settings.base / name)):
                yield f"{EARLIER_PREFIX}{position:03d}-{part:06d}", path

    def _evaluation(self) -> EvaluationIndex | None:
        plan = self._plan.decontaminate
        if not plan.files:
            return None
        sources = evaluation_sources(plan.files, self._settings.base, self._progress)
        index = load_evaluation_index(plan, sources)
        counts = index.counts
        left_out = counts.too_short + counts.uninformative
        if left_out:
            self._progress.note(
                f"decontaminate: of {counts.items} evaluation items {left_out} are not looked for: "
                f"{counts.too_short} are too short, {counts.uninformative} say too little"
            )
        return index

    def _sample_below(self) -> int | None:
        """Return the highest draw that belongs to the sample; None where all is cleaned."""
        wanted = self._plan.sample
        if wanted is None:
            return None
        sampler = Sampler(wanted)
        for _, (draws, num_documents) in self._runner.run(
            "draw the sample", self._num_bytes, self._jobs(), DrawCollector, self._sources, wanted
        ):
            sampler.merge(draws, num_documents)
        self._num_seen = sampler.num_seen
        return sampler.threshold

    def _refuse_changed(self) -> None:
        """Compare the inputs with their digests once more, now that they have been read."""
        cache = DigestCache(self._workspace.path / "digests.json")
        for source in self._sources:
            expected = self._workspace.identity.inputs.get(source.name)
            if source.origin == "file" and expected not in (None, source.digest(cache)):
                atomic.remove_tree(self._workspace.units)
                raise DataError(f"{source.name}: changed while it was being read; run again")

    def refuse_unreadable(self, names: Sequence[str]) -> None:
        """Warn about what cannot be read; refuse nothing, or too little, to read."""
        indexes = [UnitIndex.read(UnitFiles(self._workspace.units, name).index) for name in names]
        num_records = sum(index.num_records for index in indexes)
        num_unreadable = sum(index.num_unreadable for index in indexes)
        places = [place for index in indexes for place in index.places][: _PLACES_SHOWN + 1]
        if num_records == 0:
            listed = ", ".join(source.name for source in self._sources[:_PLACES_SHOWN])
            more = ", …" if len(self._sources) > _PLACES_SHOWN else ""
            raise _RefusedError(f"the input is empty: no document in {listed}{more}")
        if num_unreadable == 0:
            return
        shown = "\n  ".join([*places[:_PLACES_SHOWN], *["…"] * (len(places) > _PLACES_SHOWN)])
        if num_unreadable == num_records:
            raise _RefusedError(f"nothing can be read of {num_records} documents:\n  {shown}")
        share = num_unreadable / num_records
        found = f"{num_unreadable} of {num_records} documents ({share:.2%}) cannot be read"
        if share > self._plan.max_unreadable:
            raise _RefusedError(
                f"{found}, more than clean.max_unreadable = {self._plan.max_unreadable:g} allows:"
                f"\n  {shown}\nmend them, or raise clean.max_unreadable; nothing was published"
            )
        self._progress.warn(f"{found}, and are left out:\n  {shown}")

    def decide(self, names: Sequence[str]) -> Decisions:
        """Decide about the documents that no rule dropped."""
        scratch = self._workspace.path / "scratch"
        atomic.remove_tree(scratch)
        scratch.mkdir()
        units = [self._unit(name) for name in names if not name.startswith(EARLIER_PREFIX)]
        earlier = [
            EarlierCorpus(
                printable(name),
                tuple(
                    self._unit(unit).fingerprints
                    for unit in names
                    if unit.startswith(f"{EARLIER_PREFIX}{position:03d}-")
                ),
            )
            for position, name in enumerate(self._plan.duplicates.against)
        ]
        sources = [source.name for source in self._sources]
        return decide(self._plan, units, sources, earlier, scratch, self._progress)

    def _unit(self, name: str) -> UnitFiles:
        return UnitFiles(self._workspace.units, name)

    def write_corpus(self, decisions: Decisions) -> CorpusTally:
        """Write the parts, put them together, and account for them."""
        parts = self._workspace.path / "parts"
        parts.mkdir(exist_ok=True)
        arguments = (self._workspace.units, parts, decisions.boilerplate)
        for _ in self._runner.run("write", None, decisions.jobs(), PartWriter, *arguments):
            pass
        tally = CorpusTally()
        result = self._workspace.result
        with CorpusWriter(result, self._settings.num_workers) as writer:
            for unit in decisions.units:
                self._progress.check()
                part = PartFiles(parts, unit.name)
                account = PartAccount.read(part.account)
                writer.add_kept(part.documents, account.num_document_bytes)
                writer.add_dropped(part.dropped, account.num_dropped_bytes)
                tally.add_json(account.tally)
        # Conservation: what was read is what was kept, dropped or marked.
        num_records = sum(UnitIndex.read(unit.index).num_records for unit in decisions.units)
        assert tally.all.total == num_records, (tally.all, num_records)
        self._check_shares(tally)
        decisions.write_pairs(result)
        origin = CorpusOrigin(self._plan, sampled_from=self._num_seen, meant=self._meant_to_drop)
        write_corpus_report(result, tally, origin)
        return tally

    def _check_shares(self, tally: CorpusTally) -> None:
        """Warn where one rule dropped much of a language or a source, or refuse it."""
        if not tally.all.kept:
            dropped = ", ".join(f"{rule} {count}" for rule, count in tally.all.by_rule())
            raise _RefusedError(
                f"no document is left: all {tally.all.total} were dropped ({dropped}); "
                "loosen these rules of `clean`, or give it other inputs"
            )
        bound = self._plan.max_drop
        share = WARNED_SHARE if bound is None else bound
        lines: dict[str, list[str]] = {}
        for found in large_shares(tally, share, meant=self._meant_to_drop):
            lines.setdefault(found.rule, []).append(
                f"{found.count} of {found.total} documents in {found.name or 'all'}"
            )
        shown = [f"{rule} dropped {', '.join(where)}" for rule, where in lines.items()]
        if bound is not None and shown:
            listed = "\n  ".join(shown)
            raise _RefusedError(
                f"more than clean.max_drop = {bound:g} allows:\n  {listed}\nloosen the rule, or "
                "raise clean.max_drop; nothing was published"
            )
        for line in shown:
            self._progress.warn(
                f"{line}; see samples_of_dropped in the corpus's report, and loosen the rule if "
                "they look sound"
            )

    @property
    def _meant_to_drop(self) -> frozenset[str]:
        """Rules that drop because they were told to, and are no cause for a warning."""
        if not self._plan.duplicates.against:
            return MEANT_TO_DROP
        return MEANT_TO_DROP | {EXACT_DUPLICATE, NEAR_DUPLICATE}


def _counts(tally: CorpusTally) -> dict[str, Any]:
    return {
        **tally.all.as_json(),
        "languages": {
            language: counts.kept for language, counts in tally.languages.items() if counts.kept
        },
    }


def _warn_of_left_out(sources: Sequence[Source], progress: Progress) -> None:
    for source in sources:
        if source.left_out:
            names = ", ".join(source.left_out[:_PLACES_SHOWN])
            more = ", …" if len(source.left_out) > _PLACES_SHOWN else ""
            progress.warn(
                f"{len(source.left_out)} files of unknown kinds are left out: {names}{more}; "
                f"known are {KNOWN_KINDS}"
            )
