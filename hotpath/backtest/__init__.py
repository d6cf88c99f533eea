"""Backtest: what a replay traded, what it cost, and how it differs from another one.

settings.py   --set risk.defaults.position_lots_max=100 -> another configuration
collect.py    the rings of a replay, as it goes        -> Run: orders, executions, marks
accounts.py   Run -> fills, round trips, equity, drawdown, fees, slippage: whole numbers of micros
compare.py    two Runs -> orders added, removed, changed, and why
report.py     the figures as one structure; view.py on the terminal; page.py as one HTML file
"""
