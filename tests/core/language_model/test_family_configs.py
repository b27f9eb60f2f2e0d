"""Any value in any field of any family's config.json: read, or refused; nothing else, and soon."""

import copy
import math

import pytest
from core.language_model.family_cases import CASES, COMMON, DEFAULTED, FULL, GPT2, SLIDING
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import FAMILIES
from llmctl.core.language_model.families.config_fields import number
from llmctl.core.language_model.families.rotary_fields import read_rotary

VALUES = [
    ...,  # the field is missing
    *(None, True, "x", [], {}, [None], [{}], {"rope_type": []}),
    *(-1, 0, 1, 2**20, 2**31 - 1, 2**60, 10**400),
    *(-0.0, 0.5, 5e-324, 1e-300, 1e300, 1e308, math.inf, math.nan),
]
ROTARY_FIELDS = {
    *("rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "attention_factor"),
    *("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    *("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
    *("short_factor", "long_factor"),
}
FIELDS = sorted(
    DEFAULTED
    | ROTARY_FIELDS
    | COMMON.keys()
    | GPT2.keys()
    | {
        *("rope_scaling", "rope_local_base_freq", "sliding_window_pattern"),
        *("_sliding_window_pattern", "quantization_config", "add_cross_attention", "n_ctx"),
        *("num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size"),
    }
)
MAIN = [case_id for case_id, case in CASES.items() if case.is_main]
SCALED = [
    *("llama-linear", "llama-dynamic", "llama-llama3", "llama-yarn-betas", "llama-yarn-mscale"),
    *("phi3-longrope", "gemma3", "olmo3"),
]
MOST_DIMENSIONS = 64


def config_of(case_id):
    case = CASES[case_id]
    return copy.deepcopy((GPT2 if case.model_type == "gpt2" else COMMON) | case.settings)


def put(config, value, *path):
    """Return the config with another value at a path of keys."""
    changed = copy.deepcopy(config)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    if value is ...:
        del inner[path[-1]]
    return changed


def check(model_type, config):
    """Read a config, and turn positions as it says; only a DataError may come of it."""
    try:
        architecture = FAMILIES[model_type].read(config)
    except DataError as error:
        message = str(error)
        assert message.startswith("config.json: ")
        assert len(message) < 400
        return
    for rotary in {layer.rotary for layer in architecture.layers} - {None}:
        for num_tokens in (4, 10**6):
            if rotary.num_dimensions <= MOST_DIMENSIONS:
                rotary.tables(2, rotary.scaling.regime(num_tokens))


def failures(model_type, configs):
    """What else came of them; `configs` are named."""
    found = []
    for name, config in configs:
        try:
            check(model_type, config)
        except Exception as error:  # a finding
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found


@pytest.mark.parametrize("case_id", CASES)
def test_the_cases_are_good_ones(case_id):
    FAMILIES[CASES[case_id].model_type].read(config_of(case_id))


@pytest.mark.parametrize("case_id", MAIN)
def test_any_value_in_any_field(case_id):
    config = config_of(case_id)
    changed = (
        (f"{field}={value!r:.20}", put(config, value, field))
        for field in FIELDS
        for value in VALUES
        if value is not ... or field in config
    )

    assert failures(CASES[case_id].model_type, changed) == []


@pytest.mark.parametrize("case_id", SCALED)
def test_any_value_in_any_field_of_the_rotary_positions(case_id):
    config = config_of(case_id)
    parameters = config["rope_parameters"]
    paths = [("rope_parameters",)]
    if FULL in parameters:
        paths = [("rope_parameters", kind) for kind in (FULL, SLIDING)]
    changed = (
        (f"{path[-1]}.{field}={value!r:.20}", put(config, value, *path, field))
        for path in paths
        for field in sorted(ROTARY_FIELDS)
        for value in VALUES
        if value is not ... or field in parameters.get(path[-1], parameters)
    )

    assert failures(CASES[case_id].model_type, changed) == []


@pytest.mark.parametrize("case_id", ["llama-linear", "phi3-longrope", "gemma3"])
@settings(max_examples=60, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES[1:]), max_size=3),
    rotary=st.dictionaries(
        st.sampled_from(sorted(ROTARY_FIELDS)),
        st.sampled_from([*VALUES[1:], "yarn", "dynamic", "longrope", "llama3", "linear"]),
        max_size=4,
    ),
)
def test_several_at_once(case_id, changes, rotary):
    config = config_of(case_id)
    parameters = config["rope_parameters"]
    parameters.get(FULL, parameters).update(rotary)

    check(CASES[case_id].model_type, config | changes)


# ------------------------------------------------------------------ what is said of it


@pytest.mark.parametrize("value", [1e-30, 1, 1e30])
def test_numbers_of_sense(value):
    assert number({"x": value}, "x") == value


@pytest.mark.parametrize("value", [1e-31, 1e31, 1e308, 10**400, 5e-324, math.nan, math.inf, -1, 0])
def test_numbers_beyond_all_sense(value):
    message = r"^config.json: x: expected a positive number, found .*; 1e-30 to 1e\+30 are read$"

    with pytest.raises(DataError, match=message):
        number({"x": value}, "x")


@pytest.mark.parametrize("theta", [1, 1.0, 0.5])
@pytest.mark.parametrize("kind", ["default", "yarn"])
def test_a_base_that_leaves_no_frequencies(kind, theta):
    parameters = {"rope_type": kind, "rope_theta": theta, "factor": 2.0}

    with pytest.raises(DataError, match=f"rope_theta: expected more than 1, found {theta:g}"):
        read_rotary(COMMON, 8, parameters=parameters)


@pytest.mark.parametrize(
    ("case_id", "field"), [("llama", "num_hidden_layers"), ("gpt2", "n_layer")]
)
def test_layers_beyond_all_sense(case_id, field):
    family, config = FAMILIES[CASES[case_id].model_type], config_of(case_id)

    assert len(family.read(config | {field: 4096}).layers) == 4096
    with pytest.raises(DataError, match=f"{field}: expected a whole number from 1 to 4096, found"):
        family.read(config | {field: 4097})
