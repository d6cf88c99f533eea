"""The venue simulator: a market, its feed and its order sessions, in a process of its own."""

from hotpath.venues.config import AccountConfig, SimulatorConfig, load_simulator_config

__all__ = ["AccountConfig", "SimulatorConfig", "load_simulator_config"]
