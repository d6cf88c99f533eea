"""Kills under load, with every process in any state: ``make drill``."""
