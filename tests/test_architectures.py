"""Networks: tensors to tensors of the right shape, for data of any shape that they take."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from conftest import composed

from vaecli.architectures.activations import Activation
from vaecli.architectures.conv import Conv, halvings
from vaecli.build import build_vae, check_data, instantiate, settle, start_at_mean
from vaecli.conf_files import groups
from vaecli.datasets.beta import Beta
from vaecli.datasets.digits import Digits
from vaecli.datasets.split import Split
from vaecli.errors import UserError
from vaecli.vae import VAE

OPTIONS = groups()["architecture"]
IMAGES = [(1, 8, 8), (1, 28, 28), (3, 7, 13), (1, 1, 5), (3, 32, 31), (2, 1, 1)]
CURVES = [(100,), (1,)]


def make(option: str, *overrides: str) -> Any:
    return instantiate(composed(f"architecture={option}", *overrides), "architecture")


def check_shapes(architecture: Any, x_shape: tuple[int, ...]) -> None:
    encoder, decoder = architecture.encoder(x_shape, 14), architecture.decoder(7, 2, x_shape)
    for batch in (1, 5):
        assert encoder(torch.rand(batch, *x_shape)).shape == (batch, 14)
        assert decoder(torch.randn(batch, 7)).shape == (batch, 2, *x_shape)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("x_shape", IMAGES)
def test_images_of_any_size(option: str, x_shape: tuple[int, ...]) -> None:
    check_shapes(make(option), x_shape)


@pytest.mark.parametrize("x_shape", CURVES)
def test_curves(x_shape: tuple[int, ...]) -> None:
    check_shapes(make("mlp"), x_shape)


@pytest.mark.parametrize("x_shape", [(100,), (8, 8), (1, 2, 8, 8)])
def test_conv_refuses_what_is_no_image(x_shape: tuple[int, ...]) -> None:
    for build in (lambda: Conv().encoder(x_shape, 4), lambda: Conv().decoder(2, 1, x_shape)):
        with pytest.raises(UserError, match="architecture=mlp") as refused:
            build()
        assert str(x_shape) in str(refused.value)


@pytest.mark.parametrize("hidden", [[], [3], [30, 20, 10]])
def test_mlp_widths(hidden: list[int]) -> None:
    architecture = make("mlp", f"architecture.hidden={hidden}".replace(" ", ""))
    check_shapes(architecture, (1, 4, 4))
    widths = [layer.out_features for layer in architecture.encoder((16,), 6) if hasattr(layer, "out_features")]
    assert widths == [*hidden, 6]
    body = architecture.decoder(2, 1, (16,)).body
    assert [layer.out_features for layer in body if hasattr(layer, "out_features")] == hidden[::-1]


@pytest.mark.parametrize("channels", [[4], [4, 6, 8], [2, 2, 2, 2, 2, 2]])
@pytest.mark.parametrize("hidden", [0, 9])
def test_conv_widths(channels: list[int], hidden: int) -> None:
    for x_shape in ((1, 8, 8), (3, 7, 13)):
        check_shapes(Conv(channels, hidden), x_shape)


def test_conv_halves_the_image() -> None:
    assert halvings(28, 3) == [28, 14, 7, 4]
    features = torch.rand(1, 1, 28, 28)
    for layer, size in zip([*Conv([4, 5]).encoder((1, 28, 28), 2).children()][:4:2], (14, 7), strict=True):
        features = layer(features)
        assert features.shape[-2:] == (size, size)


def test_conv_without_channels_is_refused() -> None:
    with pytest.raises(UserError, match=r"architecture\.channels"):
        make("conv", "architecture.channels=[]")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation(option: str, activation: str) -> None:
    check_shapes(make(option, f"architecture.activation={activation}"), (1, 5, 4))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("x_shape", [(1, 8, 8), (3, 7, 13)])
def test_every_pixel_of_the_input_is_seen_and_of_the_output_reached(option: str, x_shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    architecture = make(option, "architecture.activation=tanh")
    x, z = torch.rand(8, *x_shape, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    architecture.encoder(x_shape, 4)(x).square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(0) > 0).all())
    assert bool((architecture.decoder(4, 1, x_shape)(z).std(0) > 0).all())


def start(option: str, decoder: str, split: Split) -> tuple[VAE, torch.Tensor]:
    """A model that starts at the data's mean, and what its output bias alone decodes to."""
    torch.manual_seed(0)
    config = settle(composed(f"architecture={option}", f"decoder={decoder}"), split)
    model = build_vae(config, split.x_shape)
    start_at_mean(model, split)
    network: Any = model.decoder_network
    bias = network.output.bias.detach().unflatten(0, (model.decoder.n_params, -1))
    params = bias.reshape(*bias.shape, 1, 1) if option == "conv" else bias
    params = params.expand(-1, *split.x_shape) if option == "conv" else params.reshape(-1, *split.x_shape)
    return model, model.decoder(*params).mean


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square."""
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize("dataset", ["digits", "beta"])
@pytest.mark.parametrize("decoder", groups()["decoder"])
def test_mlp_starts_at_the_data_s_mean(dataset: str, decoder: str) -> None:
    split = (Digits() if dataset == "digits" else Beta(size=1000)).load().train
    try:
        config = settle(composed(f"decoder={decoder}"), split)
        check_data(build_vae(config, split.x_shape).decoder, split, None)
    except UserError:
        assert dataset == "beta"
        return
    model, biased = start("mlp", decoder, split)
    kept_finite = 0.01 if decoder == "continuous_bernoulli" else 1e-3
    assert float((biased - split.mean()).abs().max()) <= 1.001 * kept_finite
    with torch.no_grad():
        near = distance(model.sample(1000).mean.mean(0), split.mean())
    untouched = build_vae(config, split.x_shape)
    with torch.no_grad():
        far = distance(untouched.sample(1000).mean.mean(0), split.mean())
    assert near < far / 2


@pytest.mark.parametrize("decoder", groups()["decoder"])
def test_conv_starts_at_the_mean_over_the_image(decoder: str) -> None:
    """A convolution has one bias for all pixels: near their mean, and on it where the mean is linear in the bias."""
    split = Digits().load().train
    _, biased = start("conv", decoder, split)
    biased_mean, mean = float(biased.mean()), float(split.mean().mean())
    assert mean / 3 < biased_mean < 2 * mean
    assert decoder == "bernoulli" or biased_mean == pytest.approx(mean)
