"""The JAX row of benchmarks/speed.py: one jitted scan per epoch; waits for a line, takes an epoch, prints its seconds.

python benchmarks/speed_jax.py CASE STEPS CLOCK DATA, with CASE as speed_rows.Case.text() writes it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from speed_data import images

Array = jax.Array


def layers(key: Array, sizes: list[int]) -> list[tuple[Array, Array]]:
    keys = jax.random.split(key, len(sizes))
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [(jax.random.uniform(k, (a, b), minval=-1, maxval=1) * a**-0.5, jnp.zeros(b)) for k, a, b in pairs]


def network(weights: list[tuple[Array, Array]], x: Array, activation: str) -> Array:
    act = jnp.tanh if activation == "tanh" else jax.nn.relu
    for w, b in weights[:-1]:
        x = act(x @ w + b)
    w, b = weights[-1]
    return x @ w + b


def loss_of(weights: Any, x: Array, key: Array, case: dict[str, Any]) -> Array:
    draws = case["samples"] * case["k"]
    loc, log_scale = jnp.split(network(weights[0], x, case["activation"]), 2, -1)
    noise = jax.random.normal(key, (draws, *loc.shape))
    z = loc + jnp.exp(log_scale) * noise
    out = network(weights[1], z.reshape(-1, z.shape[-1]), case["activation"]).reshape(draws, *x.shape)
    if case["bernoulli"]:
        log_px = (x * out - jax.nn.softplus(out)).sum(-1)
    else:
        log_px = -0.5 * (jnp.square(x - out).sum(-1) + x.shape[-1] * 1.8378770664093453)
    if case["k"] > 1:
        log_ratio = (0.5 * (noise**2 - z**2) + log_scale).sum(-1)
        return -jax.nn.logsumexp(log_px + log_ratio, 0).mean()
    kl = 0.5 * (loc**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale).sum(-1)
    return kl.mean() - log_px.mean()


def adam(w: Array, g: Array, m: Array, v: Array, t: Array) -> tuple[Array, Array, Array]:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return w - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def main(text: str, steps: str, clock_name: str, folder: str) -> None:
    case, clock = json.loads(text), time.process_time if clock_name == "cpu" else time.perf_counter
    inner, n = case["widths"], int(steps) * case["batch"]
    keys = jax.random.split(jax.random.key(0), 3)
    weights = (layers(keys[0], [*inner[:-1], 2 * inner[-1]]), layers(keys[1], inner[::-1]))
    pictures = inner[0] == 784
    data = jnp.asarray(images(folder, n)) if pictures else jax.random.uniform(keys[2], (n, inner[0]))

    def step(carry: Any, index: Array) -> tuple[Any, Array]:
        weights, m, v, t, key = carry
        key, one, two = jax.random.split(key, 3)
        x = data[index] / 255 if pictures else data[index]
        x = jax.random.bernoulli(one, x).astype(x.dtype) if case["dynamic"] else x
        loss, gradient = jax.value_and_grad(loss_of)(weights, x, two, case)
        found = jax.tree.map(lambda *values: adam(*values, t), weights, gradient, m, v)
        weights, m, v = (jax.tree.map(lambda one, i=i: one[i], found, is_leaf=is_step) for i in range(3))
        return (weights, m, v, t + 1, key), loss

    def is_step(value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == 3

    @jax.jit
    def epoch(carry: Any, key: Array) -> tuple[Any, Array]:
        order = jax.random.permutation(key, n).reshape(int(steps), case["batch"])
        return jax.lax.scan(step, carry, order)

    zero = jax.tree.map(jnp.zeros_like, weights)
    carry: Any = (weights, zero, zero, jnp.float32(1), keys[2])
    carry, losses = epoch(carry, keys[0])
    jax.block_until_ready(losses)
    for i, _ in enumerate(sys.stdin):
        started = clock()
        carry, losses = epoch(carry, jax.random.key(i))
        jax.block_until_ready((carry, losses))
        print(clock() - started, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
