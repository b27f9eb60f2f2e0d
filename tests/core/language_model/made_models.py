"""Small models of every public family, made by transformers, every parameter of which matters.

They stand beside a tokenizer in a directory, as they would on the Hub.
"""

import copy
import json
import math

import torch
import transformers
from core.language_model.family_cases import CASES, COMMON, DEFAULTED, FULL, GPT2, SLIDING


def make(case_id, directory, tokenizer_path):
    """Write the case's model and tokenizer into a directory; return transformers' model."""
    case = CASES[case_id]
    settings = (GPT2 if case.model_type == "gpt2" else COMMON) | case.settings
    if case.bare:
        settings = {name: settings[name] for name in settings if name not in DEFAULTED}
    # A config keeps and changes the dictionaries that it is given.
    settings = copy.deepcopy(settings)
    config = transformers.AutoConfig.for_model(case.model_type, **settings)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    redraw(model, is_centred=case.model_type.startswith("gemma"))
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_bytes(tokenizer_path.read_bytes())
    path = directory / "config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    if case.old:
        saved = old_spelling(saved)
    if case.bare:
        saved = {name: saved[name] for name in saved if name not in DEFAULTED}
    path.write_text(json.dumps(saved), encoding="utf-8")
    return model.eval()


def redraw(model, *, is_centred, seed=0):
    """Fill every parameter so that none is 0 or 1 and each is seen in the logits.

    Args:
        model: Changed in place.
        is_centred: Gains of norms are stored less 1.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 and "bias" in name:
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 1:
                # Norms of what gemma's blocks add: large, or each token but repeats itself.
                gain = 1.0 if not is_centred else 2.0 if "post_" in name else 0.0
                parameter.copy_(0.3 * noise + gain)
            elif "wpe" in name:
                parameter.copy_(noise)
            elif "embed" in name or "wte" in name:
                parameter.copy_(0.25 * noise)
            else:
                # gpt2 stores its matrices the other way about.
                is_turned = model.config.model_type == "gpt2" and "lm_head" not in name
                parameter.copy_(1.2 * noise / math.sqrt(parameter.shape[-2 if is_turned else -1]))


def old_spelling(config):
    """Return a config as transformers 4 wrote it, for the same model."""
    old = {name: value for name, value in config.items() if value is not None}
    old["torch_dtype"] = old.pop("dtype")
    old["transformers_version"] = "4.38.0"
    old.pop("layer_types", None)
    old.pop("_sliding_window_pattern", None)
    if "num_local_experts" in old:
        old["num_experts"] = old.pop("num_local_experts")
    parameters = old.pop("rope_parameters", None)
    if parameters is None:
        return old
    is_nested = FULL in parameters
    if is_nested:
        local = parameters[SLIDING]
        if old["model_type"] == "gemma3_text":
            old["rope_local_base_freq"] = local["rope_theta"]
        parameters = parameters[FULL]
    parameters = dict(parameters)
    old["rope_theta"] = parameters.pop("rope_theta")
    factor = parameters.pop("partial_rotary_factor", 1.0)
    if factor != 1.0:
        old["partial_rotary_factor"] = factor
    rope_type = parameters.pop("rope_type")
    if rope_type == "default":
        old["rope_scaling"] = None
        return old
    if old["model_type"] == "phi3":
        parameters.pop("original_max_position_embeddings")  # it stands at the top
    # The key's name changed in 4.43; what is younger knows the new one only.
    key = "rope_type" if rope_type == "llama3" or is_nested else "type"
    old["rope_scaling"] = {key: rope_type, **parameters}
    return old
