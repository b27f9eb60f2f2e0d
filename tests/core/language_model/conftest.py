"""A tokenizer and small models every parameter of which matters."""

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers

from llmctl.core.language_model.language_model import LanguageModel, write_language_model
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import ModelShape
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

SHAPE = ModelShape(
    num_layers=2,
    width=32,
    num_heads=4,
    num_key_value_heads=2,
    head_width=8,
    mlp_width=48,
    context_tokens=48,
    rotary_base=500.0,
)
VOCAB_SIZE = 300
TEXTS = [
    "The world is all that is the case.",
    "世界就是所发生的一切东西。",
    "Naïve café — 你好, world!",
]


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def redraw(model, seed):
    """Fill a model so that no parameter is 0 and no gain is 1, the logits well spread."""
    initialise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.25)
    return model.eval()


@pytest.fixture(scope="session")
def make_model():
    """(shape changes) → a redrawn Transformer."""

    def make(seed=0, **changes):
        return redraw(
            Transformer(Architecture.from_shape(SHAPE.model_copy(update=changes), VOCAB_SIZE)), seed
        )

    return make


@pytest.fixture(scope="session")
def language_model(make_model, tokenizer_path):
    return LanguageModel(make_model(), Tokenizer.from_file(tokenizer_path))


@pytest.fixture
def model_directory(tmp_path, make_model, tokenizer_path):
    """A written model, to be changed at will."""
    directory = tmp_path / "model"
    directory.mkdir()
    write_language_model(directory, make_model(), tokenizer_path, "# A card\n")
    return directory
