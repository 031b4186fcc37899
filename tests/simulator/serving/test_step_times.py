"""Step times of language models against Vidur's measured kernel times."""

from __future__ import annotations

from statistics import mean

import pytest

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.serving.steps import HOST_SECONDS, StepTimes, layer_seconds

TOKENS = (1, 16, 64, 128, 256, 512, 1024, 2048, 4096)
LAYERS = {"7b": (4096.0, 4 * 4096.0**2 + 3 * 4096.0 * 11008), "70b": (8192.0, 2.25 * 8192.0**2 + 3 * 8192.0 * 28672)}
"""Width and parameters of a layer of Llama-2."""
MEASURED = {
    ("H100", "7b"): {
        1: (0.175, 0.181, 0.183, 0.199, 0.286, 0.375, 0.657, 1.260, 2.608),
        2: (0.100, 0.104, 0.110, 0.117, 0.143, 0.222, 0.373, 0.703, 1.377),
        4: (0.064, 0.064, 0.071, 0.078, 0.093, 0.135, 0.237, 0.418, 0.791),
        8: (0.041, 0.048, 0.052, 0.058, 0.069, 0.096, 0.151, 0.273, 0.517),
    },
    ("H100", "70b"): {
        1: (0.625, 0.615, 0.634, 0.648, 0.764, 1.256, 2.935, 5.376, 11.017),
        2: (0.319, 0.323, 0.336, 0.351, 0.407, 0.709, 1.440, 2.659, 5.429),
        4: (0.179, 0.181, 0.191, 0.199, 0.240, 0.375, 0.776, 1.382, 2.784),
        8: (0.105, 0.107, 0.112, 0.125, 0.144, 0.221, 0.408, 0.797, 1.520),
    },
    ("A100", "7b"): {
        1: (0.290, 0.287, 0.303, 0.383, 0.557, 1.042, 2.123, 4.169, 8.075),
        2: (0.157, 0.160, 0.167, 0.235, 0.330, 0.563, 1.012, 2.131, 3.973),
        4: (0.098, 0.099, 0.104, 0.128, 0.206, 0.318, 0.553, 1.059, 2.109),
        8: (0.069, 0.069, 0.074, 0.092, 0.124, 0.183, 0.327, 0.619, 1.259),
    },
}
"""Milliseconds of a layer's kernels (medians, without attention) by tensor-parallel GPUs, for `TOKENS` at once

(Agrawal et al., Vidur, MLSys 2024: mlp.csv of microsoft/vidur, MIT licence)."""


@pytest.mark.parametrize(("gpu", "model"), MEASURED)
def test_a_layer_takes_as_long_as_measured(gpu: str, model: str) -> None:
    """Within 6% on average, and always within 30% (where a matrix size suits the kernels badly)."""
    hidden, weights = LAYERS[model]
    errors = [
        abs(1e3 * layer_seconds(MODELS[gpu], weights, hidden, tokens, gpus) / measured - 1.0)
        for gpus, row in MEASURED[gpu, model].items()
        for tokens, measured in zip(TOKENS, row, strict=True)
    ]
    assert mean(errors) < 0.06
    assert max(errors) < 0.30


def test_decoding_is_bound_by_reading_the_weights_and_prompts_by_multiplying() -> None:
    """26 GB of a 13-billion-parameter model at 3.35 TB/s take 7.8 ms; 8,192 tokens need 2 · 13 GFLOP each."""
    steps = StepTimes(MODELS["H100"], 13.0, 819_200.0, 1)
    decode = steps.decode_seconds(1, 1000)
    prompt = steps.seconds(0, 0, [(8192, 0)])
    assert 7.8e-3 < decode < 13e-3
    assert 8192 * 26e9 / 989e12 < prompt < 2.0 * 8192 * 26e9 / 989e12
    work = steps.work(decode, 1, 1, 1000.0)
    assert work.dram > 0.6 > 0.05 > work.tensor
    work = steps.work(prompt, 1, 8192, 0.0)
    assert work.tensor > 0.5 > work.dram
    assert work.sm == pytest.approx(1.0 - HOST_SECONDS / prompt)


def test_more_context_costs_its_reading_time() -> None:
    """Each further token of context adds its KV cache over the bandwidth."""
    steps = StepTimes(MODELS["A100"], 13.0, 819_200.0, 1)
    more = steps.decode_seconds(8, 20_000) - steps.decode_seconds(8, 10_000)
    assert more == pytest.approx(10_000 * 819_200.0 / (0.85 * 2.039e12))


def test_a_prompt_in_parts_costs_more_than_at_once() -> None:
    """The products are the same, but the weights and the earlier part are read again."""
    steps = StepTimes(MODELS["H100"], 13.0, 819_200.0, 1)
    parts = sum(steps.seconds(0, 0, [(1024, earlier)]) for earlier in range(0, 8192, 1024))
    assert parts > steps.seconds(0, 0, [(8192, 0)])


@pytest.mark.parametrize(("model", "link"), [("H100", "nvlink"), ("L40S", "pcie")])
def test_several_gpus_are_faster_with_diminishing_returns(model: str, link: str) -> None:
    """They exchange activations over NVLink, or over PCIe without NVLink."""
    one, four = (StepTimes(MODELS[model], 13.0, 819_200.0, gpus) for gpus in (1, 4))
    alone, together = one.seconds(16, 8000, []), four.seconds(16, 8000, [])
    assert alone / 4.0 < together < alone
    assert getattr(one.work(alone, 1, 16, 8000.0), link) == 0.0
    assert getattr(four.work(together, 1, 16, 8000.0), link) > 0.0
