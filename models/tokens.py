"""Images as tokens: patches with places, and the two sublayers of a transformer.

A sublayer stands in a block where a convolution stands in others; norms, shortcuts and their order are `blocks`'.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Channels of one head. Vaswani et al. 2017 have 64; nets of this suite are narrower. Other widths have one head.
HEAD = 8
# Hidden units of the MLP over its width (Vaswani et al. 2017, section 3.3; Dosovitskiy et al. 2021, table 1).
HIDDEN = 4
# Deviation of the places at the start (Dosovitskiy et al. 2021, its authors' code).
PLACES = 0.02


class Attention(nn.Module):
    """Self-attention with several heads (Vaswani et al. 2017, section 3.2). N x T x C to the same."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.heads = channels // HEAD if channels % HEAD == 0 else 1
        self.input = nn.Linear(channels, 3 * channels, bias=bias)
        self.output = nn.Linear(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        query, key, value = self.input(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y: Tensor = self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, t, c))
        return y


class MLP(nn.Module):
    """Two linear layers with an activation between them, for each token (Vaswani et al. 2017, section 3.3).

    N x T x C to the same.
    """

    def __init__(self, channels: int, bias: bool, act: nn.Module) -> None:
        super().__init__()
        self.input = nn.Linear(channels, HIDDEN * channels, bias=bias)
        self.act = act
        self.output = nn.Linear(HIDDEN * channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(self.act(self.input(x)))
        return y


class Patches(nn.Module):
    """Each patch of an image becomes a token, and its place is added to it (Dosovitskiy et al. 2021, equation 1).

    Without a class token: the head reads the mean over all tokens. N x C x H x W to N x T x width.

    Args:
        channels: Of the image.
        width: Channels of a token.
        patch: Side of a patch in pixels.
        tokens: How many patches an image has.
    """

    def __init__(self, channels: int, width: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, patch, stride=patch)
        self.places = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.conv(x).flatten(2).transpose(1, 2)
        return tokens + self.places
