"""The registry of models: immutable versions in folders, aliases, a log of every change, and what a model must pass.

hotlab publish --> inbox/ --registrar: gate by gate, in a child that can do no harm--> models/NAME/VERSION/
                                                 '--> refused/  with the gate, what was found, what to do
hotctl model ... --> inbox/ (a request) --registrar--> models/NAME/aliases/{champion,challenger,shadow}.json
"""
