"""The control process: a front end over an engine's files and shared memory.

    hotctl --unix socket, mutual TLS--> doors --> guard --> services --> mutations --> hands --> engine
                                        who?      may he?   what?        once,         one store
                                                                         recorded

It may be killed at any instant, and the engine runs on without it.
"""
