"""Networks: tensors to tensors of the right shape, for data of any shape that they take."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from support.configurations import composed
from support.making import build_vae, fill_from_data, instantiate
from support.thinned import each_once

from vaecli.architectures.activations import Activation
from vaecli.architectures.conv import Conv, halvings
from vaecli.architectures.resnet import Norm, ResidualBlock, normalised
from vaecli.config.catalog import groups
from vaecli.datasets.beta import Beta
from vaecli.datasets.digits import Digits
from vaecli.datasets.split import Split
from vaecli.models.build import check_data, initialise_output_bias
from vaecli.models.vae import VAE
from vaecli.utils.errors import UserError

OPTIONS = groups()["architecture"]
DENSE, CONVOLUTIONAL = ("mlp", "gated_mlp"), ("conv", "resnet")
DECODERS = [name for name in groups()["decoder"] if name != "columns"]  # that score images
ACTIVATED = [option for option in OPTIONS if "activation" in composed(f"architecture={option}")["architecture"]]
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


@pytest.mark.parametrize("option", DENSE)
@pytest.mark.parametrize("x_shape", CURVES)
def test_curves(option: str, x_shape: tuple[int, ...]) -> None:
    check_shapes(make(option), x_shape)


@pytest.mark.parametrize("option", CONVOLUTIONAL)
@pytest.mark.parametrize("x_shape", [(100,), (8, 8), (1, 2, 8, 8)])
def test_convolutions_refuse_what_is_no_image(option: str, x_shape: tuple[int, ...]) -> None:
    architecture = make(option)
    for build in (lambda: architecture.encoder(x_shape, 4), lambda: architecture.decoder(2, 1, x_shape)):
        with pytest.raises(UserError, match=f"architecture={option} .*use architecture=mlp") as refused:
            build()
        assert str(x_shape) in str(refused.value)


@pytest.mark.parametrize(("option", "factor"), [("mlp", 1), ("gated_mlp", 2)])
@pytest.mark.parametrize("hidden", [[], [3], [30, 20, 10]])
def test_dense_widths(option: str, factor: int, hidden: list[int]) -> None:
    architecture = make(option, f"architecture.hidden={hidden}".replace(" ", ""))
    check_shapes(architecture, (1, 4, 4))
    widths = [layer.out_features for layer in architecture.encoder((16,), 6) if hasattr(layer, "out_features")]
    assert widths == [*(factor * width for width in hidden), 6]
    body = architecture.decoder(2, 1, (16,)).body
    assert [layer.out_features / factor for layer in body if hasattr(layer, "out_features")] == hidden[::-1]


def test_gates() -> None:
    """h = (A x + a) s(B x + b)."""
    linear, gate = make("gated_mlp", "architecture.hidden=[7]").decoder(5, 1, (16,)).body
    z = torch.randn(4, 5)
    (a, b), (a0, b0) = linear.weight.chunk(2), linear.bias.chunk(2)
    torch.testing.assert_close(gate(linear(z)), (z @ a.T + a0) / (1 + torch.exp(-(z @ b.T + b0))))


@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize("channels", ["[4]", "[12,20]", "[8,16,24,32]"])
@pytest.mark.parametrize("hidden", [0, 9])
def test_resnet_widths(norm: str, channels: str, hidden: int) -> None:
    overrides = (f"norm={norm}", f"channels={channels}", f"hidden={hidden}", "blocks=2")
    architecture = make("resnet", *(f"architecture.{one}" for one in overrides))
    for x_shape in ((1, 8, 8), (3, 7, 13)):
        check_shapes(architecture, x_shape)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_residual_blocks_begin_near_identity_and_learn(norm: Norm) -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(16, norm, "silu"), torch.randn(5, 16, 6, 7)
    found = block(x)
    assert 0 < distance(found.detach(), x) < 0.1
    found.square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in block.parameters())


def test_groups_of_channels_divide_them() -> None:
    for channels in range(1, 80):
        norm, _ = normalised("group", channels, "relu")
        assert isinstance(norm, torch.nn.GroupNorm)
        assert channels % norm.num_groups == 0
        assert channels < 8 or channels // norm.num_groups >= 8


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


@pytest.mark.parametrize("option", CONVOLUTIONAL)
def test_convolutions_without_channels_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=r"architecture\.channels"):
        make(option, "architecture.channels=[]")


@pytest.mark.parametrize("option", ACTIVATED)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation(option: str, activation: str) -> None:
    check_shapes(make(option, f"architecture.activation={activation}"), (1, 5, 4))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("x_shape", [(1, 8, 8), (3, 7, 13)])
def test_every_pixel_is_seen_and_every_output_reached(option: str, x_shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    architecture = make(option, *(["architecture.activation=tanh"] if option in ACTIVATED else []))
    x, z = torch.rand(8, *x_shape, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    architecture.encoder(x_shape, 4)(x).square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(0) > 0).all())
    assert bool((architecture.decoder(4, 1, x_shape)(z).std(0) > 0).all())


def start(option: str, decoder: str, split: Split) -> tuple[VAE, torch.Tensor]:
    """A model that starts at the data's mean, and what its output bias alone decodes to."""
    torch.manual_seed(0)
    config = fill_from_data(composed(f"architecture={option}", f"decoder={decoder}"), split)
    model = build_vae(config, split.x_shape)
    initialise_output_bias(model, split)
    network: Any = model.decoder_network
    bias = network.output.bias.detach().unflatten(0, (model.decoder.n_params, -1))
    if option in CONVOLUTIONAL:
        params = bias.reshape(*bias.shape, 1, 1).expand(-1, *split.x_shape)
    else:
        params = bias.reshape(-1, *split.x_shape)
    return model, model.decoder(*params).mean


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square."""
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize(("decoder", "option", "dataset"), each_once(DECODERS, DENSE, ["digits", "beta"]))
def test_dense_networks_start_at_the_data_s_mean(option: str, dataset: str, decoder: str) -> None:
    split = (Digits() if dataset == "digits" else Beta(size=1000)).load().train
    try:
        config = fill_from_data(composed(f"architecture={option}", f"decoder={decoder}"), split)
        check_data(build_vae(config, split.x_shape).decoder, split, None)
    except UserError:
        assert dataset == "beta"
        return
    model, biased = start(option, decoder, split)
    kept_finite = 0.01 if decoder == "continuous_bernoulli" else 1e-3
    assert float((biased - split.mean()).abs().max()) <= 1.001 * kept_finite
    with torch.no_grad():
        near = distance(model.sample(1000).mean.mean(0), split.mean())
    untouched = build_vae(config, split.x_shape)
    with torch.no_grad():
        far = distance(untouched.sample(1000).mean.mean(0), split.mean())
    assert near < far / 2


@pytest.mark.parametrize(("option", "decoder"), each_once(CONVOLUTIONAL, DECODERS))
def test_convolutions_start_at_the_mean_over_the_image(option: str, decoder: str) -> None:
    """A convolution has one bias for all pixels: near their mean, and on it where the mean is linear in the bias."""
    split = Digits().load().train
    _, biased = start(option, decoder, split)
    biased_mean, mean = float(biased.mean()), float(split.mean().mean())
    assert mean / 3 < biased_mean < 2 * mean
    assert decoder == "bernoulli" or biased_mean == pytest.approx(mean)
