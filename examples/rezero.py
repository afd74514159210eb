"""An architecture of one's own: ReZero (Bachlechner et al. 2020, "ReZero is all you need", equation 1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.stride, self.extra = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return shortcut + self.alpha * F.relu(self.conv2(F.relu(self.conv1(x))))


def rezero(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Residual, blocks without normalisation: x + alpha g(x), where alpha is learnt and starts at zero."""
    return Block(in_channels, out_channels, stride)
