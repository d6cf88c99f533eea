"""What a run did over time: sampled while it runs, made into a report afterwards.

sampler.py    <state_dir>/<engine>.runs/<start>/     once a second, from outside the path
reader.py     that folder -> RunHistory
summary.py    RunHistory -> RunSummary: the figures of the report, the table and the JSON alike
figures.py    RunHistory -> SVG and PNG (matplotlib, the optional extra `report`)
page.py       all of it -> one HTML file
view.py       the table
make.py       the verb ``hotpath report``
"""
