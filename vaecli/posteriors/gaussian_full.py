"""The Gaussian approximate posterior with correlated latents."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, register_kl
from torch.nn.functional import pad

from vaecli.posteriors.base import Posterior
from vaecli.utils.types import PositiveFloat


class FullGaussian(Posterior):
    """q(z|x) = N(z; m(x), L L^T), L lower triangular with the diagonal min_scale + e^a; m, a and the rest of L from
    the encoder network.

    Kingma and Welling (2019), section 2.5.1: z = m + L e, e ~ N(0, I), so that
    log q(z|x) = log N(e; 0, I) - sum_d log L_dd.
    """

    def __init__(self, latent_dim: int, min_scale: PositiveFloat = 1e-12) -> None:
        super().__init__()
        self.min_scale, self.latent_dim = min_scale, latent_dim
        self.n_features = 2 * latent_dim + latent_dim * (latent_dim - 1) // 2

    def forward(self, features: Tensor) -> Distribution:
        """Features (B, 2 D + D (D - 1) / 2) -> distribution of batch shape (B,) and event shape (D,)."""
        d = self.latent_dim
        loc, log_diagonal, below = features.split([d, d, self.n_features - 2 * d], dim=-1)
        i, j = torch.arange(d, device=features.device).unsqueeze(1), torch.arange(d, device=features.device)
        place = torch.where(
            i > j, i * (i - 1) // 2 + j, below.shape[-1]
        )  # row by row; the index past the end selects a zero
        scale_tril = pad(below, (0, 1))[..., place] + torch.diag_embed(self.min_scale + log_diagonal.exp())
        return MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)


@register_kl(MultivariateNormal, Independent)
def kl_full_diagonal(q: MultivariateNormal, p: Independent) -> Tensor:
    """KL(N(m, L L^T) || N(n, diag t^2)) = sum_d [|L_d|^2 + (m_d - n_d)^2] / 2 t_d^2 - 1/2 + log t_d - log L_dd."""
    base = p.base_dist
    if not isinstance(base, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    variance = q.scale_tril.square().sum(-1) + (q.loc - base.loc).square()
    log_ratio = base.scale.log() - q.scale_tril.diagonal(dim1=-2, dim2=-1).log()
    return (0.5 * (variance / base.scale.square() - 1) + log_ratio).sum(-1)
