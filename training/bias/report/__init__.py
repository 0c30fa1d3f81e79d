"""The answers of an audit: values, verdict, page, gate.

values.py       the results: frames, numbers, sentences
plain.py        values as JSON knows them
audit.py        evidence to values
verdict.py      a question, an answer, its evidence in words
figures.py      charts, for the page and for the app
page.py         report.html
gate.py         --fail-on
interchange.py  predictions in the layouts of other audit tools
"""
