"""What the engine's side of the control plane is: requests to the supervisor, and the preconditions of arming.

The control plane itself is `hotctl`, which nothing here imports.
"""
