"""Attention by hand, then the promises of the cache.

B batch, T time, D width, H query heads, G key heads, K head width.
"""

import math

import pytest
import torch

from llmctl.core.model.architecture import Architecture, Layer
from llmctl.core.model.attention import Attention
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.reading import Reading
from llmctl.core.model.rotary import Rotary
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import ModelShape

SHAPE = ModelShape(
    num_layers=2,
    width=24,
    num_heads=4,
    num_key_value_heads=2,
    head_width=8,
    mlp_width=40,
    context_tokens=16,
    rotary_base=100.0,
)
VOCAB_SIZE = 30


def redrawn(shape=SHAPE, vocab_size=VOCAB_SIZE, seed=0):
    """A model every parameter of which matters: none is 0, no gain is 1."""
    model = Transformer(Architecture.from_shape(shape, vocab_size))
    initialise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


def random_tokens(*shape, seed=1):
    return torch.randint(VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


def attention_by_hand(width=2, num_heads=1, num_key_value_heads=1):
    shape = SHAPE.model_copy(
        update={
            "width": width,
            "num_heads": num_heads,
            "num_key_value_heads": num_key_value_heads,
            "head_width": 2,
            "norm_epsilon": 1e-12,
        }
    )
    architecture = Architecture.from_shape(shape, VOCAB_SIZE)
    return Attention(architecture, Layer(scale=2**-0.5), 0)


def reading(num_tokens):
    """One pass over a row, without positions."""
    return Reading([0], num_tokens, [num_tokens], cache=None, tables=None, device="cpu")


def part(attention, name):
    """The rows of one projection in the fused one."""
    return attention.qkv.weight[dict(attention.qkv.rows())[name]]


def test_matches_hand_worked_softmax():
    attention = attention_by_hand()
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.eye(2).repeat(3, 1))
        attention.output.weight.copy_(torch.eye(2))
        x_BTD = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
        mixed = attention(x_BTD, reading(2))

    # Normalised, the two tokens are (√2, 0) and (0, √2): the second's product with the first
    # is 0, with itself 2, each over √2. The first sees only itself.
    weight = math.exp(2 / math.sqrt(2)) / (1 + math.exp(2 / math.sqrt(2)))
    assert mixed[0, 0].tolist() == pytest.approx([1.0, 0.0])
    assert mixed[0, 1].tolist() == pytest.approx([1 - weight, 3 * weight], rel=1e-5)


def test_each_key_head_serves_its_group_of_queries():
    attention = attention_by_hand(width=2, num_heads=4, num_key_value_heads=2)
    with torch.no_grad():
        part(attention, "query").normal_(generator=torch.Generator().manual_seed(0))
        part(attention, "key").normal_(generator=torch.Generator().manual_seed(1))
        # One token sees only itself: a head's output is its key head's value.
        part(attention, "value").copy_(torch.tensor([[1.0, 0], [0, 1], [10, 0], [0, 10]]))
        attention.output.weight.copy_(torch.tensor([[1.0, 0, 2, 0, 4, 0, 8, 0], [0.0] * 8]))
        mixed = attention(torch.tensor([[[1.0, 1.0]]]), reading(1))

    assert mixed[0, 0, 0].item() == pytest.approx(1 + 2 + 40 + 80)


def test_no_token_sees_a_later_one():
    model = redrawn()
    tokens_BT = random_tokens(1, 12)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 7] = (changed_BT[0, 7] + 1) % VOCAB_SIZE

    with torch.no_grad():
        before, after = model(tokens_BT), model(changed_BT)

    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param([12], id="whole"),
        pytest.param([5, 7], id="two chunks"),
        pytest.param([4, 1, 3, 1, 1, 2], id="chunks and single tokens"),
        pytest.param([1] * 12, id="token by token"),
    ],
)
def test_cached_equals_uncached(cuts):
    model = redrawn()
    tokens_BT = random_tokens(3, 12)
    cache = KeyValueCache(Architecture.from_shape(SHAPE, 100), 3, 12)

    with torch.no_grad():
        expected = model(tokens_BT)
        cached = torch.cat([model(part, cache) for part in tokens_BT.split(cuts, dim=1)], dim=1)

    torch.testing.assert_close(cached, expected, atol=1e-5, rtol=1e-5)
    assert cache.lengths == [12, 12, 12]


def test_rows_of_different_lengths_equal_rows_alone():
    model = redrawn()
    lengths = [3, 9, 1]
    tokens_BT = random_tokens(3, 14)
    cache = KeyValueCache(Architecture.from_shape(SHAPE, 100), 3, 14)

    with torch.no_grad():
        first = model(tokens_BT[:, :9], cache)
        cache.truncate(lengths)
        steps = []
        for step in range(4):
            places = torch.tensor(lengths) + step
            steps.append(model(tokens_BT[torch.arange(3), places][:, None], cache))
        decoded = torch.cat(steps, dim=1)
        for row, length in enumerate(lengths):
            alone = model(tokens_BT[row : row + 1, : length + 4])[0]
            torch.testing.assert_close(first[row, :length], alone[:length], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(decoded[row], alone[length:], atol=1e-5, rtol=1e-5)


def test_kept_rows_go_on_as_before():
    model = redrawn()
    tokens_BT = random_tokens(3, 8)
    cache = KeyValueCache(Architecture.from_shape(SHAPE, 100), 3, 8)

    with torch.no_grad():
        model(tokens_BT[:, :6], cache)
        cache.keep([2, 0])
        kept = model(tokens_BT[[2, 0], 6:], cache)
        expected = model(tokens_BT)[[2, 0], 6:]

    torch.testing.assert_close(kept, expected, atol=1e-5, rtol=1e-5)


def test_cache_refuses_what_does_not_fit():
    cache = KeyValueCache(Architecture.from_shape(SHAPE, 100), 2, 4)
    cache.extend(2, 3)

    with pytest.raises(ValueError, match="the cache holds 2 rows, got 3"):
        cache.extend(3, 1)
    with pytest.raises(ValueError, match="5 tokens do not fit into 4 slots"):
        cache.extend(2, 2)
    with pytest.raises(ValueError, match="the cache holds 2 rows, got 1"):
        cache.truncate([1])
    with pytest.raises(ValueError, match=r"rows of \[3, 3\] tokens cannot be cut to \[3, 4\]"):
        cache.truncate([3, 4])


def test_context_is_a_limit():
    model = redrawn()

    with pytest.raises(ValueError, match="17 tokens exceed the model's context of 16"):
        model(random_tokens(1, 17))


def test_rotary_by_hand():
    cosines_TK, signed_sines_TK = Rotary(100.0, 4).tables(3)

    # Frequencies 1 and 1/10; dimension 0 pairs with 2, and 1 with 3.
    angles = [2 * 1.0, 2 * 0.1]
    assert cosines_TK[2].tolist() == pytest.approx([math.cos(a) for a in angles * 2])
    assert signed_sines_TK[2].tolist() == pytest.approx(
        [-math.sin(angles[0]), -math.sin(angles[1]), math.sin(angles[0]), math.sin(angles[1])]
    )


def test_tables_made_while_generating_serve_training():
    model = redrawn()
    with torch.inference_mode():
        model(random_tokens(1, 8))

    model(random_tokens(1, 8)).sum().backward()

    assert model.output_weight.grad is not None
