"""The verbs of `hotctl`, each module a family of them; none imports what it needs before it is called."""
