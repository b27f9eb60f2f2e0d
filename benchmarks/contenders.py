"""llmctl and transformers, each in a process of its own that reads and writes when told.

A process each, because the environment that torch reads when it is imported may differ, and
because memory is then theirs alone. `Contender` is the end that tells.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmctl.cli import LONG_SPIN

OURS, PEER = "llmctl", "transformers"
DTYPES = ("bfloat16", "float32")

AS_FOUND: Mapping[str, str] = {}
AS_LLMCTL: Mapping[str, str] = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(LONG_SPIN)}
"""What the command `llmctl` sets; see `llmctl.cli.main`."""

# A core each, no look at the network, no bars.
ALWAYS = {
    "OMP_NUM_THREADS": str(os.cpu_count()),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Written:
    """What one call wrote.

    Attributes:
        seconds: Of the whole call.
        token_ids: Of each row.
        decode_seconds: From the first token to the last, for a single row.
    """

    seconds: float
    token_ids: list[list[int]]
    decode_seconds: float = 0.0


@dataclass(frozen=True)
class Loaded:
    """What loading took.

    Attributes:
        seconds: Until the model can be called, imports left out.
        ready_seconds: Until it has written a token as well: what is read lazily is read then.
        peak_megabytes: Most memory that the process held, imports included.
    """

    seconds: float
    ready_seconds: float
    peak_megabytes: float


class Contender:
    """One of the two, as a context manager that ends its process.

    Args:
        name: `OURS` or `PEER`.
        environment: Beside `ALWAYS`.
        setting: Of the peer: which cache, "dynamic" or "static".
    """

    def __init__(self, name: str, environment: Mapping[str, str], setting: str = "dynamic") -> None:
        self.name = name
        self.environment = environment
        self.setting = setting

    def __enter__(self) -> Contender:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self.name, theirs), daemon=True)
        with _environment(ALWAYS | dict(self.environment)):
            self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def load(self, path: Path, dtype: str) -> Loaded:
        """Load a model, which later calls use."""
        return self._ask("load", path, dtype)

    def write(self, prompts: Sequence[Sequence[int]], num_tokens: Sequence[int]) -> Written:
        """Continue prompts greedily together, each by so many tokens."""
        return self._ask("write", prompts, num_tokens, self.setting)

    def logits(self, text: Sequence[int], num_last: int) -> Any:
        """Return the logits after each of a text's last tokens, read at once, (T, V) float32."""
        return self._ask("logits", text, num_last)

    def _ask(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, arguments))
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit(f"{self.name} failed at {method}") from None


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(name: str, pipe: Any) -> None:
    side = (_Llmctl if name == OURS else _Transformers)()
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(side, method)(*arguments))


def _peak_megabytes() -> float:
    # Not getrusage, whose peak a new process takes over from the one that started it.
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)


class _Llmctl:
    """`LanguageModel`, as a user of the library has it."""

    def __init__(self) -> None:
        from llmctl.core.language_model.language_model import LanguageModel

        self._loader = LanguageModel

    def load(self, path: Path, dtype: str) -> Loaded:
        start = time.perf_counter()
        self._model = self._loader.load(path, device="cpu", dtype=dtype)
        seconds = time.perf_counter() - start
        self.write([[1]], [1], "")
        return Loaded(seconds, time.perf_counter() - start, _peak_megabytes())

    def write(self, prompts: Sequence[Sequence[int]], num_tokens: Sequence[int], _: str) -> Written:
        if len(prompts) > 1:
            return self._write_batch(prompts, num_tokens)
        from llmctl.core.language_model.completion import Prompt
        from llmctl.core.recipe import GeneratePlan

        plan = GeneratePlan(temperature=0.0, max_tokens=num_tokens[0])
        start = time.perf_counter()
        completion = next(iter(self._model.complete([Prompt("", tuple(prompts[0]))], plan, seed=0)))
        seconds = time.perf_counter() - start
        return Written(seconds, [list(completion.token_ids)], completion.decode_seconds)

    def _write_batch(self, prompts: Sequence[Sequence[int]], num_tokens: Sequence[int]) -> Written:
        """Rows of different lengths: what `complete` runs, told of each row's end.

        A plan has one `max_tokens`; a row that is to end earlier is ended as by a stop string.
        """
        from llmctl.core.decoding.generation import Generation
        from llmctl.core.recipe import GeneratePlan

        plan = GeneratePlan(temperature=0.0, max_tokens=max(num_tokens))
        start = time.perf_counter()
        generation = Generation(self._model.model, prompts, plan, seed=0)
        rows: list[list[int]] = [[] for _ in prompts]
        for chosen in generation:
            row = rows[chosen.request]
            row.append(chosen.token_id)
            if len(row) == num_tokens[chosen.request]:
                generation.finish(chosen.request)
        for row in rows:
            self._model.tokenizer.decode_continuation(row)
        return Written(time.perf_counter() - start, rows)

    def logits(self, text: Sequence[int], num_last: int) -> Any:
        import torch

        with torch.inference_mode():
            model = self._model.model
            states_1TD = model.hidden(torch.tensor([text]))[:, -num_last:]
            return model.logits(states_1TD)[0].float().numpy()


class _Transformers:
    """`generate` of an `AutoModelForCausalLM`, scaled dot-product attention, no gradients."""

    def __init__(self) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        self._torch = torch
        self._transformers = transformers

    def load(self, path: Path, dtype: str) -> Loaded:
        start = time.perf_counter()
        self._model = self._transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(self._torch, dtype), attn_implementation="sdpa"
        ).eval()
        self._tokenizer = self._transformers.AutoTokenizer.from_pretrained(path)
        seconds = time.perf_counter() - start
        self.write([[1]], [1], "dynamic")
        return Loaded(seconds, time.perf_counter() - start, _peak_megabytes())

    def write(
        self, prompts: Sequence[Sequence[int]], num_tokens: Sequence[int], setting: str
    ) -> Written:
        torch = self._torch
        longest = max(map(len, prompts))
        times: list[float] = []

        # Called after every token of all rows; a row of which it says True gets padding from
        # then on and is computed along until the last row ends.
        def has_ended(tokens_BT: Any, _: Any, **__: Any) -> Any:
            times.append(time.perf_counter())
            return tokens_BT.shape[1] - longest >= limits_B

        start = time.perf_counter()
        tokens_BT = torch.zeros(len(prompts), longest, dtype=torch.int64)
        mask_BT = torch.zeros_like(tokens_BT)
        for row, prompt in enumerate(prompts):
            tokens_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask_BT[row, longest - len(prompt) :] = 1
        limits_B = torch.tensor(num_tokens)
        with torch.inference_mode():
            result_BT = self._model.generate(
                tokens_BT,
                attention_mask=mask_BT,
                do_sample=False,
                max_new_tokens=max(num_tokens),
                pad_token_id=0,
                stopping_criteria=[has_ended],
                cache_implementation=setting if setting == "static" else None,
            )
        written_BT = result_BT[:, longest:].tolist()
        rows = [row[:limit] for row, limit in zip(written_BT, num_tokens, strict=True)]
        if len(prompts) > 1:
            self._tokenizer.batch_decode(rows)
        seconds = time.perf_counter() - start
        return Written(seconds, rows, times[-1] - times[0])

    def logits(self, text: Sequence[int], num_last: int) -> Any:
        torch = self._torch
        with torch.inference_mode():
            logits = self._model(torch.tensor([text]), logits_to_keep=num_last).logits
            return logits[0].float().numpy()
