"""Elastic networks: spaces of sub-networks that share the weights of one supernet. Our own design, see ``spaces.py``."""

from RobustART.nas.networks import Network, Supernet
from RobustART.nas.spaces import SPACES, Encoding, Space, create_space

__all__ = ["SPACES", "Encoding", "Network", "Space", "Supernet", "create_space"]
